"""How fast a loaded model runs, beside the limit of this machine measured in the same seconds.

Works on the native core alone (no engine, no tokenizer), so it times what the core does and nothing
else:

    test = SpeedTest(model, spec, kv_format="f16", max_positions=2048)
    report = measure_speed(test, prompt_lengths=(128, 512), depths=(0, 1024))
    print(report.table())

Decoding is bound by reading the weights and the cache, so its limit is read bandwidth; prefill by
int8 arithmetic.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from understudy import core
from understudy.errors import UsageError
from understudy.experts import expert_number
from understudy.spec import KvFormat, ModelSpec, tensor_shapes

CHUNK_TOKENS = (
    512  # a prompt goes through the core in pieces of this many tokens, as the engine does it
)


@dataclass(frozen=True)
class Rate:
    """Tokens a second in one situation: samples of one per round, and the limit met in the same
    rounds."""

    kind: Literal["prefill", "decode"]
    tokens: int  # prompt length, or tokens decoded by each sequence
    depth: int  # positions already in the cache of each sequence
    batch: int  # sequences at once; tokens per second are of all together
    samples: tuple[float, ...]
    limit: float  # tokens per second that the limit allows (median over rounds)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def share_of_limit(self) -> float:
        return self.median / self.limit if self.limit else float("nan")

    @property
    def label(self) -> str:
        if self.kind == "prefill":
            return f"prefill {self.tokens}"
        return f"decode at {self.depth}" + (f", {self.batch} at once" if self.batch > 1 else "")

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {
            "median": self.median,
            "share_of_limit": self.share_of_limit,
        }


@dataclass(frozen=True)
class SpeedReport:
    """All rates of one run, with what the machine could do meanwhile."""

    rates: tuple[Rate, ...]
    bandwidth_bytes: float  # read bandwidth, bytes per second, median over the rounds
    int8_ops: float  # int8 multiply and add operations per second
    num_threads: int
    isa: str

    def rate(self, kind: str, *, tokens: int | None = None, depth: int = 0, batch: int = 1) -> Rate:
        """The one rate of that situation (KeyError if it was not measured)."""
        for rate in self.rates:
            if (rate.kind, rate.depth, rate.batch) == (kind, depth, batch) and tokens in (
                None,
                rate.tokens,
            ):
                return rate
        raise KeyError((kind, tokens, depth, batch))

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"rates": [rate.as_dict() for rate in self.rates]}

    def table(self) -> str:
        """Lines of text: situation, median, spread, share of the limit."""
        lines = [
            f"{self.num_threads} threads, {self.isa}; read "
            f"bandwidth {self.bandwidth_bytes / 1e9:.1f} GB/s, "
            f"int8 {self.int8_ops / 1e9:.0f} Gop/s",
            f"{'':24}{'tokens/s':>10}{'from … to':>18}{'of the limit':>14}",
        ]
        for rate in self.rates:
            spread = f"{min(rate.samples):.1f} … {max(rate.samples):.1f}"
            lines.append(
                f"{rate.label:24}{rate.median:>10.1f}{spread:>18}{rate.share_of_limit:>13.0%} "
            )
        return "\n".join(lines)


class SpeedTest:
    """A native model with a cache of its own, ready to be timed.

    Args:
        model: a `core.CoreModel`.
        spec: its architecture.
        kv_format: format of the cache made here.
        max_positions, max_batch: the largest `depth + tokens` and `batch` that will be asked for.

    Raises:
        UsageError: more positions than the model has.
    """

    def __init__(
        self,
        model: core.CoreModel,
        spec: ModelSpec,
        *,
        kv_format: KvFormat = "f16",
        max_positions: int = 1024,
        max_batch: int = 1,
        adapters: core.AdapterMix | None = None,
    ) -> None:
        if max_positions > spec.max_positions:
            raise UsageError(
                "longer than the context",
                where="bench",
                expected=f"<= {spec.max_positions}",
                found=max_positions,
            )
        self.model, self.spec = model, spec
        self.adapters = [adapters] * max_batch if adapters else None
        self.pages_per_sequence = -(-max_positions // core.PAGE_SIZE)
        num_states = max_batch if spec.has_state else 0
        self.cache = core.new_cache(
            model, self.pages_per_sequence * max_batch, kv_format, num_states
        )
        own = np.arange(max_batch, dtype=np.int32)
        self.states = np.stack([own, own], axis=1) if num_states else None
        self.page_tables = np.arange(self.pages_per_sequence * max_batch, dtype=np.int32).reshape(
            max_batch, -1
        )
        self._random = np.random.default_rng(0)
        self._fill_cache()

    def _fill_cache(self) -> None:
        """Real keys and values in every page: reading pages that were never written would flatter
        decoding."""
        self._step(
            self._tokens(core.PAGE_SIZE), np.arange(core.PAGE_SIZE), np.zeros(core.PAGE_SIZE), []
        )
        others = self.page_tables.reshape(-1)[1:].copy()
        self.cache.copy_pages(np.zeros(len(others), np.int32), others)

    def _tokens(self, count: int) -> NDArray[np.int32]:
        return self._random.integers(0, self.spec.vocab_size, count).astype(np.int32)

    def _step(
        self, tokens: Any, positions: Any, slots: Any, logit_rows: Sequence[int]
    ) -> NDArray[np.float32]:
        def integers(values: Any) -> NDArray[np.int32]:
            return np.asarray(values, np.int32)

        return core.step(
            self.model,
            self.cache,
            integers(tokens),
            integers(positions),
            integers(slots),
            self.page_tables,
            integers(logit_rows),
            states=self.states,
            adapters=self.adapters,
        )

    def prefill(self, num_tokens: int, chunk_tokens: int = CHUNK_TOKENS) -> float:
        """Seconds from the first token of a prompt to the logits of its last."""
        tokens = self._tokens(num_tokens)
        start = time.perf_counter()
        for first in range(0, num_tokens, chunk_tokens):
            piece = tokens[first : first + chunk_tokens]
            is_last = first + len(piece) == num_tokens
            positions = np.arange(first, first + len(piece))
            self._step(piece, positions, np.zeros(len(piece)), [len(piece) - 1] if is_last else [])
        return time.perf_counter() - start

    def decode(self, num_tokens: int, depth: int = 0, batch: int = 1) -> list[float]:
        """Seconds of each of `num_tokens` steps that add one greedily chosen token to each of
        `batch` sequences."""
        tokens, slots, seconds = self._tokens(batch), np.arange(batch), []
        for position in range(depth, depth + num_tokens):
            start = time.perf_counter()
            logits = self._step(tokens, np.full(batch, position), slots, list(range(batch)))
            tokens = logits.argmax(axis=-1).astype(np.int32)
            seconds.append(time.perf_counter() - start)
        return seconds

    def decode_bytes(self, depth: int, batch: int) -> float:
        """Bytes that one decode step must read: all weights once, the cache of every sequence, and
        the states of recurrent layers, which it writes too."""
        cache_bytes = batch * depth * self.cache.page_bytes / core.PAGE_SIZE
        return self.model.weight_bytes_per_token + cache_bytes + 2 * batch * self.cache.state_bytes

    def prefill_operations(self, num_tokens: int) -> float:
        """Multiplications and additions of a prompt: every matrix for every token, of experts its
        own, the head once, and attention."""
        skipped, experts = ("model.embed_tokens.weight", "lm_head.weight"), self.spec.experts
        per_token = 0.0
        for name, shape in tensor_shapes(self.spec).items():
            is_expert = experts is not None and expert_number(name) is not None
            share = experts.used / experts.count if experts and is_expert else 1.0
            if name not in skipped and len(shape) == 2:
                per_token += 2.0 * math.prod(shape) * share
        attention = 4.0 * self.spec.query_size * self.spec.count("attention") * (num_tokens + 1) / 2
        return (
            num_tokens * (per_token + attention)
            + 2.0 * self.spec.vocab_size * self.spec.hidden_size
        )


def measure_speed(
    test: SpeedTest,
    *,
    prompt_lengths: Sequence[int] = (512,),
    depths: Sequence[int] = (0,),
    batches: Sequence[int] = (1,),
    decode_tokens: int = 32,
    rounds: int = 3,
    report: Callable[[str], None] = lambda _: None,
) -> SpeedReport:
    """Times every prompt length and every depth × batch, `rounds` times over, the machine's limits
    between.

    A decode sample is the median of its steps, because single steps suffer from whatever else the
    machine does. `report` is told each situation before it is timed.
    """
    threads = test.model.num_threads
    int8_ops = core.measure_int8_peak(threads)
    bandwidths: list[float] = []
    situations: list[tuple[Literal["prefill", "decode"], int, int, int]] = [
        *(("prefill", length, 0, 1) for length in prompt_lengths),
        *(("decode", decode_tokens, depth, batch) for batch in batches for depth in depths),
    ]
    samples: dict[tuple[str, int, int, int], list[float]] = {
        situation: [] for situation in situations
    }
    test.decode(2)
    for _ in range(rounds):
        bandwidths.append(core.measure_bandwidth(threads))
        for situation in situations:
            kind, tokens, depth, batch = situation
            report(f"{kind} {tokens} at {depth}, {batch} at once")
            if kind == "prefill":
                samples[situation].append(tokens / test.prefill(tokens))
            else:
                samples[situation].append(
                    batch / statistics.median(test.decode(tokens, depth, batch))
                )
    bandwidth = statistics.median(bandwidths)
    rates = []
    for kind, tokens, depth, batch in situations:
        if kind == "prefill":
            limit = int8_ops * tokens / test.prefill_operations(tokens)
        else:
            limit = batch * bandwidth / test.decode_bytes(depth, batch)
        rates.append(
            Rate(kind, tokens, depth, batch, tuple(samples[kind, tokens, depth, batch]), limit)
        )
    return SpeedReport(tuple(rates), bandwidth, int8_ops, threads, test.model.isa)
