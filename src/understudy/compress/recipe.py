"""A TOML recipe: the whole pipeline as data. Every table is a small frozen dataclass; an unknown
key is an error.

    [source]   model; student (optional: what to go on from, with model as its teacher)
    [data]     train, auxiliary, held_out, second (lists of files); length, calibration_sequences,
    held_out_sequences [vocabulary] size, texts (default: train), tools, scripts (see
    `trim.settings`)
    [search]   target, cost, … (see `search.SearchSettings`): finds the shape that [prune] would
    name
    [prune]    any of num_layers, hidden_size, intermediate_size, num_heads, num_kv_heads;
    criterion, depth, reconstruct
    [correct]  [distill]   tokens, learning_rate, … (see `distill.DistillSettings`); distill has
    teacher = "cache" or "live" [quantize] weights, embedding, head, method, equalise, max_bits,
    tune_tokens, tune_learning_rate, tune
    [output]   folder, dtype, gguf, packed, threshold_kl

Tables that are left out are stages that are not run.
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.compress.depth import DEPTH_METHODS
from understudy.compress.distill import DistillSettings
from understudy.compress.importance import CRITERIA
from understudy.compress.prune import Shape
from understudy.compress.qad import LEARNING_RATE, LEARNS
from understudy.compress.quantize import QuantizeSettings
from understudy.compress.shapes import SearchSettings
from understudy.compress.trim.settings import VocabularySettings
from understudy.errors import FormatError, MissingError, UsageError


@dataclass(frozen=True)
class SourceRecipe:
    model: str
    student: str | None = None


@dataclass(frozen=True)
class DataRecipe:
    train: tuple[str, ...] = ()
    auxiliary: tuple[
        str, ...
    ] = ()  # other kinds of text that half of the calibration is taken from
    held_out: tuple[str, ...] = ()
    second: tuple[
        str, ...
    ] = ()  # another kind of text: does the student only know the training data?
    length: int = 512
    calibration_sequences: int = 64
    held_out_sequences: int = 32


@dataclass(frozen=True)
class PruneRecipe:
    shape: Shape = Shape()  # noqa: RUF009 - frozen
    criterion: str = "minitron"
    depth: str = "influence"
    reconstruct: bool = True
    residual_heads: bool = False
    seed: int = 0


@dataclass(frozen=True)
class TrainRecipe:
    settings: DistillSettings
    teacher: str = "cache"
    cache_bytes: int = 64


@dataclass(frozen=True)
class QuantizeRecipe:
    settings: QuantizeSettings
    max_bits: float | None = None  # spend bits up to this many a weight, by kinds of matrices
    bits: float | None = None  # q3, q4 or q8 for each matrix, no more than so many bits a weight
    tune_tokens: int = 0  # then distil the float student into the quantized one for so many tokens
    tune_learning_rate: float = LEARNING_RATE
    tune: str = "scales"  # or weights: what learns then


@dataclass(frozen=True)
class OutputRecipe:
    folder: str
    dtype: str = "bf16"
    gguf: bool = True
    threshold_kl: float = (
        0.0  # relu2: thresholds that make more zeros for at most so much KL, into config.json
    )
    packed: bool = False  # also a compressed-tensors folder, which vLLM opens


@dataclass(frozen=True)
class Recipe:
    model: str
    data: DataRecipe
    output: OutputRecipe
    prune: PruneRecipe | None = None
    correct: TrainRecipe | None = None
    distill: TrainRecipe | None = None
    quantize: QuantizeRecipe | None = None
    search: SearchSettings | None = None
    vocabulary: VocabularySettings | None = None
    student: str | None = None  # what to go on from; None: the source itself
    raw: dict[str, Any] = field(default_factory=dict)


def read_recipe(path: Path) -> Recipe:
    """A recipe of compression.

    Args:
        path: its TOML file.

    Raises:
        MissingError: there is no such file.
        FormatError: it is not TOML.
        UsageError: a key or value cannot be used.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingError("recipe is not there", where=path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError("recipe is not TOML", where=path, found=str(error)) from error
    return parse_recipe(raw, path)


def parse_recipe(raw: dict[str, Any], where: object = "recipe") -> Recipe:
    """The tables of a recipe as settings; file names are taken as they stand, relative to the
    current folder."""
    tables = {"source", "data", "vocabulary", "search", "prune", "correct", "distill"}
    tables |= {"quantize", "output"}
    if unknown := sorted(set(raw) - tables):
        raise UsageError("unknown table", where=where, found=unknown, expected=sorted(tables))
    for name in ("source", "data", "output"):
        if name not in raw:
            raise UsageError(f"table [{name}] is missing", where=where)
    source = _fill(SourceRecipe, raw["source"], f"{where}: [source]")
    recipe = Recipe(
        source.model,
        _fill(DataRecipe, raw["data"], f"{where}: [data]"),
        _fill(OutputRecipe, raw["output"], f"{where}: [output]"),
        prune=_prune(raw["prune"], f"{where}: [prune]") if "prune" in raw else None,
        correct=_nested(TrainRecipe, DistillSettings, raw, "correct", where),
        distill=_nested(TrainRecipe, DistillSettings, raw, "distill", where),
        quantize=_nested(QuantizeRecipe, QuantizeSettings, raw, "quantize", where),
        search=_fill(SearchSettings, raw["search"], f"{where}: [search]")
        if "search" in raw
        else None,
        vocabulary=_vocabulary(raw, where),
        student=source.student,
        raw=raw,
    )
    _check(recipe, where)
    return recipe


def _prune(table: dict[str, Any], where: str) -> PruneRecipe:
    axes = {f.name for f in dataclasses.fields(Shape)}
    shape = _fill(Shape, {k: v for k, v in table.items() if k in axes}, where)
    return _fill(
        PruneRecipe, {k: v for k, v in table.items() if k not in axes} | {"shape": shape}, where
    )


def _vocabulary(raw: dict[str, Any], where: object) -> VocabularySettings | None:
    """Its texts are the training data, where it names none."""
    if "vocabulary" not in raw:
        return None
    table = {"texts": raw["data"].get("train", ())} | raw["vocabulary"]
    found: VocabularySettings = _fill(VocabularySettings, table, f"{where}: [vocabulary]")
    return found


def _nested(outer: Any, inner: Any, raw: dict[str, Any], name: str, where: object) -> Any:
    """A table whose keys belong partly to `outer`, the rest to its `settings`."""
    if name not in raw:
        return None
    own = {f.name for f in dataclasses.fields(outer)} - {"settings"}
    table, place = raw[name], f"{where}: [{name}]"
    settings = _fill(inner, {k: v for k, v in table.items() if k not in own}, place)
    for problem in settings.problems():
        raise UsageError(problem, where=place)
    return _fill(
        outer, {k: v for k, v in table.items() if k in own} | {"settings": settings}, place
    )


def _fill(kind: Any, table: dict[str, Any], where: str) -> Any:
    known = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(table) - set(known)):
        raise UsageError("unknown key", where=where, found=unknown, expected=sorted(known))
    values = {
        k: _typed(known[k], tuple(v) if isinstance(v, list) else v, where) for k, v in table.items()
    }
    try:
        return kind(**values)
    except TypeError as error:
        missing = [
            n for n, f in known.items() if f.default is dataclasses.MISSING and n not in values
        ]
        raise UsageError(
            "keys are missing", where=where, found=f"no {', '.join(missing)}"
        ) from error


_TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "Shape": Shape}


def _typed(field: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """The value, if it has the type that the field is declared with (a whole number will do for a
    float)."""
    declared = str(field.type)
    names = [part.strip() for part in declared.split("|")]
    if type(value) is int and "float" in names:
        return float(value)
    if isinstance(value, tuple | dict):
        is_right = any(name.startswith(type(value).__name__) for name in names)
    else:
        is_right = any(type(value) is _TYPES.get(name) for name in names)
    if not is_right and not names[0].endswith("Settings"):
        raise UsageError(
            f"{field.name} has the wrong type", where=where, expected=declared, found=value
        )
    return value


def _check_packed(quantize: QuantizeRecipe | None, where: object) -> None:
    if quantize is None:
        raise UsageError("a packed folder needs [quantize]", where=where)
    if quantize.settings.weights == "q3" or quantize.bits is not None:
        raise UsageError(
            "a packed folder has no place for q3",
            where=where,
            expected="q4 or q8",
            do="leave out `packed`, or choose q4 without `bits`",
        )


def _check_quantize(quantize: QuantizeRecipe, where: object) -> None:
    if quantize.tune not in LEARNS:
        raise UsageError(
            "unknown way to tune", where=where, found=quantize.tune, expected=list(LEARNS)
        )
    if quantize.bits is not None and quantize.max_bits is not None:
        raise UsageError(
            "bits and max_bits are two ways to spend the same bits",
            where=where,
            do="leave one out: bits chooses for every matrix, max_bits promotes kinds of them",
        )


def _check(recipe: Recipe, where: object) -> None:
    if recipe.prune is not None:
        if recipe.prune.criterion not in CRITERIA:
            raise UsageError(
                "unknown criterion",
                where=where,
                found=recipe.prune.criterion,
                expected=list(CRITERIA),
            )
        if recipe.prune.depth not in DEPTH_METHODS:
            raise UsageError(
                "unknown depth method",
                where=where,
                found=recipe.prune.depth,
                expected=list(DEPTH_METHODS),
            )
    if recipe.quantize is not None:
        _check_quantize(recipe.quantize, where)
    if recipe.output.packed:
        _check_packed(recipe.quantize, where)
    if recipe.search is not None and recipe.prune is not None and recipe.prune.shape != Shape():
        raise UsageError(
            "[search] finds the shape: [prune] names none", where=where, do="leave out its sizes"
        )
    if recipe.distill is not None and recipe.distill.teacher not in ("cache", "live"):
        raise UsageError("teacher is cache or live", where=where, found=recipe.distill.teacher)
    if (
        recipe.distill is not None
        and recipe.distill.teacher == "cache"
        and recipe.distill.settings.state_loss
    ):
        raise UsageError(
            "state losses need the live teacher", where=where, do='set teacher = "live"'
        )
    _check_vocabulary(recipe, where)
    if not recipe.data.train:
        raise UsageError(
            "[data] names no training files", where=where, expected='train = ["file.txt"]'
        )


def _check_vocabulary(recipe: Recipe, where: object) -> None:
    if recipe.vocabulary is not None and recipe.student is not None:
        raise UsageError(
            "[vocabulary] trims the model that both come from",
            where=where,
            do="leave out student, or trim each with `understudy prune --vocabulary` first",
        )
