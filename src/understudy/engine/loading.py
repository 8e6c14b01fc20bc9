"""From a checkpoint to an engine that runs it: formats, sizes, memory.

loaded = load_engine(checkpoint, LoadOptions(kv="int8"), tokenizer)
loaded.engine, loaded.fingerprint
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from understudy import core
from understudy.checkpoint.checkpoint import Checkpoint
from understudy.checkpoint.pack import available_memory, check_memory, pack, packed_sizes
from understudy.engine.adapters import AdapterTable
from understudy.engine.engine import Engine
from understudy.engine.runner import Runner
from understudy.engine.states import StateKeeper
from understudy.engine.windows import num_kept_places, widest_window, window_keeper
from understudy.errors import MissingError, UnderstudyWarning, UsageError
from understudy.spec import KvFormat, ModelSpec, QuantSpec, parameter_counts
from understudy.text import Tokenizer
from understudy.text.tokenizer import Segmenter

MIN_CONTEXT, MAX_CONTEXT = 4096, 32_768  # where none is asked for
CACHE_SHARE = 4  # a cache that nobody sized takes at most this part of the memory that is free
MAX_SEQUENCES = 64
# Room for states of recurrent layers behind known beginnings (`engine/states.py`).
KEPT_STATE_BYTES = 384 << 20
MIN_KEPT_STATES, MAX_KEPT_STATES = 4, 1024
# Where rounding inputs to int8 costs most (docs/log.md).
INT12_MATRICES = ("v_proj", "up_proj", "down_proj", "lm_head")
INT12_BELOW = 1_000_000_000  # parameters: small models feel the rounding, large ones the time

Activations = Literal["int8", "int12"]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a checkpoint is made to run; see `understudy.load`."""

    weights: QuantSpec | None = None
    kv: KvFormat = "f16"
    activations: Activations | None = None
    context: int | None = None
    cache_tokens: int | None = None
    cache_contexts: int = 1
    num_threads: int | None = None
    isa: str | None = None
    max_batch_tokens: int = 512
    speculate: int = 0
    use_cache: bool = True
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        if self.kv not in get_args(KvFormat):
            raise UsageError(
                "unknown cache format", where="kv", expected="f16 int8 f32", found=self.kv
            )
        tokens = self.cache_tokens
        if tokens is not None and (type(tokens) is not int or not 1 <= tokens <= 1 << 30):
            raise UsageError(
                "setting is out of range",
                where="cache_tokens",
                expected="1 to 1073741824",
                found=tokens,
            )


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """An engine, and what names its state: `fingerprint`."""

    engine: Engine
    fingerprint: str
    packed_bytes: int


def load_engine(
    checkpoint: Checkpoint, options: LoadOptions, tokenizer: Tokenizer | None
) -> LoadedEngine:
    """Packs the weights, or finds them packed, and makes an engine with a cache.

    Raises:
        UsageError: a setting is out of range.
        MemoryBudgetError: it would not fit into memory.
    """
    spec, kv = checkpoint.spec, options.kv
    context = _chosen_context(spec, kv, options.context)
    num_pages = -(-_cache_tokens(spec, context, options) // core.PAGE_SIZE)
    int12 = int12_matrices(spec, options.activations)
    core.choose_isa(options.isa)
    num_threads = core.choose_threads(options.num_threads)
    num_kept = num_kept_states(spec)
    check_memory(
        sum(packed_sizes(checkpoint, options.weights).values())
        + kv_bytes_of(spec, kv, num_pages * core.PAGE_SIZE, options.max_batch_tokens)
        + state_bytes(spec) * (num_kept + 1),
        f"{checkpoint.path.name} with keys and values of {num_pages * core.PAGE_SIZE} tokens",
    )
    packed = pack(
        checkpoint, options.weights, use_cache=options.use_cache, progress=options.progress
    )
    core_model = core.CoreModel(
        spec, packed.tensors, isa=options.isa, num_threads=num_threads, int12=int12
    )
    is_float = all(t.format in ("f32", "bf16") for t in packed.tensors.values())
    num_states = MAX_SEQUENCES + num_kept if spec.has_state else 0
    runner = Runner(core_model, num_pages, kv, num_states)
    engine = Engine(
        runner,
        tokenizer or _no_tokenizer(spec.vocab_size),
        context=context,
        vocab_size=spec.vocab_size,
        max_batch_tokens=options.max_batch_tokens,
        max_sequences=MAX_SEQUENCES,
        speculate=_speculate(spec, options.speculate),
        adapters=AdapterTable(spec, core_model, "f32" if is_float else "q8"),
        token_bias=checkpoint.token_bias,
    )
    engine.scheduler.short_context = spec.short_context
    if num_states:
        engine.scheduler.states = StateKeeper(num_states, engine.pool)
    engine.pool.windows = window_keeper(spec, num_pages, core.PAGE_SIZE, runner.cache.set_place)
    fingerprint = f"{packed.fingerprint}-{kv}{'-int12' if int12 else ''}"
    return LoadedEngine(engine, fingerprint, packed.num_bytes())


def state_bytes(spec: ModelSpec) -> int:
    """Bytes of the recurrent layers' state of one sequence, in float32."""
    values = spec.count("short_conv") * max(spec.conv_size - 1, 0) * spec.hidden_size
    if spec.mamba2 is not None:
        m = spec.mamba2
        heads = m.num_heads * m.state_size * (-(-m.head_dim // 16) * 16)
        values += spec.count("mamba2") * ((m.conv_size - 1) * m.conv_channels + heads)
    if spec.gated_delta is not None:
        g = spec.gated_delta
        heads = g.num_heads * g.key_dim * (-(-g.value_dim // 16) * 16)
        values += spec.count("gated_delta") * ((g.conv_size - 1) * g.conv_channels + heads)
    return 4 * values


def num_kept_states(spec: ModelSpec) -> int:
    """How many states of beginnings are kept: what `KEPT_STATE_BYTES` hold, within bounds."""
    if not spec.has_state:
        return 0
    return min(max(KEPT_STATE_BYTES // state_bytes(spec), MIN_KEPT_STATES), MAX_KEPT_STATES)


def _speculate(spec: ModelSpec, wanted: int) -> int:
    if wanted and spec.has_state:
        warnings.warn(
            f"speculation is switched off: {spec.architecture} has recurrent layers, whose state "
            "cannot take back a wrong guess",
            UnderstudyWarning,
            stacklevel=3,
        )
        return 0
    return wanted


def int12_matrices(spec: ModelSpec, activations: Activations | None = None) -> tuple[str, ...]:
    """The matrices whose inputs `core.CoreModel` takes with 12 bits."""
    if activations not in (None, "int8", "int12"):
        raise UsageError(
            "unknown activations", where="activations", expected="int8 int12", found=activations
        )
    is_small = parameter_counts(spec)["total"] < INT12_BELOW
    return INT12_MATRICES if activations == "int12" or (activations is None and is_small) else ()


def kv_bytes_of(spec: ModelSpec, kv: KvFormat, num_tokens: int, max_batch_tokens: int) -> int:
    """Bytes of keys and values in a cache of so many tokens that one text fills."""
    per_token = kv_bytes_per_token(spec, kv)
    kept = num_kept_places(spec, num_tokens // core.PAGE_SIZE, core.PAGE_SIZE)
    if not kept:
        return per_token * num_tokens
    window = widest_window(spec)
    in_windows = min(num_tokens, (kept + 2) * core.PAGE_SIZE + window + max_batch_tokens)
    windowed = per_token * sum(block.window > 0 for block in spec.blocks) // spec.count("attention")
    return (per_token - windowed) * num_tokens + windowed * in_windows


def kv_bytes_per_token(spec: ModelSpec, kv: KvFormat) -> int:
    """Bytes of keys and values of one token over all layers."""
    padded = -(-spec.head_dim // 32) * 32
    num_heads = spec.count("attention") * spec.num_kv_heads
    values = num_heads * (spec.head_dim + padded)
    if kv == "int8":
        return values + num_heads * 8
    return values * (2 if kv == "f16" else 4)


def default_context(spec: ModelSpec, kv: KvFormat = "f16", free: int | None = None) -> int:
    """The context where none is asked for: what the model was trained for, within memory.

    Doubled from `MIN_CONTEXT` as long as keys and values of so many tokens take at most a quarter
    of the free memory (`CACHE_SHARE`), up to `MAX_CONTEXT`.

    Args:
        free: bytes; default what the system could give now.
    """
    free = available_memory() if free is None else free
    fitting = _fitting_tokens(spec, kv, free)
    context = MIN_CONTEXT
    while context < MAX_CONTEXT and 2 * context <= fitting:
        context *= 2
    return min(spec.max_positions, context)


def _fitting_tokens(spec: ModelSpec, kv: KvFormat, free: int | None) -> int:
    """Tokens whose keys and values take the share of the memory that a cache may have."""
    if free is None:
        return MIN_CONTEXT
    return free // CACHE_SHARE // max(1, kv_bytes_per_token(spec, kv))


def _cache_tokens(spec: ModelSpec, context: int, options: LoadOptions) -> int:
    """Tokens that the cache holds; contexts beyond the first only as far as they fit."""
    if options.cache_tokens is not None:
        return max(options.cache_tokens, context)
    fitting = _fitting_tokens(spec, options.kv, available_memory())
    return max(context, min(options.cache_contexts * context, fitting))


def _chosen_context(spec: ModelSpec, kv: KvFormat, context: int | None) -> int:
    if context is None:
        return default_context(spec, kv)
    if type(context) is not int or not 1 <= context <= spec.max_positions:
        limit = f"1 to {spec.max_positions} (the model's own limit)"
        raise UsageError("context is out of range", where="context", expected=limit, found=context)
    return context


class _NoText(Segmenter):
    """Stands in where a checkpoint has no tokenizer: ids work, their text is empty."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def encode(self, text: str, is_start: bool) -> list[int]:
        raise MissingError(
            "the checkpoint has no tokenizer",
            found=f"a text of {len(text)} characters",
            do="give token ids",
        )

    def piece(self, token: int) -> str:
        return f"<{token}>"

    def bytes_of(self, token: int) -> bytes:
        return b""


def _no_tokenizer(vocab_size: int) -> Tokenizer:
    return Tokenizer(_NoText(vocab_size), [], bos_id=None, eos_ids=())
