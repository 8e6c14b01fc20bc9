"""What a larger model answers where a tree is learnt: asked once, kept on disk, learnt beside the
words.

    targets = ask_teacher("big-model", bench, trees, out / "training")
    targets.of([3, 8], device)        # of the trees of a row, in their order

The records are those of `compress.teacher`: the likeliest tokens and samples of the rest, at most
64 bytes a learnt token. Asking goes on where it was stopped; the teacher is not held while tuning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from understudy.align.rows import RowTensors, hidden_of
from understudy.align.workbench import Workbench
from understudy.compress.data import Progress, quiet
from understudy.compress.losses import SparseTarget
from understudy.compress.network import Network
from understudy.compress.parallel import World
from understudy.compress.teacher import CacheFormat, encoded_answers
from understudy.compress.vocabulary import num_shared_tokens
from understudy.data.trees import Tree
from understudy.errors import UsageError
from understudy.report.write import write_json

BUDGET = 64  # bytes of a learnt token
TREES_OF_A_SAVE = 16
RECORDS, ABOUT = "teacher.bin", "teacher.json"


@dataclass(frozen=True)
class TreeTargets:
    """The teacher's answers to some trees. `ends` is (trees + 1,): which records are whose."""

    form: CacheFormat
    records: NDArray[np.uint8]  # (learnt, bytes of a token)
    ends: NDArray[np.int64]

    def of(self, numbers: Sequence[int], device: torch.device) -> SparseTarget:
        """Of the learnt tokens of a row of these trees, as `RowTensors.parents` has them."""
        parts = [self.records[self.ends[i] : self.ends[i + 1]] for i in numbers]
        return self.form.decode(np.concatenate(parts)).to(device)


def ask_teacher(
    model: str,
    student: Workbench,
    trees: Sequence[Tree],
    folder: Path,
    *,
    precision: str = "bfloat16",
    device: str = "auto",
    world: World | None = None,
    progress: Progress = quiet,
) -> TreeTargets:
    """The answers of `model` to all trees; those in `folder` are not asked for again. Of several
    processes the first one asks.

    Raises:
        UsageError: its tokens are not the student's, or the folder has the answers to other trees.
    """
    world = world or World()
    teacher = Workbench.open(model)
    num_tokens = _num_tokens(teacher, student)
    form = CacheFormat.within(BUDGET, num_tokens)
    counts = [_num_learnt(tree) for tree in trees]
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    about = {
        "format": asdict(form),
        "teacher": teacher.sha256 or teacher.name,
        "trees": _digest(trees),
    }
    if world.is_first:
        _ask(teacher, trees, folder, (form, ends, about), (precision, device), progress)
    world.wait()
    shape = (int(ends[-1]), form.bytes_per_token)
    return TreeTargets(form, np.memmap(folder / RECORDS, np.uint8, "r", shape=shape), ends)


def _ask(
    teacher: Workbench,
    trees: Sequence[Tree],
    folder: Path,
    plan: tuple[CacheFormat, NDArray[np.int64], dict[str, Any]],
    where: tuple[str, str],
    progress: Progress,
) -> None:
    form, ends, about = plan
    finished = _finished(folder, about)
    if finished == len(trees):
        return
    network = teacher.network(*where)
    folder.mkdir(parents=True, exist_ok=True)
    shape = (int(ends[-1]), form.bytes_per_token)
    mode: Literal["r+", "w+"] = "r+" if finished else "w+"
    records = np.memmap(folder / RECORDS, np.uint8, mode, shape=shape)
    for number in range(finished, len(trees)):
        records[ends[number] : ends[number + 1]] = _answers(network, trees[number], form, number)
        done = number + 1
        if done % TREES_OF_A_SAVE == 0 or done == len(trees):
            records.flush()
            write_json(folder / ABOUT, about | {"finished": done})
        progress(done, len(trees), "asking the teacher")


def _finished(folder: Path, about: dict[str, Any]) -> int:
    """How many trees were asked about already."""
    path = folder / ABOUT
    if not path.exists():
        return 0
    known = json.loads(path.read_text("utf-8"))
    if {key: known.get(key) for key in about} != about:
        raise UsageError(
            "the folder has a teacher's answers to other data",
            where=path,
            do="name a new folder, or take the same data and teacher",
        )
    return int(known["finished"])


@torch.no_grad()
def _answers(network: Network, tree: Tree, form: CacheFormat, seed: int) -> NDArray[np.uint8]:
    dtype = network.model.norm.weight.dtype
    row = RowTensors.of([tree], network.device, dtype)
    hidden, head = hidden_of(network, row), network.head_weight[: form.vocab_size]
    return encoded_answers(hidden, head, form, torch.Generator().manual_seed(seed))


def _num_tokens(teacher: Workbench, student: Workbench) -> int:
    """How many tokens both know by the same numbers."""
    sources = (teacher.checkpoint.tokenizer_source, student.checkpoint.tokenizer_source)
    shared = num_shared_tokens(*sources)
    sizes = (teacher.spec.vocab_size, student.spec.vocab_size)
    return min(sizes) if shared is None else min(shared, *sizes)


def _num_learnt(tree: Tree) -> int:
    return int(((tree.weights > 0) & (tree.parents >= 0)).sum())


def _digest(trees: Sequence[Tree]) -> str:
    digest = hashlib.sha256()
    for tree in trees:
        for values in (tree.tokens, tree.parents, tree.weights > 0):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
