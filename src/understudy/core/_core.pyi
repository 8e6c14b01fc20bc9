"""The compiled module's face (cpp/bind/module.cpp). `tests/unit/core/test_stub.py` holds it to the
module.

Every function raises `ValueError` where an array has another size than the others say, or a name is
unknown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAGE_SIZE: int
"""Positions in a page of the cache."""
PANEL_ROWS: int
"""Rows of a panel of packed weights."""
GROUP_SIZE: int
"""Columns that share a scale."""

def isa_targets() -> list[str]:
    """Names of the kernel targets that this processor can run, best last."""

def dequantize(format: str, data: NDArray[np.uint8], count: int) -> NDArray[np.float32]:
    """Float32 (count,) of the file blocks in `data`; `format` is a ggml type name."""

def quantize(format: str, values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Flat file blocks of float32 values of any shape; the last axis holds whole blocks."""

def row_bytes(format: str, columns: int) -> int:
    """Bytes of one row of `columns` values in file blocks."""

def packed_bytes(target: str, rows: int, columns: int) -> int:
    """Bytes of a matrix in panels of the packed format `target`."""

def pack(
    source: str,
    data: NDArray[np.uint8],
    rows: int,
    columns: int,
    target: str,
    out: NDArray[np.uint8],
) -> None:
    """Turns file blocks (rows, columns) into panels, written to `out` (packed_bytes,)."""

def unpack(target: str, data: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float32]:
    """Float32 (rows, columns) of panels."""

def measure_bandwidth(num_threads: int, megabytes: int = 1024, seconds: float = 0.5) -> float:
    """Bytes per second that all threads together read from memory."""

def measure_int8_peak(num_threads: int, seconds: float = 0.2) -> float:
    """int8 operations per second in registers, a multiply-add counted as two."""

class FileMap:
    """A file as read-only memory. Where it is cut, what is lost reads as zeros and `is_cut` says
    so; without this the process would end by a signal."""

    def __init__(self, descriptor: int) -> None:
        """Of an open file, which may be closed afterwards. ValueError where it is empty."""
    @property
    def data(self) -> NDArray[np.uint8]:
        """Its bytes (n,); they keep the map."""
    @property
    def is_cut(self) -> bool:
        """Whether something was read that the file has no longer."""

class Model:
    """A network ready to run; holds the arrays of `tensors`."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        tensors: Mapping[str, tuple[str, int, int, NDArray[np.uint8]]],
        isa: str,
        num_threads: int,
        int12: Sequence[str],
    ) -> None:
        """tensors: (packed format, rows, columns, bytes) by name; a vector is one row of f32."""
    @property
    def isa(self) -> str:
        """The kernel target that it runs on."""
    @property
    def num_threads(self) -> int:
        """Threads that share a step, the caller's included."""
    @property
    def weight_bytes_per_token(self) -> int:
        """Bytes of weights that a decode step of one token reads."""
    @property
    def is_cut(self) -> bool:
        """Whether weights were read that their file has no longer."""
    def count_zeros(self, is_on: bool) -> None:
        """Switches the counting of zeros behind the MLP's activation on or off, from zero."""
    def zero_shares(self) -> list[float]:
        """Share of exact zeros behind the MLP's activation, by layer."""

class Adapter:
    """Changes of low rank of a model's matrices, packed; keeps the model alive."""

    def __init__(
        self,
        model: Model,
        matrices: Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32], float]],
        format: str,
    ) -> None:
        """matrices: A (rank, in), B (out, rank), scale by name; format: `f32`, `bf16`, `q8`."""
    @property
    def num_bytes(self) -> int:
        """Bytes of the packed matrices."""

class Cache:
    """Keys and values in pages; memory is taken when a page is first written."""

    def __init__(self, model: Model, num_pages: int, kv_format: str, num_states: int = 0) -> None:
        """kv_format: `f16`, `int8` or `f32`; states are of the recurrent layers of one sequence."""
    @property
    def num_states(self) -> int:
        """States of the pool."""
    @property
    def state_bytes(self) -> int:
        """Bytes of one state over all recurrent layers."""
    def read_state(self, state: int) -> NDArray[np.uint8]:
        """The bytes (state_bytes,) of a state."""
    def write_state(self, state: int, data: NDArray[np.uint8]) -> None:
        """Puts back what `read_state` gave."""
    @property
    def num_pages(self) -> int:
        """Pages of the pool."""
    @property
    def page_bytes(self) -> int:
        """Bytes of one page over all layers and heads."""
    def set_place(self, page: int, place: int) -> None:
        """Where layers with a window keep a page, in their part of the pool; at first its own
        number, -1 for nowhere. What stood there is not moved."""
    def copy_pages(self, sources: NDArray[np.int32], targets: NDArray[np.int32]) -> None:
        """Copies whole pages inside the cache, pair by pair."""
    def read_page(self, page: int) -> NDArray[np.uint8]:
        """The bytes (page_bytes,) of a page, layer by layer."""
    def write_page(self, page: int, data: NDArray[np.uint8]) -> None:
        """Puts back what `read_page` gave."""

def step(
    model: Model,
    cache: Cache,
    tokens: NDArray[np.int32],
    positions: NDArray[np.int32],
    slots: NDArray[np.int32],
    page_tables: NDArray[np.int32],
    logit_rows: NDArray[np.int32],
    frequency_sets: Sequence[int] | None = None,
    adapters: Sequence[Sequence[tuple[Adapter, float]] | None] | None = None,
    states: NDArray[np.int32] | None = None,
    state_saves: NDArray[np.int32] | None = None,
) -> NDArray[np.float32]:
    """One forward pass; see `understudy.core.step`. Returns float32 (logit_rows, vocab)."""

class Penalties:
    """Repetition, frequency and presence penalties over the last `last_n` tokens (-1: all)."""

    def __init__(
        self,
        repetition: float,
        frequency: float,
        presence: float,
        last_n: int,
        counts_prompt: bool,
    ) -> None:
        """counts_prompt: whether frequency and presence count the prompt's tokens too."""

class Dry:
    """Penalties on tokens that would go on a repeated sequence."""

    def __init__(
        self,
        multiplier: float,
        base: float,
        allowed_length: int,
        last_n: int,
        breakers: Sequence[Sequence[int]],
    ) -> None:
        """breakers: sequences of tokens that no repetition reaches over."""

class Xtc:
    """Leaves out, with a probability, all likely tokens but the least likely of them."""

    def __init__(self, probability: float, threshold: float) -> None:
        """threshold: from which share on a token is likely."""

class Sampler:
    """The settings of a request; see `understudy.core.SampleSettings`."""

    def __init__(
        self,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        penalties: Penalties,
        dry: Dry,
        xtc: Xtc,
        bias: Sequence[tuple[int, float]],
        seed: int,
        num_top: int,
    ) -> None:
        """bias: (token, what is added to its logit)."""
    def sample(
        self,
        logits: NDArray[np.float32],
        history: NDArray[np.int32],
        num_generated: int,
        mask: NDArray[np.uint32] | None,
        counter: int,
    ) -> tuple[int, float, list[int], list[float]]:
        """Picks a token from logits (vocab,); see `understudy.core.sample`."""
    def shape(
        self, logits: NDArray[np.float32], history: NDArray[np.int32], num_generated: int
    ) -> NDArray[np.float32]:
        """Float32 (vocab,): the logits after penalties, DRY and bias."""

def logprobs(
    logits: NDArray[np.float32], targets: NDArray[np.int32], num_top: int
) -> list[tuple[float, int, list[int], list[float]]]:
    """Of each row of logits: log-probability and rank of its target, likeliest ids and theirs."""
