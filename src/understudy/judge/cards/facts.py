"""What a model's file says of itself: architecture, parameters, bits, tokenizer, licence, lineage.
Nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from understudy.checkpoint.checkpoint import Checkpoint, open_checkpoint
from understudy.checkpoint.lineage import lineage_of
from understudy.checkpoint.pack import packed_fingerprint
from understudy.checkpoint.summary import tokenizer_summary
from understudy.report.provenance import adapted_sha256, model_bytes, model_sha256
from understudy.spec import ModelSpec, parameter_counts


@dataclass(frozen=True, slots=True)
class Format:
    """What part of the parameters is stored how: a ggml name, tensors, parameters, bytes."""

    name: str
    tensors: int
    parameters: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it from the file; `declared` are its own statements about itself, `lineage` what
    compression left in it."""

    path: Path
    sha256: str
    num_bytes: int
    fingerprint: str
    spec: ModelSpec
    parameters: Mapping[str, int]
    formats: tuple[Format, ...]
    tokenizer: str
    declared: Mapping[str, str]
    lineage: Mapping[str, Any]
    adapters: tuple[Mapping[str, Any], ...] = ()

    @property
    def name(self) -> str:
        return " + ".join([self.path.name, *(str(one["name"]) for one in self.adapters)])

    @property
    def licence(self) -> str | None:
        return self.declared.get("license")

    @property
    def bits_per_weight(self) -> float:
        return (
            8
            * sum(one.num_bytes for one in self.formats)
            / sum(one.parameters for one in self.formats)
        )


def read_facts(path: Path, adapters: Sequence[Mapping[str, Any]] = ()) -> Facts:
    """Raises what `open_checkpoint` raises.

    Args:
        adapters: what acts on the model: name, sha256, scale and lineage of each.
    """
    checkpoint = open_checkpoint(path)
    return Facts(
        path=path,
        sha256=adapted_sha256(model_sha256(path), adapters),
        num_bytes=model_bytes(path),
        fingerprint=packed_fingerprint(checkpoint),
        spec=checkpoint.spec,
        parameters=parameter_counts(checkpoint.spec),
        formats=_formats(checkpoint),
        tokenizer=tokenizer_summary(checkpoint),
        declared=_declared(checkpoint),
        lineage=lineage_of(checkpoint.metadata),
        adapters=tuple(adapters),
    )


def _formats(checkpoint: Checkpoint) -> tuple[Format, ...]:
    found: dict[str, list[int]] = {}
    for name in checkpoint.weights:
        tensor = checkpoint.weights.stored(name)
        row = found.setdefault(tensor.format, [0, 0, 0])
        row[0] += 1
        row[1] += prod(tensor.shape)
        row[2] += tensor.data.size
    return tuple(
        Format(name, *row)
        for name, row in sorted(found.items(), key=lambda entry: (-entry[1][1], entry[0]))
    )


def _declared(checkpoint: Checkpoint) -> dict[str, str]:
    """The `general.` keys of a GGUF; of a folder the licence that its README's head names."""
    skipped = ("architecture", "type", "file_type", "quantization_version", "alignment")
    declared = {
        key.removeprefix("general."): _plain(value)
        for key, value in sorted(checkpoint.metadata.items())
        if key.startswith("general.") and key.removeprefix("general.") not in skipped
    }
    readme = checkpoint.path / "README.md"
    if checkpoint.path.is_dir() and readme.is_file() and (licence := _readme_licence(readme)):
        declared.setdefault("license", licence)
    return declared


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _readme_licence(readme: Path) -> str | None:
    """`license: …` of the YAML head between two lines of `---`."""
    lines = readme.read_text("utf-8", "replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    for line in lines[1:60]:
        if line.strip() == "---":
            return None
        key, _, value = line.partition(":")
        if key.strip() == "license" and value.strip():
            return value.strip().strip("'\"")
    return None
