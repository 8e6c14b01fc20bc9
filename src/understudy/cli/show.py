"""`understudy show`: architecture, parameters by part, sizes on disk and in memory. Loads
nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from understudy import hub
from understudy.cli.options import add_model, traffic_table

if TYPE_CHECKING:
    from understudy.checkpoint.checkpoint import Checkpoint


def configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    from understudy.checkpoint.checkpoint import open_checkpoint
    from understudy.generation.presets import JOBS

    facts = describe(open_checkpoint(hub.resolve(arguments.model)))
    if arguments.json:
        print(json.dumps(facts, indent=1))
        return 0
    print(f"{facts['path']}\n")
    for name, value in facts["spec"].items():
        print(f"  {name:20} {_layers(value) if name == 'blocks' else value}")
    print("\nparameters")
    for part, count in facts["parameters"].items():
        print(f"  {part:20} {count:>16,}  {100 * count / facts['parameters']['total']:5.1f} %")
    print("\nbytes")
    print(
        f"  {'on disk':20} {facts['stored_bytes'] / 1e6:>13,.1f} MB  "
        f"({', '.join(facts['stored_formats'])}; {facts['bits_per_weight']:.2f} bits a weight)"
    )
    for name, size in facts["memory_bytes"].items():
        print(f"  {'in memory, ' + name:20} {size / 1e6:>13,.1f} MB")
    for kv, size in facts["kv_bytes_per_token"].items():
        print(f"  {'cache, ' + kv:20} {size / 1e3:>13,.1f} kB a token")
    print(f"\n{traffic_table(facts['bytes_read_per_token'])}")
    print(f"\ntokenizer              {facts['tokenizer']}")
    print(f"\npreset: {facts['preset']['name']}")
    for job in JOBS:
        values = ", ".join(f"{name} {value}" for name, value in facts["preset"][job].items())
        print(f"  {job:20} {values}")
    return 0


def stored_bits(checkpoint: Checkpoint) -> float:
    """Bits a weight over all tensors, norms and biases included."""
    weights = checkpoint.weights
    count = sum(math.prod(weights.stored(name).shape) for name in weights)
    return 8 * checkpoint.stored_bytes() / count


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """The same facts as plain data."""
    from understudy.checkpoint.pack import bytes_per_token, packed_sizes
    from understudy.checkpoint.summary import tokenizer_summary
    from understudy.engine.loading import kv_bytes_per_token
    from understudy.generation.presets import preset_of
    from understudy.spec import QuantSpec, parameter_counts

    weights = checkpoint.weights
    sizes = {"as stored": packed_sizes(checkpoint)}
    for name in ("bf16", "q8", "q4", "q3"):
        sizes[name] = packed_sizes(checkpoint, QuantSpec(weights=name))
    return {
        "path": str(checkpoint.path),
        "spec": {k: v for k, v in dataclasses.asdict(checkpoint.spec).items() if v is not None},
        "parameters": parameter_counts(checkpoint.spec),
        "stored_bytes": checkpoint.stored_bytes(),
        "stored_formats": sorted({weights.stored(name).format for name in weights}),
        "bits_per_weight": stored_bits(checkpoint),
        "memory_bytes": {name: sum(found.values()) for name, found in sizes.items()},
        "bytes_read_per_token": {
            name: bytes_per_token(checkpoint.spec, found) for name, found in sizes.items()
        },
        "kv_bytes_per_token": {
            kv: kv_bytes_per_token(checkpoint.spec, kv) for kv in ("f16", "int8")
        },
        "tokenizer": tokenizer_summary(checkpoint),
        "preset": preset_of(checkpoint.spec).to_document(),
    }


def _layers(blocks: Sequence[Mapping[str, Any]]) -> str:
    """How many layers are of which kind; nothing where all are plain."""
    counts: dict[str, int] = {}
    for block in blocks:
        parts = [block["mixer"]] if block["mixer"] != "none" else []
        parts += ["experts" if block["has_experts"] else "mlp"] if block["has_mlp"] else []
        window = f", window {block['window']}" if block["window"] else ""
        is_turned = block["mixer"] == "attention" and block["rotation"] != "global"
        turns = f", {block['rotation']} rotation" if is_turned else ""
        kind = " + ".join(parts) + window + turns
        counts[kind] = counts.get(kind, 0) + 1
    return "; ".join(f"{count} x {kind}" for kind, count in counts.items()) or "all plain"
