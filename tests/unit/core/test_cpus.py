"""How many threads a process may use: affinity, control groups, and what is asked beyond."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from understudy import core
from understudy.core import cpus
from understudy.errors import UnderstudyWarning, UsageError


def group(tmp_path: Path, line: str, files: dict[str, str]) -> float | None:
    """The quota where /proc/self/cgroup holds `line` and `files` are under /sys/fs/cgroup."""
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "self").write_text(line + "\n")
    return cpus.cpu_quota(tmp_path / "self", tmp_path / "cgroup")


@pytest.mark.parametrize(
    ("line", "files", "expected"),
    [
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 0.5),
        ("0::/a/b", {"a/b/cpu.max": "100000 100000", "a/cpu.max": "400000 100000"}, 1.0),
        ("0::/elsewhere", {}, None),
        (
            "4:cpu,cpuacct:/d",
            _v1 := {"cpu/d/cpu.cfs_quota_us": "250000", "cpu/d/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        ("4:memory:/d", _v1, None),
        ("4:cpu:/d", {"cpu/d/cpu.cfs_quota_us": "-1", "cpu/d/cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_the_quota_of_the_control_group_and_of_those_around_it(
    tmp_path, line, files, expected
) -> None:
    assert group(tmp_path, line, files) == expected


@pytest.mark.parametrize(
    ("affinity", "quota", "usable", "default"),
    [
        ({0}, None, 1, 1),
        ({0, 1, 2, 3}, None, 4, 4),
        ({0, 1, 2, 3}, 1.5, 2, 1),
        ({0, 1}, 0.2, 1, 1),
        ({5}, 8, 1, 1),
    ],
)
def test_threads_follow_affinity_and_quota(monkeypatch, affinity, quota, usable, default) -> None:
    monkeypatch.setattr(cpus, "_affinity", lambda: affinity)
    monkeypatch.setattr(cpus, "_core_of", str)
    monkeypatch.setattr(cpus, "cpu_quota", lambda: quota)
    assert (cpus.usable_cpus(), cpus.default_threads()) == (usable, default)


def test_hyper_threads_of_a_core_are_counted_once(monkeypatch) -> None:
    monkeypatch.setattr(cpus, "_affinity", lambda: {0, 1, 2, 3})
    monkeypatch.setattr(cpus, "_core_of", lambda cpu: f"{cpu % 2},{cpu % 2 + 2}")
    monkeypatch.setattr(cpus, "cpu_quota", lambda: None)
    assert (cpus.usable_cpus(), cpus.default_threads()) == (4, 2)


def test_more_threads_than_processors_are_lowered_with_one_line(monkeypatch) -> None:
    monkeypatch.setattr(core, "usable_cpus", lambda: 2)
    with pytest.warns(UnderstudyWarning, match="num_threads: 1000 threads on 2 CPUs; 2 are used"):
        assert core.choose_threads(1000) == 2
    monkeypatch.setenv("UNDERSTUDY_THREADS", "64")
    with pytest.warns(UnderstudyWarning, match="UNDERSTUDY_THREADS: 64 threads"):
        assert core.choose_threads() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert core.choose_threads(2) == 2


@pytest.mark.parametrize("wrong", [0, -1, 1025])
def test_numbers_that_are_none_are_refused(wrong: int) -> None:
    with pytest.raises(UsageError, match="not a usable number of threads"):
        core.choose_threads(wrong)
