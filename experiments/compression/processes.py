"""One process and two: do they distil with the same losses? And killed after any step: does the run
go on bit for bit?

    python experiments/compression/processes.py [--steps 50]
        [--result bench/results/compress-processes.json]

A tiny Nemotron-shaped student under FSDP2 on gloo; the program that is run is
tests/torch/compress/distill_worker.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(folder: Path, steps: int, *more: str, processes: int = 1) -> int:
    launch = [sys.executable]
    if processes > 1:
        launch += [
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            str(processes),
            "--master-port",
            "29537",
        ]
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
    }
    command = [*launch, "-m", "tests.torch.compress.distill_worker", str(folder), str(steps), *more]
    return subprocess.run(
        command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, check=False
    ).returncode


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "trace.jsonl").read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument(
        "--result", type=Path, default=ROOT / "bench/results/compress-processes.json"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        run(root / "one", options.steps)
        run(root / "two", options.steps, processes=2)
        one, two = losses(root / "one"), losses(root / "two")
        kills = {}
        for step in (1, options.steps // 2, options.steps - 1):
            folder = root / f"killed-{step}"
            code = run(folder, options.steps, str(step))
            run(folder, options.steps)
            kills[step] = {"exit_code": code, "same_losses_to_the_last_bit": losses(folder) == one}
    result = {
        "command": "python experiments/compression/processes.py",
        "steps": options.steps,
        "first_loss": one[0],
        "last_loss": one[-1],
        "largest_difference_one_or_two_processes": max(
            abs(a - b) for a, b in zip(one, two, strict=True)
        ),
        "killed": kills,
    }
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
