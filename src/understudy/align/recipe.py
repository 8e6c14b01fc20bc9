"""What a tuning run is told: a TOML recipe, or data files with defaults.

    recipe = read_recipe(Path("recipes/jobs.toml"))
    recipe = recipe_of_files([Path("mine.jsonl")], model="…", adapter={}, training={})

Unknown keys are refused, with the place and what would be known.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from understudy.align.lora import LoraSettings
from understudy.align.rows import Batching
from understudy.align.sft import SftSettings
from understudy.data.overlap import RUN
from understudy.errors import DocumentError, UsageError

FORMATS = ("F32", "F16", "BF16")
PRECISIONS = ("bfloat16", "float32")


@dataclass(frozen=True)
class Training:
    """The table `[training]`. `tokens`: of the whole mixture; None: all that the data have. `kl`:
    weight of KL(base ‖ tuned) beside the loss. `teacher`: a larger model with the same tokens,
    whose answers make `teacher_share` of the loss. `shard`: the frozen base is split over the
    processes of torchrun. `whole`: all weights are tuned, into a model folder instead of an
    adapter.
    """

    tokens: int | None = None
    epochs: float = 1.0
    learning_rate: float = 1e-3
    row_tokens: int = 512
    step_tokens: int = 2048
    precision: str = "bfloat16"
    checkpoint_steps: int = 10
    even_weights: bool = False
    kl: float = 0.0
    teacher: str = ""
    teacher_share: float = 0.5
    shard: bool = False
    whole: bool = False

    def settings(self, seed: int) -> SftSettings:
        return SftSettings(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            checkpoint_steps=self.checkpoint_steps,
            kl=self.kl,
            teacher_share=self.teacher_share,
            shard=self.shard,
            batching=Batching(self.row_tokens, self.step_tokens, seed),
        )


@dataclass(frozen=True)
class AlignRecipe:
    """A whole run. `parts` are tables as `data.parts` takes them; `where` the recipe's file."""

    model: str
    where: Path
    seed: int = 0
    adapter: LoraSettings = field(default_factory=LoraSettings)
    training: Training = field(default_factory=Training)
    parts: Sequence[Mapping[str, Any]] = ()
    overlap_words: int = RUN
    format: str = "F32"  # of the adapter's folder


def read_recipe(path: Path) -> AlignRecipe:
    """A recipe from its file.

    Raises:
        DocumentError: no TOML, or not there.
        UsageError: a key that nothing knows, or a value that cannot be.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DocumentError("recipe cannot be read", where=path, found=str(error)) from error
    known = ("model", "seed", "format", "adapter", "training", "held_out", "parts")
    _refuse_unknown(table, known, str(path))
    if not table.get("model") or not table.get("parts"):
        raise UsageError("a recipe names a model and parts", where=path, found=", ".join(table))
    seed = int(table.get("seed", 0))
    if table.get("training", {}).get("whole") and "adapter" in table:
        raise UsageError("tuning of all weights has no adapter", where=f"{path}: adapter")
    held_out = table.get("held_out", {})
    _refuse_unknown(held_out, ("tokens",), f"{path}: held_out")
    return AlignRecipe(
        str(table["model"]),
        path,
        seed,
        _made(LoraSettings, {"seed": seed, **table.get("adapter", {})}, f"{path}: adapter"),
        _training(table.get("training", {}), f"{path}: training"),
        table["parts"],
        int(held_out.get("tokens", RUN)),
        _format(table.get("format", "F32"), path),
    )


def recipe_of_files(
    files: Sequence[Path], model: str, *, adapter: Mapping[str, Any], training: Mapping[str, Any]
) -> AlignRecipe:
    """A recipe that learns all of some files of records, for three epochs unless told otherwise."""
    part = {"name": "records", "share": 1.0, "files": [str(file.resolve()) for file in files]}
    training = {"epochs": 3.0, "learning_rate": 5e-4, **training}
    return AlignRecipe(
        model,
        Path("arguments"),
        adapter=_made(LoraSettings, adapter, "arguments"),
        training=_training(training, "arguments"),
        parts=[part],
    )


def _format(name: Any, path: Path) -> str:
    if name not in FORMATS:
        raise UsageError("no such format", where=path, found=name, expected=" ".join(FORMATS))
    return str(name)


def _training(table: Mapping[str, Any], where: str) -> Training:
    training: Training = _made(Training, table, where)
    if training.precision not in PRECISIONS:
        raise UsageError(
            "no such precision",
            where=where,
            found=training.precision,
            expected=" ".join(PRECISIONS),
        )
    if training.whole and training.precision != "float32":
        raise UsageError(
            "all weights are tuned in float32 only",
            where=where,
            found=f'precision = "{training.precision}"',
            do='say precision = "float32"',
        )
    if training.whole and training.shard:
        raise UsageError("only a frozen base is split over processes", where=where, found="whole")
    if not 0 <= training.teacher_share <= 1:
        found = training.teacher_share
        raise UsageError("no share of a loss", where=where, found=found, expected="0 to 1")
    if training.kl < 0:
        raise UsageError("kl is a weight", where=where, found=training.kl, expected="0 or more")
    if training.epochs <= 0 or training.learning_rate <= 0 or training.step_tokens < 1:
        raise UsageError("epochs, learning rate and tokens of a step are above 0", where=where)
    return training


def _made(kind: Any, table: Mapping[str, Any], where: str) -> Any:
    names = tuple(one.name for one in fields(kind))
    _refuse_unknown(table, names, where)
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
    return kind(**values)


def _refuse_unknown(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    if unknown := sorted(set(table) - set(known)):
        raise UsageError(
            "unknown key", where=where, found=", ".join(unknown), expected=" ".join(known)
        )
