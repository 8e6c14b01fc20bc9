"""What a branch of a tree sees, and from where it is predicted."""

from __future__ import annotations

import numpy as np

from understudy.data.trees import Encoded, grow, num_shared, plant

A = Encoded((1, 2, 3, 4, 5), (0, 0, 0, 1, 1), "a")
B = Encoded((1, 2, 3, 7), (0, 0, 0, 2))
C = Encoded((9, 8), (0, 1))


def test_what_is_shared_stands_once():
    tree = grow([A, B])
    assert num_shared([A, B]) == 3
    assert tree.tokens.tolist() == [1, 2, 3, 4, 5, 7]
    assert tree.positions.tolist() == [0, 1, 2, 3, 4, 3]
    assert tree.owners.tolist() == [0, 0, 0, 1, 1, 2]
    assert tree.parents.tolist() == [-1, 0, 1, 2, 3, 2]
    assert tree.weights.tolist() == [0, 0, 0, 1, 1, 2]
    assert tree.kind == "a"
    assert tree.num_branches == 2


def test_every_branch_reads_as_its_conversation_alone():
    row = plant([grow([A, B]), grow([C])])
    seen = row.visible()
    for place, expected in ((4, [1, 2, 3, 4, 5]), (5, [1, 2, 3, 7]), (7, [9, 8])):
        assert row.tokens[seen[place]].tolist() == expected
    assert row.parents.tolist() == [-1, 0, 1, 2, 3, 2, -1, 6]
    assert not np.triu(seen, 1).any()


def test_a_conversation_that_another_begins_with_keeps_its_weight():
    tree = grow([Encoded((1, 2), (0, 1)), Encoded((1, 2, 3), (0, 1, 1))])
    assert tree.tokens.tolist() == [1, 2, 3]
    assert tree.weights.tolist() == [0, 2, 1]
