"""The processors that this process may use: its affinity mask, its control group's quota."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_CGROUP_LIST = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")
_TOPOLOGY = Path("/sys/devices/system/cpu")


def usable_cpus() -> int:
    """Most threads that can run at the same time: a quota of 1.5 processors allows two."""
    quota = cpu_quota()
    allowed = len(_affinity())
    return allowed if quota is None else max(1, min(allowed, -int(-quota // 1)))


def default_threads() -> int:
    """One thread per physical core, and none more than the quota allows without a pause.

    Hyper-threads of one core are counted once (Linux), for they share its units.
    """
    quota = cpu_quota()
    cores = len({_core_of(cpu) for cpu in _affinity()})
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(cgroups: Path = _CGROUP_LIST, root: Path = _CGROUP_ROOT) -> float | None:
    """Processors' worth of time that the control group of this process gets; None where it is not
    limited.

    Reads `cpu.max` (cgroup v2) or `cpu.cfs_quota_us` (v1) of the group and of those around it; the
    least holds.
    """
    try:
        lines = cgroups.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        group = path.strip("/")
        if controllers == "":
            quotas += _quotas_v2(_upwards(root, group))
        elif "cpu" in controllers.split(","):
            quotas += _quotas_v1(_upwards(root / "cpu", group))
    return min(quotas, default=None)


def _upwards(root: Path, group: str) -> list[Path]:
    folder = root / group if group else root
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]


def _quotas_v2(folders: Iterable[Path]) -> list[float]:
    quotas = []
    for folder in folders:
        words = _read(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit() and int(words[1]) > 0:
            quotas.append(int(words[0]) / int(words[1]))
    return quotas


def _quotas_v1(folders: Iterable[Path]) -> list[float]:
    quotas = []
    for folder in folders:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period) > 0:  # -1 is no limit
            quotas.append(int(quota) / int(period))
    return quotas


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _core_of(cpu: int) -> str:
    return _read(_TOPOLOGY / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
