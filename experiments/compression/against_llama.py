"""Our 4 bits against llama.cpp's with an importance matrix: the same float model, calibration text
and held-out text.

    python experiments/compression/against_llama.py LLAMA_BIN MODEL CALIBRATION HELD_OUT WORK
        RESULT.json [--length 512] [--types Q4_0 Q4_K_S]

LLAMA_BIN holds llama-imatrix and llama-quantize. All files are opened by this repository's own
reader and measured by the same `compare` against the float model, so that nothing but the stored
weights differs. Where a matrix has rows that are no multiple of 256, llama.cpp cannot store
K-quants and takes a larger type: the bits a weight tell.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

from understudy.compress.calibrate import calibrate
from understudy.compress.data import Sequences, read_sequences
from understudy.compress.evaluate import compare
from understudy.compress.folder import Source, open_source, save_network, save_quantized
from understudy.compress.quantize import QuantizeSettings, quantize
from understudy.spec import parameter_counts


def llama_files(options: argparse.Namespace, float_file: Path) -> dict[str, Path]:
    """One file per type, and one of Q4_0 for every matrix alike."""
    matrix = options.work / "imatrix.gguf"
    chunk = ["-c", str(options.length), "-t", "1", "-ngl", "0"]
    run(
        [
            options.bin / "llama-imatrix",
            "-m",
            float_file,
            "-f",
            options.calibration,
            "-o",
            matrix,
            *chunk,
        ]
    )
    made: dict[str, Path] = {}
    for kind in options.types:
        for how in ([], ["--pure"]):
            path = options.work / f"llama-{kind}{'-pure' * bool(how)}.gguf"
            run(
                [
                    options.bin / "llama-quantize",
                    *how,
                    "--imatrix",
                    matrix,
                    float_file,
                    path,
                    kind,
                    "1",
                ]
            )
            made[f"llama.cpp {kind}, importance matrix" + ", one type" * bool(how)] = path
    return made


def run(command: list[object]) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr[-2000:]}")


def our_files(
    options: argparse.Namespace, source: Source, calibration: Sequences
) -> dict[str, Path]:
    statistics = calibrate(source.network, calibration, options.work / "calibration", batch_size=16)
    made: dict[str, Path] = {}
    for name, settings in {
        "plain rounding": QuantizeSettings(method="round_to_nearest"),
        "ours": QuantizeSettings(),
    }.items():
        path = options.work / f"{name.replace(' ', '-')}.gguf"
        result = quantize(source.network, statistics, settings, rows=calibration)
        save_quantized(result.tensors, result.network, source.checkpoint, path)
        made[name] = path
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    for name in ("bin", "model", "calibration", "held_out", "work", "result"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument(
        "--rows",
        type=int,
        default=128,
        help="at most so many of calibration, half as many held out",
    )
    parser.add_argument("--types", nargs="+", default=["Q4_0", "Q4_K_S"])
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    source = open_source(options.model)
    calibration = read_sequences(
        [options.calibration], source.encoder, options.length, options.rows
    )
    held_out = read_sequences([options.held_out], source.encoder, options.length, options.rows // 2)
    float_file = options.work / "float.gguf"
    save_network(source.network, source.checkpoint, float_file, "f32")
    count = parameter_counts(source.network.spec)["total"]
    figures: dict[str, Any] = {}
    for name, path in (
        our_files(options, source, calibration) | llama_files(options, float_file)
    ).items():
        opened = open_source(path)
        stored = sum(opened.checkpoint.weights[n].data.size for n in opened.checkpoint.weights)
        quality = compare(opened.network, source.network, held_out)
        figures[name] = quality.as_dict() | {
            "file_bytes": path.stat().st_size,
            "bits_per_weight": 8 * stored / count,
        }
        print(name, json.dumps(figures[name]), flush=True)
        options.result.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
