"""The border to the compiled core: the only importer of `understudy.core._core`.

Python decides what runs, the core does how. Arrays are checked once here and in
`cpp/bind/module.cpp`; a broken contract raises `ValueError`, which is a bug of ours and not of the
user's input.

    model = core.CoreModel(spec, tensors)             # tensors: packed panels, by Hugging Face name
    cache = core.Cache(model, num_pages=128, kv_format="f16")
    logits = core.step(model, cache, tokens, positions, slots, page_tables, logit_rows)
    token, logprob, top_ids, top_logprobs = core.sample(
        logits[0], core.SampleSettings(...), history, num_generated, ...
    )
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.core import _core
from understudy.core.cpus import default_threads, usable_cpus
from understudy.errors import UnderstudyError, UnderstudyWarning, UsageError
from understudy.spec import KvFormat, ModelSpec, PackedFormat

PAGE_SIZE: int = _core.PAGE_SIZE  # positions in a page of the cache
PANEL_ROWS: int = _core.PANEL_ROWS
GROUP_SIZE: int = _core.GROUP_SIZE

Cache = _core.Cache
isa_targets = _core.isa_targets
dequantize = _core.dequantize
row_bytes = _core.row_bytes
packed_bytes = _core.packed_bytes
unpack = _core.unpack
logprobs = _core.logprobs
measure_bandwidth = _core.measure_bandwidth  # bytes per second, read by all threads together
measure_int8_peak = _core.measure_int8_peak  # operations per second, a multiply-add counted as two


@dataclass(frozen=True, slots=True)
class PackedTensor:
    """A weight as the kernels read it.

    A matrix (rows, columns) is in panels of 16 rows (`docs/kernels.md`). A vector (a norm gain, a
    bias) has `format="f32"`, `rows=1` and `data` holding its plain float32 bytes; a LayerNorm1P
    gain already contains the 1.
    """

    format: PackedFormat
    rows: int
    columns: int
    data: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """How a row of logits becomes a token; `cpp/sample.h` has the order in which these act.

    `penalty_last_n` and `dry_penalty_last_n` are windows in tokens, -1 for the whole text;
    `dry_breakers` are sequences of tokens that no repetition reaches over.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_last_n: int = 64
    penalize_prompt: bool = False
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_breakers: Sequence[Sequence[int]] = ()
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0
    num_top: int = 0
    sampler: _core.Sampler = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sampler", self._make_sampler())

    @property
    def reads_history(self) -> bool:
        """Whether tokens of the text change what is chosen."""
        penalties = (self.repetition_penalty, self.frequency_penalty, self.presence_penalty)
        return penalties != (1, 0, 0) or self.dry_multiplier != 0

    def _make_sampler(self) -> _core.Sampler:
        return _core.Sampler(
            self.temperature,
            self.top_k,
            self.top_p,
            self.min_p,
            _core.Penalties(
                self.repetition_penalty,
                self.frequency_penalty,
                self.presence_penalty,
                self.penalty_last_n,
                self.penalize_prompt,
            ),
            _core.Dry(
                self.dry_multiplier,
                self.dry_base,
                self.dry_allowed_length,
                self.dry_penalty_last_n,
                [list(breaker) for breaker in self.dry_breakers],
            ),
            _core.Xtc(self.xtc_probability, self.xtc_threshold),
            list(self.logit_bias.items()),
            self.seed & 0xFFFFFFFFFFFFFFFF,
            self.num_top,
        )


class CoreModel(_core.Model):
    """A network ready to run: packed weights, a kernel target and a pool of threads.

    Args:
        spec: the architecture.
        tensors: packed weights by Hugging Face name (`spec.tensor_shapes`); held, not copied.
        isa: a name of `isa_targets()`; default the environment variable UNDERSTUDY_ISA, else the
            best of this CPU.
        num_threads: taken as it is; default `choose_threads()`: UNDERSTUDY_THREADS, else one per
            physical core that this process may use.
        int12: matrices, by the last part of their name (`q_proj`, …, `lm_head`), whose inputs are
            integers of 12 bits instead of 8.
    """

    def __init__(
        self,
        spec: ModelSpec,
        tensors: Mapping[str, PackedTensor],
        *,
        isa: str | None = None,
        num_threads: int | None = None,
        int12: Sequence[str] = (),
    ) -> None:
        entries = {name: (t.format, t.rows, t.columns, t.data) for name, t in tensors.items()}
        super().__init__(
            dataclasses.asdict(spec) | _rotation(spec),
            entries,
            choose_isa(isa),
            choose_threads() if num_threads is None else num_threads,
            list(int12),
        )


LowRankFormat = Literal["f32", "bf16", "q8"]


class PackedAdapter(_core.Adapter):
    """Changes of low rank, packed for the kernels: B A times a scale, for some of a model's
    matrices.

    Args:
        model: whose matrices they are; no other may run it.
        matrices: by canonical name without `.weight`: A (rank, in), B (out, rank), scale.
        format: f32, bf16, or q8: int8 with a scale by rank, a quarter of the bytes.
    """

    def __init__(
        self,
        model: CoreModel,
        matrices: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32], float]],
        format: LowRankFormat = "q8",
    ) -> None:
        packed = {
            name: (np.ascontiguousarray(a, np.float32), np.ascontiguousarray(b, np.float32), scale)
            for name, (a, b, scale) in matrices.items()
        }
        super().__init__(model, packed, format)


AdapterMix = Sequence[tuple[PackedAdapter, float]]  # that act on a sequence together, with factors


def _rotation(spec: ModelSpec) -> dict[str, object]:
    """The frequencies of texts within the original context, of longer ones where they differ."""
    sets = [spec.frequencies(1), spec.frequencies(spec.max_positions)]
    return {
        "frequency_sets": sets[:1] if sets[0] == sets[1] else sets,
        "attention_factor": spec.attention_factor,
        "local_frequencies": spec.local_frequencies,
    }


def choose_isa(isa: str | None = None) -> str:
    """The kernel target to use; UsageError when it is unknown or cannot run here."""
    wanted = isa or os.environ.get("UNDERSTUDY_ISA") or _core.isa_targets()[-1]
    if wanted not in _core.isa_targets():
        raise UsageError(
            "this CPU has no such kernel target",
            where="UNDERSTUDY_ISA" if isa is None else "isa",
            expected=" | ".join(_core.isa_targets()),
            found=wanted,
        )
    return wanted


def choose_threads(num_threads: int | None = None) -> int:
    """The number of threads to use; UsageError when it is not a number from 1 to 1024.

    Never more than the processors that this process may use (affinity mask, quota of its control
    group): a larger number is lowered, and a warning says so.
    """
    if num_threads is None:
        text = os.environ.get("UNDERSTUDY_THREADS")
        if text is None:
            return default_threads()
        where: str = "UNDERSTUDY_THREADS"
    else:
        text, where = str(num_threads), "num_threads"
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1024):
        raise UsageError(
            "not a usable number of threads", where=where, expected="1 to 1024", found=text
        )
    usable = usable_cpus()
    if int(text) > usable:
        warnings.warn(
            f"{where}: {text} threads on {usable} CPUs; {usable} are used",
            UnderstudyWarning,
            stacklevel=2,
        )
    return min(int(text), usable)


def new_cache(
    model: CoreModel, num_pages: int, kv_format: KvFormat = "f16", num_states: int = 0
) -> Cache:
    """`num_pages` pages of `PAGE_SIZE` positions, and `num_states` states of the recurrent layers
    of one sequence; memory is taken when a page or a state is first written."""
    return _core.Cache(model, num_pages, kv_format, num_states)


def copy_pages(cache: Cache, sources: NDArray[np.int32], targets: NDArray[np.int32]) -> None:
    """Copies whole pages inside a cache, pair by pair."""
    cache.copy_pages(sources, targets)


def quantize(format: str, values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Flat blocks of `format` (F32 F16 BF16 Q8_0 Q4_0 Q4_1) along the last axis of `values`."""
    return _core.quantize(format, np.ascontiguousarray(values, dtype=np.float32))


def pack(
    source: str, data: NDArray[np.uint8], rows: int, columns: int, target: PackedFormat
) -> NDArray[np.uint8]:
    """Turns file blocks (rows, columns) into panels; what `target` cannot hold is rounded."""
    out = np.empty(_core.packed_bytes(target, rows, columns), np.uint8)
    pack_into(source, data, rows, columns, target, out)
    return out


def pack_into(
    source: str,
    data: NDArray[np.uint8],
    rows: int,
    columns: int,
    target: PackedFormat,
    out: NDArray[np.uint8],
) -> None:
    """As `pack`, into memory of the caller's, such as a memory map."""
    _core.pack(source, np.ascontiguousarray(data), rows, columns, target, out)


def step(
    model: CoreModel,
    cache: Cache,
    tokens: NDArray[np.int32],
    positions: NDArray[np.int32],
    slots: NDArray[np.int32],
    page_tables: NDArray[np.int32],
    logit_rows: NDArray[np.int32],
    frequency_sets: Sequence[int] | None = None,
    adapters: Sequence[AdapterMix | None] | None = None,
    states: NDArray[np.int32] | None = None,
    state_saves: NDArray[np.int32] | None = None,
) -> NDArray[np.float32]:
    """One forward pass. tokens, positions, slots: (n,); page_tables: (sequences, pages);
    logit_rows: (m,).

    Token i stands at `positions[i]` of the sequence whose pages are row `slots[i]` of
    `page_tables`; tokens of one sequence stand together, in rising order. `frequency_sets` says for
    each sequence whether it turns by the frequencies of texts within the model's original context
    (0) or of longer ones (1), where these differ; `adapters` says for each which act on it. A model
    with recurrent layers needs `states` (sequences, 2): the state that a sequence goes on from, -1
    for none, and the one that is kept; `state_saves` (n,) names the states that are kept behind a
    token as well, -1 for none. Returns float32 (m, vocab): the logits of batch rows `logit_rows`.

    Raises:
        UnderstudyError: the file in which the weights lie was cut; no step of this model can be
        trusted any more.
    """
    arrays = (tokens, positions, slots, page_tables, logit_rows)
    logits = _core.step(model, cache, *arrays, frequency_sets, adapters, states, state_saves)
    if model.is_cut:
        raise UnderstudyError(
            "the file of the packed weights was cut while the model ran",
            do="load the model again: the weights are packed anew",
        )
    return logits


def map_file(descriptor: int) -> NDArray[np.uint8]:
    """The bytes of an open file, mapped read-only. Where the file is cut later, they read as zeros,
    and a model whose weights they are says so (`step`).

    Raises:
        OSError: it cannot be mapped.
        ValueError: it is empty.
    """
    try:
        return _core.FileMap(descriptor).data
    except RuntimeError as error:
        raise OSError(str(error)) from error


_NO_IDS = np.empty(0, np.int32)


def sample(
    logits: NDArray[np.float32],
    settings: SampleSettings,
    history: NDArray[np.int32] | Sequence[int] = (),
    num_generated: int = 0,
    *,
    counter: int = 0,
    mask: NDArray[np.uint32] | None = None,
) -> tuple[int, float, list[int], list[float]]:
    """Picks a token from one row of logits (vocab,).

    Args:
        history: prompt and generated ids, for the penalties; the last `num_generated` of them are
            generated.
        counter: with `settings.seed` the only source of chance; use the token's position in its own
            sequence.
        mask: bit i of word i // 32 set where token i is allowed.

    Returns:
        token, its log-probability under the model (before penalties, bias, mask and temperature),
        and the `settings.num_top` likeliest ids with theirs.
    """
    return settings.sampler.sample(
        logits,
        np.asarray(history, np.int32) if len(history) else _NO_IDS,
        num_generated,
        mask,
        counter,
    )
