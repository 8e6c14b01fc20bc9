"""The native core driven by hand: packs made-up weights and feeds tokens to sequences in any cut
and mixture.

model = native_model(spec, weights, "f32", isa="avx2")
run = NativeRun(model, spec, num_sequences=2, max_tokens=100, kv_format="f32")
logits = run.feed([(0, prompt), (1, [5])])      # one array (tokens, vocab) for each piece
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from understudy import core
from understudy.core import PackedTensor
from understudy.spec import KvFormat, ModelSpec, PackedFormat, has_centred_gain, is_convolution

Array = NDArray[np.float32]


def pack_weights(
    spec: ModelSpec, weights: Mapping[str, Array], target: PackedFormat
) -> dict[str, PackedTensor]:
    """Every matrix in `target`; norm gains with their 1 added, as the core wants them."""
    packed = {}
    for name, values in weights.items():
        if values.ndim == 1 or is_convolution(name):
            offset = np.float32(1 if has_centred_gain(spec, name) else 0)
            vector = (values + offset).reshape(-1)
            packed[name] = PackedTensor("f32", 1, len(vector), vector.view(np.uint8))
        else:
            data = core.pack("F32", values.reshape(-1).view(np.uint8), *values.shape, target)
            packed[name] = PackedTensor(target, *values.shape, data)
    return packed


def unpack_weights(
    weights: Mapping[str, Array], packed: Mapping[str, PackedTensor]
) -> dict[str, Array]:
    """The values that the packed matrices hold; vectors as they were."""
    return {
        name: values
        if values.ndim == 1 or is_convolution(name)
        else core.unpack(t.format, t.data, t.rows, t.columns)
        for name, values in weights.items()
        for t in [packed[name]]
    }


def native_model(
    spec: ModelSpec,
    weights: Mapping[str, Array],
    target: PackedFormat = "f32",
    *,
    isa: str | None = None,
    num_threads: int = 1,
    int12: Sequence[str] = (),
) -> core.CoreModel:
    return core.CoreModel(
        spec, pack_weights(spec, weights, target), isa=isa, num_threads=num_threads, int12=int12
    )


class NativeRun:
    """Sequences in a cache of their own. Their pages lie scattered, so that a kernel that trusts
    page order fails.
    """

    def __init__(
        self,
        model: core.CoreModel,
        spec: ModelSpec,
        *,
        num_sequences: int = 1,
        max_tokens: int = 256,
        kv_format: KvFormat = "f32",
        adapters: Sequence[core.AdapterMix | None] | None = None,
    ) -> None:
        pages = -(-max_tokens // core.PAGE_SIZE)
        self.model, self.spec = model, spec
        self.cache = core.new_cache(model, num_sequences * pages + 3, kv_format, num_sequences)
        order = np.random.default_rng(1).permutation(num_sequences * pages + 3)[
            : num_sequences * pages
        ]
        self.page_tables = np.ascontiguousarray(
            order.reshape(num_sequences, pages).astype(np.int32)
        )
        self.lengths = [0] * num_sequences
        self.adapters = adapters

    def feed(self, pieces: Sequence[tuple[int, Sequence[int] | NDArray[np.int32]]]) -> list[Array]:
        """One step: appends tokens to sequences; logits of every token, (tokens, vocab) for each
        piece.
        """
        tokens, positions, slots = [], [], []
        before = list(self.lengths)
        for slot, piece in pieces:
            tokens += [int(token) for token in piece]
            positions += range(self.lengths[slot], self.lengths[slot] + len(piece))
            slots += [slot] * len(piece)
            self.lengths[slot] += len(piece)
        arrays = (np.array(values, np.int32) for values in (tokens, positions, slots))
        own = np.arange(len(self.lengths), dtype=np.int32)
        states = np.stack([np.where(np.array(before) > 0, own, -1), own], axis=1).astype(np.int32)
        logits = core.step(
            self.model,
            self.cache,
            *arrays,
            self.page_tables,
            np.arange(len(tokens), dtype=np.int32),
            adapters=self.adapters,
            states=states,
        )
        ends = np.cumsum([len(piece) for _, piece in pieces])[:-1]
        return np.split(logits, ends)

    def prefill(
        self, tokens: Sequence[int] | NDArray[np.int32], chunk: int | None = None, slot: int = 0
    ) -> Array:
        """All tokens of one sequence, `chunk` at a time: (tokens, vocab)."""
        size = chunk or len(tokens)
        return np.concatenate(
            [self.feed([(slot, tokens[at : at + size])])[0] for at in range(0, len(tokens), size)]
        )

    def greedy(
        self, prompt: Sequence[int] | NDArray[np.int32], num_tokens: int, slot: int = 0
    ) -> list[int]:
        """The ids that follow the prompt, each the likeliest."""
        last, out = self.feed([(slot, prompt)])[0][-1], []
        while True:
            out.append(int(last.argmax()))
            if len(out) == num_tokens:
                return out
            last = self.feed([(slot, [out[-1]])])[0][-1]
