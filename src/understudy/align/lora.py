"""Low-rank adapters on the torch network: y = W x + scale · B (A x), with W frozen.

    adapters = attach(network, LoraSettings(rank=8))      # in place; nn.Parameters in float32
    adapters.tensors() -> {"model.layers.0.self_attn.q_proj": (A, B), …}

A is drawn, B is zero, so that the first step starts from the base (Hu et al., 2021). `scale` is
alpha / rank, or alpha / √rank as in rsLoRA (Kalajdzievski, 2023). Embedding and head are targets
too; of single tokens, new ones say, rows of both can be learnt instead (`vocabulary_terms`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from understudy.adapters.adapter import EMBEDDING, HEAD, Pair, scale_of
from understudy.align.terms import LoraEmbedding, LoraHead, LoraLinear, LowRankTerm
from understudy.compress.network import Network
from understudy.errors import UsageError

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
VOCABULARY_TARGETS = ("embed_tokens", "lm_head")


@dataclass(frozen=True)
class LoraSettings:
    """`targets` are the last words of linear names, `embed_tokens` and `lm_head` among them;
    `first_layer` is the lowest that is adapted. Of `token_rows`, ids or texts of one token, the
    rows of embedding and head are learnt whole, beside the targets.
    """

    rank: int = 8
    alpha: float = 16.0
    rslora: bool = False
    targets: tuple[str, ...] = TARGETS
    token_rows: tuple[int | str, ...] = ()
    first_layer: int = 0
    seed: int = 0

    @property
    def scale(self) -> float:
        return scale_of(self.alpha, self.rank, self.rslora)


class Adapters(nn.Module):
    """All low-rank terms of a network, by the name of their layer: what is trained and kept."""

    def __init__(self, layers: Mapping[str, LowRankTerm], settings: LoraSettings) -> None:
        super().__init__()
        self.settings = settings
        self.names = tuple(layers)
        self.layers = list(layers.values())  # not submodules: their frozen weights are not kept
        self.pairs = nn.ParameterDict()
        for name, layer in layers.items():
            key = name.replace(".", "/")
            for part, half in (("A", layer.down), ("B", layer.up)):
                if half.requires_grad:
                    self.pairs[f"{key}/{part}"] = half

    def tensors(self) -> dict[str, Pair]:
        """{name of the layer: (A (rank, in), B (out, rank))}, float32; see `adapters.Adapter`."""
        return {
            name: (_array(layer.down), _array(layer.up))
            for name, layer in zip(self.names, self.layers, strict=True)
        }

    def alphas(self) -> dict[str, float]:
        """Of those terms whose alpha is not the settings': rows of tokens are added as they are."""
        return {
            name: math.sqrt(layer.rank) if self.settings.rslora else float(layer.rank)
            for name, layer in zip(self.names, self.layers, strict=True)
            if layer.has_fixed_rows
        }

    def load(self, tensors: Mapping[str, Any]) -> None:
        """Takes the values of `tensors()` over; for going on from an adapter.

        Raises:
            UsageError: a layer is not there, or has another shape.
        """
        with torch.no_grad():
            for name, layer in zip(self.names, self.layers, strict=True):
                if name not in tensors:
                    raise UsageError("the adapter has no such layer", where=name)
                for half, values in zip((layer.down, layer.up), tensors[name], strict=True):
                    given = torch.as_tensor(values)
                    if given.shape != half.shape:
                        raise UsageError(
                            "the adapter to begin with has another shape",
                            where=name,
                            expected=tuple(half.shape),
                            found=tuple(given.shape),
                        )
                    half.copy_(given)

    def set_enabled(self, is_enabled: bool) -> None:
        """Whether the network answers with them or as its base."""
        for layer in self.layers:
            layer.is_enabled = is_enabled


def attach(network: Network, settings: LoraSettings) -> Adapters:
    """Freezes the network and puts a low-rank term beside each target.

    Raises:
        UsageError: a target that the network does not have, or a rank below 1.
    """
    if settings.rank < 1:
        raise UsageError("the rank of an adapter is at least 1", found=settings.rank)
    known = (*TARGETS, *VOCABULARY_TARGETS)
    if unknown := sorted(set(settings.targets) - set(known)):
        raise UsageError("no such target", found=", ".join(unknown), expected=" ".join(known))
    network.requires_grad_(False)
    generator = torch.Generator().manual_seed(settings.seed)
    layers: dict[str, LowRankTerm] = {}
    for number, layer in enumerate(network.model.layers):
        for part in ("self_attn", "mlp"):
            module = getattr(layer, part)
            for target in settings.targets:
                linear = getattr(module, target, None)
                if linear is None or number < settings.first_layer:
                    continue
                adapted = LoraLinear(linear, settings.rank, settings.scale)
                adapted.draw(generator)
                setattr(module, target, adapted)
                layers[f"model.layers.{number}.{part}.{target}"] = adapted
    return Adapters(layers | _vocabulary_terms(network, settings, generator), settings)


def _vocabulary_terms(
    network: Network, settings: LoraSettings, generator: torch.Generator
) -> dict[str, LowRankTerm]:
    """Terms of embedding and head: of low rank for targets, of whole rows for single tokens."""
    rows = _checked_rows(network, settings) if settings.token_rows else []
    rank, scale = (len(rows), 1.0) if rows else (settings.rank, settings.scale)
    terms: dict[str, LowRankTerm] = {}
    if rows or "lm_head" in settings.targets:
        terms[HEAD] = LoraHead(network.head_weight, rank, scale)
    if rows or "embed_tokens" in settings.targets:
        terms[EMBEDDING] = LoraEmbedding(network.model.embed_tokens, rank, scale)
    for name, term in terms.items():
        if rows:
            term.fix_rows(rows)
        else:
            term.draw(generator)
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, term)
    return terms


def _checked_rows(network: Network, settings: LoraSettings) -> list[int]:
    """The ids of the tokens whose rows are learnt."""
    if set(settings.targets) & set(VOCABULARY_TARGETS):
        raise UsageError(
            "rows of single tokens, or embedding and head whole, not both",
            where="token_rows",
            found=", ".join(settings.targets),
        )
    size, rows = network.spec.vocab_size, list(dict.fromkeys(settings.token_rows))
    ids = [row for row in rows if isinstance(row, int) and 0 <= row < size]
    if len(ids) < len(rows):
        wrong = next(row for row in rows if row not in ids)
        raise UsageError(
            "no token of the model", where="token_rows", found=wrong, expected=f"0 to {size - 1}"
        )
    return ids


def _array(tensor: Tensor) -> Any:
    return tensor.detach().float().cpu().numpy().copy()
