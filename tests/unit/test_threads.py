"""The number of threads: bounded by the CPUs that there are."""

from __future__ import annotations

import pytest

from understudy import core
from understudy.errors import UnderstudyWarning, UsageError


def test_more_threads_than_cpus_are_cut_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_usable_cpus", lambda: 4)
    with pytest.warns(UnderstudyWarning, match="1000 threads on 4 CPUs; 4 are used"):
        assert core.choose_threads(1000) == 4
    monkeypatch.setenv("UNDERSTUDY_THREADS", "64")
    with pytest.warns(UnderstudyWarning, match="UNDERSTUDY_THREADS"):
        assert core.choose_threads() == 4
    assert core.choose_threads(3) == 3


@pytest.mark.parametrize("number", [0, -1, 1025, 10**30])
def test_numbers_that_cannot_be_are_refused(number: int) -> None:
    with pytest.raises(UsageError, match="number of threads"):
        core.choose_threads(number)
