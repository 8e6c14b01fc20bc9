"""Memory of a run on the CPU: what freed memory does, which weights rest in a file, how much of a
pass is kept for its backward pass.

    with keeps_freed_memory(): …        the next tensor of a size finds its pages mapped
    rest(teacher, folder)               its weights are mapped from a file: what does not compute
                                        takes no memory
    num_at_once(spec, …)                how many sequences go through a network together
    num_recomputed(spec, …)             of how many layers the activations are computed again
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from understudy.spec import ModelSpec

CPU_ACTIVATION_BYTES = 128 << 20  # kept of a pass: 3 GB in all for a model of 135M
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # names of mallopt(3)
_NEVER = -1
_KEEPING = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, 64 << 20))
_USUAL = ((_MMAP_MAX, 65536), (_TRIM_THRESHOLD, 128 << 10), (_TOP_PAD, 0))


def keep_freed_memory() -> bool:
    """Ask the C library to keep what is freed. True if it does; elsewhere than glibc nothing
    happens.

    By default glibc gives every block above 32 MiB (and the top of its heap) back to the system at
    once, and a training step asks for the same blocks again: each page is then zeroed and mapped
    anew, which took nine tenths of a step's time on a CPU.
    """
    return _set(_KEEPING)


@contextlib.contextmanager
def keeps_freed_memory() -> Iterator[None]:
    """As `keep_freed_memory`, until the end; what is free before and after goes to the system."""
    give_back_freed_memory()
    keep_freed_memory()
    try:
        yield
    finally:
        _set(_USUAL)
        give_back_freed_memory()


def give_back_freed_memory() -> None:
    """Also what lies between blocks that are in use, which glibc keeps otherwise."""
    if hasattr(_c_library(), "malloc_trim"):
        _c_library().malloc_trim(0)


def _set(options: tuple[tuple[int, int], ...]) -> bool:
    mallopt = getattr(_c_library(), "mallopt", None)
    if mallopt is None:  # macOS, musl
        return False
    answers = [mallopt(*pair) for pair in options]
    return all(answers)


@cache
def _c_library() -> Any:
    return ctypes.CDLL(None) if sys.platform != "win32" else object()


def rest(network: nn.Module, folder: Path) -> None:
    """Puts the weights into a file, from which they are mapped when they are read again; equal, and
    in their places.

    The file has no name afterwards, and ends with its last reader. A network that computes on a GPU
    is left as it is.
    """
    state = {name: value.detach() for name, value in network.state_dict().items()}
    if sys.platform == "win32" or any(value.device.type != "cpu" for value in state.values()):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".safetensors") as file:
        save_file({name: value.contiguous() for name, value in state.items()}, file.name)
        network.load_state_dict(load_file(file.name), assign=True)
    del state
    give_back_freed_memory()


def activation_bytes(spec: ModelSpec, num_tokens: int, precision: str) -> int:
    """What a layer keeps of so many tokens for its backward pass, about.

    The stream before and in the middle of the layer in float32; what its products and activations
    read, in the precision of the products.
    """
    num_inner = 4 if spec.gated else 2
    read = 2 * spec.hidden_size + 4 * spec.query_size + 2 * spec.kv_size
    read += num_inner * spec.intermediate_size
    return num_tokens * (8 * spec.hidden_size + (2 if precision == "bfloat16" else 4) * read)


def num_at_once(spec: ModelSpec, length: int, precision: str, budget: int) -> int:
    """How many sequences' activations fit `budget` bytes; one at least."""
    one = spec.num_layers * activation_bytes(spec, length, precision)
    return max(1, budget // one)


def num_recomputed(spec: ModelSpec, num_tokens: int, precision: str, budget: int) -> int:
    """Of how many layers the activations have to go, so that those of the others fit `budget`
    bytes. One layer is always there: the one whose backward pass is under way.
    """
    most = max(1, budget // activation_bytes(spec, num_tokens, precision))
    return max(0, spec.num_layers - most)
