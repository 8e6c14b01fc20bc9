"""A float network to 4 and 8 bits: scale search by the statistics, channel scales, error feedback,
bits where they pay.

    result = quantize(network, statistics, QuantizeSettings(weights="q4", embedding="q8"))
    result.network      the dequantised network: what the file computes
    result.tensors      name -> QuantizedMatrix (matrices) or Tensor (norms, biases), ready for
    `folder.save_quantized`

Everything comes from one calibration. `method` is what is measured against what: "round_to_nearest"
rounds to nearest, "scale_search" finds scales, "gptq" adds GPTQ; `equalise` adds AWQ-style scales
before either. Where `quantize` is given the calibration's rows, it rounds in the order of the pass
and reconstructions what writes to the stream (o_proj, down_proj) before it is rounded: what the
rounded matrices before it did to the stream, it takes back as far as it can (`reconstruct`). The
network given is not changed.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from understudy.compress import grids
from understudy.compress.calibrate import Statistics
from understudy.compress.data import Progress, Sequences, quiet
from understudy.compress.equalise import equalise_layer
from understudy.compress.evaluate import compare
from understudy.compress.grid import QuantGrid, QuantizedMatrix
from understudy.compress.grids import GRIDS
from understudy.compress.network import Network
from understudy.compress.prune import everything
from understudy.compress.reconstruct import WRITERS, Reconstruction, SideBySide
from understudy.errors import UsageError

METHODS = ("round_to_nearest", "scale_search", "gptq")
_GRAMS = {
    "q_proj": "attention_gram",
    "k_proj": "attention_gram",
    "v_proj": "value_gram",
    "o_proj": "mix_gram",
    "up_proj": "mlp_gram",
    "gate_proj": "mlp_gram",
    "down_proj": "inner_gram",
}


@dataclass(frozen=True)
class QuantizeSettings:
    """Grids by part (q3, q4 or q8; None follows `weights`); `promoted` names linears that get q8,
    e.g. ("v_proj",); `formats` has grids of single matrices, before all of these."""

    weights: str = "q4"
    embedding: str | None = None
    head: str | None = None
    promoted: tuple[str, ...] = ()
    method: str = "gptq"
    equalise: bool = True
    formats: dict[str, str] = field(default_factory=dict)

    def grid_of(self, name: str) -> QuantGrid:
        if name in self.formats:
            return GRIDS[self.formats[name]]
        part = name.split(".")[-2]
        choice = (
            self.embedding if part == "embed_tokens" else self.head if part == "lm_head" else None
        )
        return GRIDS["q8" if part in self.promoted else choice or self.weights]

    def problems(self) -> list[str]:
        found = [
            f"grid {choice!r} is unknown, there are {list(GRIDS)}"
            for choice in (self.weights, self.embedding, self.head, *self.formats.values())
            if choice is not None and choice not in GRIDS
        ]
        if self.method not in METHODS:
            found.append(f"method {self.method!r} is unknown, there are {list(METHODS)}")
        return found


@dataclass
class Quantized:
    network: Network
    tensors: dict[str, QuantizedMatrix | Tensor]
    errors: dict[str, float]  # by matrix: Σ ‖(W - W') x‖² / Σ ‖W x‖²

    def bits_per_weight(self) -> float:
        """Of all tensors, norms and biases as float32 included."""
        bits = count = 0.0
        for tensor in self.tensors.values():
            size = (
                tensor.integers.numel() if isinstance(tensor, QuantizedMatrix) else tensor.numel()
            )
            bits += size * (
                tensor.grid.bits_of(tensor.integers.shape[1])
                if isinstance(tensor, QuantizedMatrix)
                else 32
            )
            count += size
        return bits / count


@torch.no_grad()
def quantize(
    network: Network,
    statistics: Statistics,
    settings: QuantizeSettings,
    progress: Progress = quiet,
    rows: Sequences | None = None,
) -> Quantized:
    """Quantize every matrix; norms and biases stay float32. rows: of the calibration, to
    reconstruction on (method "gptq").

    Raises:
        UsageError: settings are unsound, or a matrix has columns that are no multiple of 32 (told
        before any work).
    """
    state = network.state_dict()
    for problem in settings.problems():
        raise UsageError(problem)
    if unknown := sorted(settings.formats.keys() - state.keys()):
        raise UsageError("no such matrix", where="formats", found=unknown, expected="its full name")
    for name, value in state.items():
        if value.dim() == 2:
            grids.check_columns(name, value.shape[1])
    rounding = _Rounding(copy.deepcopy(network).float(), statistics, settings)
    work, layers = rounding.network, network.spec.num_layers
    progress(0, layers + 1, "quantizing the embedding")
    rounding.round_ends()
    if rows is None or settings.method != "gptq":
        for index, layer in enumerate(work.model.layers):
            progress(index, layers + 1, f"quantizing layer {index + 1} of {layers}")
            rounding.begin_layer(index)
            for owner in ("self_attn", "mlp"):
                for part, linear in layer.get_submodule(owner).named_children():
                    rounding.round(f"model.layers.{index}.{owner}.{part}", linear)
    else:
        with tempfile.TemporaryDirectory() as folder:
            in_order = _InOrder(rounding, copy.deepcopy(network).float(), rows, Path(folder))
            for index in range(layers):
                progress(
                    index,
                    layers + 1,
                    f"reconstructing and quantizing layer {index + 1} of {layers}",
                )
                in_order.reconstruct_layer(index, WRITERS)
    for name, value in work.state_dict().items():
        rounding.tensors.setdefault(name, value.clone())
    progress(layers + 1, layers + 1, "quantized")
    return Quantized(work, rounding.tensors, rounding.errors)


class _Rounding:
    """The network as it is rounded, matrix by matrix: its weights become those that the file
    holds."""

    def __init__(
        self, network: Network, statistics: Statistics, settings: QuantizeSettings
    ) -> None:
        self.network, self.statistics, self.settings = network, statistics, settings
        self.tensors: dict[str, QuantizedMatrix | Tensor] = {}
        self.errors: dict[str, float] = {}
        self.grams: dict[str, Tensor] = {}  # of the layer at work

    def begin_layer(self, index: int) -> None:
        found = self.statistics.layer(index)
        self.grams = {
            n: value.float().to(self.network.device)
            for n, value in found.items()
            if n.endswith("_gram")
        }
        if self.settings.equalise and self.settings.method != "round_to_nearest":
            equalise_layer(self.network, index, self.grams, GRIDS[self.settings.weights])

    def round(self, path: str, linear: nn.Linear, inputs: Tensor | None = None) -> None:
        """`path` of the layer at work, as "model.layers.0.mlp.up_proj"; inputs: their Gram matrix,
        if not as calibrated."""
        known = self.grams[_GRAMS[path.rsplit(".", 1)[1]]]
        self._round(
            f"{path}.weight", linear.weight, known if inputs is None else inputs, self.settings
        )

    def round_ends(self) -> None:
        """Head with the statistics of what it reads; the embedding too if it is the head, else each
        row for itself alone."""
        embedding, head = self.network.model.embed_tokens.weight, self.network.lm_head
        gram = self.statistics.final()["head_gram"].float().to(self.network.device)
        if head is not None:
            self._round("lm_head.weight", head.weight, gram, self.settings)
        alone = (
            replace(self.settings, method="scale_search")
            if self.settings.method == "gptq"
            else self.settings
        )
        inputs, settings = (
            (gram, self.settings)
            if head is None
            else (torch.eye(len(gram), device=gram.device), alone)
        )
        self._round("model.embed_tokens.weight", embedding, inputs, settings)

    def _round(self, name: str, weight: Tensor, gram: Tensor, settings: QuantizeSettings) -> None:
        rounded, self.errors[name] = round_matrix(weight, gram, settings.grid_of(name), settings)
        self.tensors[name] = rounded
        weight.copy_(rounded.values())


class _InOrder(SideBySide):
    """The float network beside the rounded one; a linear is rounded when it is settled, and what
    follows sees that."""

    def __init__(
        self, rounding: _Rounding, network: Network, rows: Sequences, folder: Path
    ) -> None:
        super().__init__(network, rounding.network, everything(network.spec), rows, folder, 8)
        self.rounding = rounding

    def reconstruct_layer(self, target: int, parts: Collection[str]) -> list[Reconstruction]:
        self.rounding.begin_layer(target)
        scaled = self.student.model.layers[target].state_dict()
        self.teacher.model.layers[target].load_state_dict(
            scaled
        )  # still float, and the same function
        return super().reconstruct_layer(target, parts)

    def settle(self, name: str, linear: nn.Linear, inputs: Callable[[], Tensor]) -> None:
        is_weighed = (
            _GRAMS[name.rsplit(".", 1)[1]] == "value_gram"
        )  # by attention, which calibration alone sees
        self.rounding.round(name, linear, None if is_weighed else inputs())


def round_matrix(
    weight: Tensor, gram: Tensor, grid: QuantGrid, settings: QuantizeSettings
) -> tuple[QuantizedMatrix, float]:
    """One matrix by the chosen method, and its output error."""
    if settings.method == "round_to_nearest":
        rounded = grids.round_to_nearest(weight, grid)
    elif settings.method == "scale_search" or grid.name == "q8":
        rounded = grids.search_scales(weight, grid, gram.diagonal())
    else:
        rounded = grids.coordinate_descent(weight, grids.gptq(weight, grid, gram), gram)
    return rounded, grids.output_error(weight, rounded.values(), gram)


PROMOTIONS = ("lm_head", "embed_tokens", "v_proj", "o_proj", "down_proj", "k_proj", "q_proj")


@torch.no_grad()
def spend_bits(
    network: Network,
    statistics: Statistics,
    settings: QuantizeSettings,
    rows: Sequences,
    max_bits: float,
    progress: Progress = quiet,
) -> tuple[QuantizeSettings, list[dict[str, object]]]:
    """Promote kinds of matrices to q8 while the whole stays within `max_bits` a weight, best KL per
    added bit first.

    Each kind is tried alone on `rows` (the fast method), then taken greedily. Returns the settings
    and the table.
    """
    quick = replace(settings, method="scale_search", equalise=False)
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
