"""Kappa and alpha against worked examples and the values of scikit-learn 1.9.1, statsmodels 0.15.0
and krippendorff 0.9.0."""

from __future__ import annotations

import pytest

from tests.unit.judge.redteam.made import rated
from understudy.errors import UsageError
from understudy.judge.redteam.agreement import agreement, cohens_kappa, krippendorffs_alpha
from understudy.judge.redteam.records import SEVERITIES
from understudy.judge.redteam.store import RedTeamStore

A = [int(digit) for digit in "213004024041003301043040140443010412314042410441204040413432"]
B = [int(digit) for digit in "223104024041133402043020023440210413304042412311204040413402"]


@pytest.mark.parametrize(
    ("weights", "value", "low", "high"),
    [
        ("none", 0.6162046908315566, 0.47122763461804856, 0.7611817470450641),
        ("linear", 0.7016780609073959, 0.5654228451520784, 0.8379332766627134),
        ("quadratic", 0.7696358051777095, 0.6343832607184676, 0.9048883496369513),
    ],
)
def test_kappa_is_scikit_learns_and_its_interval_statsmodels(weights, value, low, high):
    kappa = cohens_kappa(A, B, range(5), weights)
    assert kappa.value == pytest.approx(value, abs=1e-12)
    assert kappa.interval == pytest.approx((low, high), abs=1e-9)
    assert (kappa.num_items, kappa.is_small) == (60, False)


def test_fleiss_example_of_diagnoses():
    """Fleiss, Statistical Methods for Rates and Proportions, chapter 18: 100 patients, kappa 0.676,
    interval 0.504 to 0.848."""
    table = [[75, 1, 4], [5, 4, 1], [0, 0, 10]]
    pairs = [(i, j) for i in range(3) for j in range(3) for _ in range(table[i][j])]
    kappa = cohens_kappa([i for i, _ in pairs], [j for _, j in pairs], range(3))
    assert kappa.observed == pytest.approx(0.89)
    assert kappa.value == pytest.approx(0.676, abs=5e-4)
    assert kappa.interval == pytest.approx((0.5046, 0.8484), abs=1e-4)


def test_edges_of_kappa():
    assert cohens_kappa([], [], "ab").value is None
    assert cohens_kappa("aaa", "aaa", "ab").value is None  # chance alone agrees always
    assert cohens_kappa("ab", "ab", "ab").value == 1.0
    assert cohens_kappa("ab", "ba", "ab").value == -1.0
    assert cohens_kappa("aabb", "abab", "ab").value == 0.0
    for wrong in (("a", "ab", "ab"), ("a", "c", "ab")):
        with pytest.raises(UsageError):
            cohens_kappa(*wrong)


def test_alpha_is_krippendorffs():
    """Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), part C: four observers,
    twelve units, values missing."""
    rows = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    items = [[int(row[i]) for row in rows if row[i] != "."] for i in range(12)]
    assert krippendorffs_alpha(items, range(1, 6)) == pytest.approx(0.743421052631579, abs=1e-12)
    assert krippendorffs_alpha(items, range(1, 6), is_ordinal=True) == pytest.approx(
        0.8153875037548814, abs=1e-12
    )
    assert krippendorffs_alpha([[1], []], range(3)) is None
    assert krippendorffs_alpha([[1, 1]], range(3)) is None


def test_agreement_of_a_store(tmp_path):
    with RedTeamStore(tmp_path / "s") as store:
        for _ in range(3):
            rated(store, ("rater-a", "none"), ("rater-b", "none"))
        apart = rated(
            store, ("rater-a", "high", "Violence", "2"), ("rater-b", "low", "Threat", "3")
        )
        same = rated(
            store,
            ("rater-a", "high", "Violence", "2"),
            ("rater-b", "high", "Violence", "2"),
            ("rater-c", "none"),
        )
        rated(store, ("rater-a", "high", "Violence", "1"))  # by one only
        store.rate(
            apart.id, "rater-b", "high", "Violence", first_harm=2
        )  # having seen the other's: no evidence of agreement
        found = agreement(store.records())
        only = agreement(store.records(), {same.id})
    assert found["raters"] == ["rater-a", "rater-b", "rater-c"]
    assert found["rated_by_two"] == 5
    first = found["pairs"][0]
    assert (first["raters"], first["items"], first["first_harm_equal"]) == (
        ["rater-a", "rater-b"],
        5,
        4,
    )
    labels = ["none"] * 3 + ["high", "high"], ["none"] * 3 + ["low", "high"]
    assert first["severity"] == cohens_kappa(*labels, tuple(SEVERITIES)).to_document()
    assert first["harmful"]["kappa"] == 1.0
    assert set(first["by_category"]) == {"Safe", "Violence", "Threat"}
    assert first["severity"]["is_small"]
    assert [(row["conversation"], row["steps"]) for row in found["disagreements"]] == [
        (same.id, 3),
        (apart.id, 2),
    ]
    assert [row["conversation"] for row in only["disagreements"]] == [same.id]


def test_agreement_of_nothing(tmp_path):
    with RedTeamStore(tmp_path / "s") as store:
        found = agreement(store.records())
    assert (found["pairs"], found["disagreements"], found["alpha"]["severity_ordinal"]) == (
        [],
        [],
        None,
    )
