"""A float network to 4 and 8 bits: scale search by the statistics, channel scales, error feedback, bits where they pay.

    result = quantize(network, statistics, QuantizeSettings(weights="q4", embedding="q8"))
    result.network      the dequantised network: what the file computes
    result.tensors      name -> Rounded (matrices) or Tensor (norms, biases), ready for `folder.save_quantized`

Everything comes from one calibration. `method` is what is measured against what: "plain" rounds to nearest, "search" finds
scales, "feedback" adds GPTQ; `equalise` adds AWQ-style scales before either. The network given is not changed.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from understudy.compress import grids
from understudy.compress.calibrate import Statistics
from understudy.compress.data import Progress, Rows, quiet
from understudy.compress.equalise import equalise_layer
from understudy.compress.evaluate import compare
from understudy.compress.grids import GRIDS, Grid, Rounded
from understudy.compress.network import Network
from understudy.errors import UsageError

METHODS = ("plain", "search", "feedback")
_GRAMS = {
    "q_proj": "attention_gram", "k_proj": "attention_gram", "v_proj": "value_gram", "o_proj": "mix_gram",
    "up_proj": "mlp_gram", "gate_proj": "mlp_gram", "down_proj": "inner_gram",
}  # fmt: skip


@dataclass(frozen=True)
class QuantizeSettings:
    """Grids by part (q4 or q8; None follows `weights`); `promoted` names linears that get q8, e.g. ("v_proj",)."""

    weights: str = "q4"
    embedding: str | None = None
    head: str | None = None
    promoted: tuple[str, ...] = ()
    method: str = "feedback"
    equalise: bool = True

    def grid_of(self, name: str) -> Grid:
        part = name.split(".")[-2]
        choice = self.embedding if part == "embed_tokens" else self.head if part == "lm_head" else None
        return GRIDS["q8" if part in self.promoted else choice or self.weights]

    def problems(self) -> list[str]:
        found = [
            f"grid {choice!r} is unknown, there are {list(GRIDS)}"
            for choice in (self.weights, self.embedding, self.head)
            if choice is not None and choice not in GRIDS
        ]
        if self.method not in METHODS:
            found.append(f"method {self.method!r} is unknown, there are {list(METHODS)}")
        return found


@dataclass
class Quantized:
    network: Network
    tensors: dict[str, Rounded | Tensor]
    errors: dict[str, float]  # by matrix: Σ ‖(W - W') x‖² / Σ ‖W x‖²

    def bits_per_weight(self) -> float:
        """Of all tensors, norms and biases as float32 included."""
        bits = count = 0.0
        for tensor in self.tensors.values():
            size = tensor.integers.numel() if isinstance(tensor, Rounded) else tensor.numel()
            bits += size * (tensor.grid.bits if isinstance(tensor, Rounded) else 32)
            count += size
        return bits / count


@torch.no_grad()
def quantize(network: Network, statistics: Statistics, settings: QuantizeSettings, progress: Progress = quiet) -> Quantized:
    """Quantize every matrix; norms and biases stay float32.

    Raises:
        UsageError: settings are unsound, or a matrix has columns that are no multiple of 32 (told before any work).
    """
    for problem in settings.problems():
        raise UsageError(problem)
    for name, value in network.state_dict().items():
        if value.dim() == 2:
            grids.check_columns(name, value.shape[1])
    work = copy.deepcopy(network).float()
    tensors: dict[str, Rounded | Tensor] = {}
    errors: dict[str, float] = {}
    total = network.spec.num_layers + 1
    for index, layer in enumerate(work.model.layers):
        progress(index, total, f"quantizing layer {index + 1} of {network.spec.num_layers}")
        grams = {name: value.float().to(work.device) for name, value in statistics.layer(index).items() if name.endswith("_gram")}
        if settings.equalise and settings.method != "plain":
            equalise_layer(work, index, grams, GRIDS[settings.weights])
        for part, module in [*layer.self_attn.named_children(), *layer.mlp.named_children()]:
            owner = "mlp" if part in ("up_proj", "gate_proj", "down_proj") else "self_attn"
            name = f"model.layers.{index}.{owner}.{part}.weight"
            tensors[name], errors[name] = round_matrix(module.weight, grams[_GRAMS[part]], settings.grid_of(name), settings)
            module.weight.copy_(tensors[name].values())
    _round_ends(work, statistics, settings, tensors, errors)
    for name, value in work.state_dict().items():
        tensors.setdefault(name, value.clone())
    progress(total, total, "quantized")
    return Quantized(work, tensors, errors)


def _round_ends(
    work: Network, statistics: Statistics, settings: QuantizeSettings, tensors: dict[str, Rounded | Tensor],
    errors: dict[str, float],
) -> None:  # fmt: skip
    """Head with the statistics of what it reads; the embedding too if it is the head, else each row for itself alone."""
    embedding, gram = work.model.embed_tokens.weight, statistics.final()["head_gram"].float().to(work.device)
    ends = [("lm_head.weight", work.lm_head.weight, gram)] if work.lm_head is not None else []
    own = gram if work.lm_head is None else torch.eye(len(gram), device=work.device)
    for name, weight, inputs in [*ends, ("model.embed_tokens.weight", embedding, own)]:
        chosen = replace(settings, method="search") if settings.method == "feedback" and inputs is not gram else settings
        tensors[name], errors[name] = round_matrix(weight, inputs, settings.grid_of(name), chosen)
        weight.copy_(tensors[name].values())


def round_matrix(weight: Tensor, gram: Tensor, grid: Grid, settings: QuantizeSettings) -> tuple[Rounded, float]:
    """One matrix by the chosen method, and its output error."""
    if settings.method == "plain":
        rounded = grids.plain(weight, grid)
    elif settings.method == "search" or grid.name == "q8":
        rounded = grids.search(weight, grid, gram.diagonal())
    else:
        rounded = grids.polish(weight, grids.with_feedback(weight, grid, gram), gram)
    return rounded, grids.output_error(weight, rounded.values(), gram)


PROMOTIONS = ("lm_head", "embed_tokens", "v_proj", "o_proj", "down_proj", "k_proj", "q_proj")


@torch.no_grad()
def spend_bits(
    network: Network, statistics: Statistics, settings: QuantizeSettings, rows: Rows, max_bits: float,
    progress: Progress = quiet,
) -> tuple[QuantizeSettings, list[dict[str, object]]]:  # fmt: skip
    """Promote kinds of matrices to q8 while the whole stays within `max_bits` a weight, best KL per added bit first.

    Each kind is tried alone on `rows` (the fast method), then taken greedily. Returns the settings and the table.
    """
    quick = replace(settings, method="search", equalise=False)
    base = quantize(network, statistics, quick)
    floor, base_bits = compare(base.network, network, rows).kl, base.bits_per_weight()
    table: list[dict[str, object]] = []
    gains = []
    for number, kind in enumerate(PROMOTIONS):
        progress(number, len(PROMOTIONS), f"what q8 would bring to {kind}")
        if kind == "lm_head" and network.lm_head is None:
            continue
        tried = quantize(network, statistics, replace(quick, promoted=(kind,)))
        kl, added = compare(tried.network, network, rows).kl, tried.bits_per_weight() - base_bits
        table.append({"kind": kind, "kl": kl, "kl_all_q4": floor, "added_bits": added})
        gains.append(((floor - kl) / added, added, kind))
    promoted: tuple[str, ...] = ()
    bits = base_bits
    for gain, added, kind in sorted(gains, reverse=True):
        if gain > 0 and bits + added <= max_bits:
            promoted, bits = (*promoted, kind), bits + added
    return replace(settings, promoted=promoted), table
