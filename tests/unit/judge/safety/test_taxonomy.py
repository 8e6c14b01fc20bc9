"""The names of AEGIS and the way between its two versions."""

from __future__ import annotations

import pytest

from understudy.errors import UsageError
from understudy.judge.safety import taxonomy
from understudy.judge.safety.taxonomy import (
    AEGIS_1,
    AEGIS_1_CRITICAL,
    AEGIS_2,
    is_critical,
    is_unsafe,
    to_aegis_1,
    to_aegis_2,
)


def test_there_are_thirteen_critical_risks():
    assert len(set(AEGIS_1_CRITICAL)) == 13
    assert len(set(AEGIS_2)) == len(AEGIS_2) == 24


@pytest.mark.parametrize("category", AEGIS_1)
def test_every_old_name_comes_back(category):
    assert to_aegis_1(to_aegis_2(category)) == category


@pytest.mark.parametrize("category", AEGIS_2)
def test_every_new_name_has_an_old_one(category):
    assert to_aegis_1(category) in AEGIS_1
    assert is_critical(category) == (category not in ("Safe", "Needs Caution"))


def test_needs_caution_has_two_readings():
    assert is_unsafe("Needs Caution", "defensive")
    assert not is_unsafe("Needs Caution", "permissive")
    assert is_unsafe("Violence", "permissive")
    assert not is_unsafe(taxonomy.SAFE)


def test_unknown_names_are_refused():
    for function in (to_aegis_1, to_aegis_2, is_unsafe):
        with pytest.raises(UsageError, match="no category of AEGIS"):
            function("Rudeness")
