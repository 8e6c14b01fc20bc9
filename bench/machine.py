"""What this machine can do at most: read bandwidth and int8 arithmetic, by number of threads.

    python bench/machine.py [--seconds 5] [--json FILE]

Bandwidth of a shared machine moves by half within seconds, so it is sampled many times and the
spread is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

from understudy import core


def processor_name() -> str:
    """The processor as the kernel names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def measure(num_threads: int, seconds: float) -> dict[str, Any]:
    """Samples over `seconds`: bandwidth in GB/s and int8 in Gop/s (a multiply and an add are two)."""
    bandwidths, end = [], time.monotonic() + seconds
    while not bandwidths or time.monotonic() < end:
        bandwidths.append(core.measure_bandwidth(num_threads) / 1e9)
    return {
        "num_threads": num_threads,
        "bandwidth_gb_s": {
            "median": statistics.median(bandwidths),
            "min": min(bandwidths),
            "max": max(bandwidths),
            "samples": bandwidths,
        },
        "int8_gop_s": core.measure_int8_peak(num_threads) / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="time for each number of threads"
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    num_cpus = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    print(f"{processor_name()}, {num_cpus} CPUs, kernels {', '.join(core.isa_targets())}")
    rows = [measure(threads, arguments.seconds) for threads in sorted({1, num_cpus})]
    for row in rows:
        bandwidth = row["bandwidth_gb_s"]
        print(
            f"{row['num_threads']} threads: read {bandwidth['median']:.1f} GB/s "
            f"({bandwidth['min']:.1f} … {bandwidth['max']:.1f}), int8 {row['int8_gop_s']:.0f} Gop/s"
        )
    if arguments.json:
        found = {
            "processor": processor_name(),
            "num_cpus": num_cpus,
            "isa_targets": core.isa_targets(),
            "threads": rows,
        }
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
