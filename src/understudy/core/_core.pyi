"""The compiled module's face (cpp/bind/module.cpp)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAGE_SIZE: int
PANEL_ROWS: int
GROUP_SIZE: int

def isa_rows() -> list[str]: ...
def dequantize(format: str, data: NDArray[np.uint8], count: int) -> NDArray[np.float32]: ...
def quantize(format: str, values: NDArray[np.float32]) -> NDArray[np.uint8]: ...
def row_bytes(format: str, columns: int) -> int: ...
def packed_bytes(target: str, rows: int, columns: int) -> int: ...
def pack(
    source: str,
    data: NDArray[np.uint8],
    rows: int,
    columns: int,
    target: str,
    out: NDArray[np.uint8],
) -> None: ...
def unpack(
    target: str, data: NDArray[np.uint8], rows: int, columns: int
) -> NDArray[np.float32]: ...
def measure_bandwidth(num_threads: int, megabytes: int = 1024, seconds: float = 0.5) -> float: ...
def measure_int8_peak(num_threads: int, seconds: float = 0.2) -> float: ...

class Model:
    def __init__(
        self,
        spec: Mapping[str, Any],
        tensors: Mapping[str, tuple[str, int, int, NDArray[np.uint8]]],
        isa: str,
        num_threads: int,
        fine: Sequence[str],
    ) -> None: ...
    @property
    def isa(self) -> str: ...
    @property
    def num_threads(self) -> int: ...
    @property
    def weight_bytes_per_token(self) -> int: ...
    def count_zeros(self, is_on: bool) -> None: ...
    def zero_shares(self) -> list[float]: ...

class Cache:
    def __init__(self, model: Model, num_pages: int, kv_format: str) -> None: ...
    @property
    def num_pages(self) -> int: ...
    @property
    def page_bytes(self) -> int: ...
    def copy_pages(self, sources: NDArray[np.int32], targets: NDArray[np.int32]) -> None: ...
    def read_page(self, page: int) -> NDArray[np.uint8]: ...
    def write_page(self, page: int, data: NDArray[np.uint8]) -> None: ...

def step(
    model: Model,
    cache: Cache,
    tokens: NDArray[np.int32],
    positions: NDArray[np.int32],
    slots: NDArray[np.int32],
    page_tables: NDArray[np.int32],
    logit_rows: NDArray[np.int32],
    frequency_sets: Sequence[int] | None = None,
) -> NDArray[np.float32]: ...
def sample(
    logits: NDArray[np.float32],
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    repetition_penalty: float,
    frequency_penalty: float,
    presence_penalty: float,
    history: NDArray[np.int32],
    num_generated: int,
    bias_ids: NDArray[np.int32],
    bias_values: NDArray[np.float32],
    mask: NDArray[np.uint32] | None,
    seed: int,
    counter: int,
    num_top: int,
) -> tuple[int, float, list[int], list[float]]: ...
def logprobs(
    logits: NDArray[np.float32], targets: NDArray[np.int32], num_top: int
) -> list[tuple[float, int, list[int], list[float]]]: ...
