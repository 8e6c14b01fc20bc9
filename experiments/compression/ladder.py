"""What fewer bits cost: the stories model in every format and within budgets of bits, beside
llama.cpp's types, on stories that the float model wrote itself.

    python experiments/compression/ladder.py [--formats q8 q4 q3] [--budgets 6 5 4.5 4 3.5]
        [--types IQ4_XS IQ3_S Q3_K IQ3_XXS --library XLLAMACPP.so]

Ours are rounded in the order of the pass with all that `quantize` does, but for tuning. Theirs are
made by `ggml_quantize_chunk` of a shared library that exports it (xllamacpp's wheel has one), with
the inputs' mean squares as importance; their rows are 256 long, so that ours of 288 and 576 are
handed over several at a time: bytes as llama.cpp would need if it took such rows.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from understudy.compress.bit_budget import find_prices
from understudy.compress.calibrate import Statistics, calibrate
from understudy.compress.data import Sequences
from understudy.compress.evaluate import compare
from understudy.compress.folder import open_source
from understudy.compress.network import Network
from understudy.compress.quantize import QuantizeSettings, quantize
from understudy.formats.tensor import BLOCKS, StoredTensor

MODEL = Path(__file__).parents[2] / "tests/data/stories-nemotron"
NUM_TEXTS, NUM_HELD_OUT, LENGTH = 64, 24, 80
TYPE_CODES = {"Q3_K": 11, "IQ3_XXS": 18, "IQ3_S": 21, "IQ4_XS": 23, "Q4_K": 12}
GRAMS = {"o_proj": "mix_gram", "up_proj": "mlp_gram", "down_proj": "inner_gram"}
GRAMS |= {"v_proj": "value_gram"}


@torch.no_grad()
def written(network: Network) -> np.ndarray:
    """Stories drawn from the network, (texts, tokens) int32."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.ones(NUM_TEXTS, 1, dtype=torch.int64)
    for _ in range(LENGTH):
        drawn = torch.multinomial(network(tokens)[:, -1].softmax(-1), 1, generator=generator)
        tokens = torch.cat([tokens, drawn], 1)
    return tokens.numpy().astype(np.int32)


def sequences(tokens: np.ndarray) -> Sequences:
    return Sequences(tokens, np.ones((len(tokens), tokens.shape[1] - 1), np.uint8))


def importance(name: str, columns: int, statistics: Statistics) -> np.ndarray:
    """Mean squares of what meets each column."""
    part = name.split(".")[-2]
    if part == "embed_tokens":
        return np.ones(columns, np.float32)
    if part == "lm_head":
        return statistics.final()["head_gram"].diagonal().numpy()
    layer = statistics.layer(int(name.split(".")[2]))
    return layer[GRAMS.get(part, "attention_gram")].diagonal().numpy()


def theirs(network: Network, kind: str, statistics: Statistics, library: ctypes.CDLL) -> float:
    """Rounds the matrices in place; returns the bits a weight of all."""
    values, size = BLOCKS[kind]
    bits = count = 0
    for name, tensor in network.state_dict().items():
        count += tensor.numel()
        if tensor.dim() < 2:
            bits += 32 * tensor.numel()
            continue
        rows, columns = tensor.shape
        together = values // np.gcd(values, columns)
        flat = np.ascontiguousarray(tensor.numpy().reshape(rows // together, -1))
        weights = np.tile(importance(name, columns, statistics), together).astype(np.float32)
        made = np.empty(tensor.numel() // values * size, np.uint8)
        library.ggml_quantize_init(TYPE_CODES[kind])
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (flat, made, weights)]
        sizes = [ctypes.c_int64(number) for number in (0, *flat.shape)]
        library.ggml_quantize_chunk(TYPE_CODES[kind], *pointers[:2], *sizes, pointers[2])
        read = StoredTensor(name, flat.shape, kind, made).to_float32()
        tensor.copy_(torch.from_numpy(read.reshape(rows, columns)))
        bits += 8 * made.size
    return bits / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--formats", nargs="*", default=["q8", "q4", "q3"])
    parser.add_argument("--budgets", nargs="*", type=float, default=[6.0, 5.0, 4.5, 4.0, 3.5])
    parser.add_argument("--types", nargs="*", default=[], choices=TYPE_CODES)
    parser.add_argument("--library", type=Path)
    arguments = parser.parse_args()
    network = open_source(str(MODEL)).network
    tokens = written(network)
    rows, held_out = sequences(tokens[NUM_HELD_OUT:]), sequences(tokens[:NUM_HELD_OUT])
    statistics = calibrate(network, rows, Path(tempfile.mkdtemp()))

    def show(what: str, bits: float, made: Network) -> None:
        found = compare(made, network, held_out)
        print(
            f"{what}: {bits:.3f} bits, KL {found.kl:.4f}, perplexity {found.perplexity:.3f} "
            f"(float {found.teacher_perplexity:.3f}), same token {found.agreement:.1%}",
            flush=True,
        )

    for grid in arguments.formats:
        result = quantize(network, statistics, QuantizeSettings(grid), rows=rows)
        show(grid, result.bits_per_weight(), result.network)
    prices = find_prices(network, statistics, rows, {})
    for budget in arguments.budgets:
        formats = {name: price.grid for name, price in prices.within(budget).items()}
        counts = Counter(formats.values())
        settings = QuantizeSettings(counts.most_common(1)[0][0], formats=formats)
        result = quantize(network, statistics, settings, rows=rows)
        show(f"at most {budget} {dict(counts)}", result.bits_per_weight(), result.network)
    for kind in arguments.types:
        made = copy.deepcopy(network)
        show(kind, theirs(made, kind, statistics, ctypes.CDLL(str(arguments.library))), made)


if __name__ == "__main__":
    main()
