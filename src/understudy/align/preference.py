"""Preference tuning: DPO, and SimPO and ORPO, which need no reference.

A pair is a prompt with a chosen and a rejected reply: one tree with two branches. With r the summed
(SimPO: mean) log-probability of a reply under the tuned network, r⁰ under its base:

    DPO    -log σ(β ((r_c - r⁰_c) - (r_r - r⁰_r)))                 Rafailov et al., 2023
    SimPO  -log σ(β (mean_c - mean_r) - γ)                          Meng et al., 2024
    ORPO   -mean_c - λ log σ(log odds_c - log odds_r)               Hong et al., 2024

The base is the same network with its adapters switched off, so that no second one is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from understudy.align.lora import Adapters
from understudy.align.rows import RowTensors, as_base, hidden_of
from understudy.compress.network import Network
from understudy.data.encode import ConversationEncoder, Dialogue
from understudy.data.forms import openai_message, openai_tools
from understudy.data.records import Record
from understudy.data.trees import Tree, grow, num_shared
from understudy.errors import UsageError


@dataclass(frozen=True)
class PreferenceSettings:
    """`beta` scales the margin; `margin` is SimPO's γ; `weight` ORPO's λ."""

    loss: str = "dpo"
    beta: float = 0.1
    margin: float = 0.5
    weight: float = 0.1


@dataclass(frozen=True)
class Replies:
    """Summed log-probabilities and token counts of pairs, each (pairs,)."""

    chosen: Tensor
    rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor

    @property
    def means(self) -> tuple[Tensor, Tensor]:
        return self.chosen / self.chosen_tokens, self.rejected / self.rejected_tokens


def dpo(ours: Replies, base: Replies | None, settings: PreferenceSettings) -> Tensor:
    assert base is not None
    margin = (ours.chosen - base.chosen) - (ours.rejected - base.rejected)
    return -functional.logsigmoid(settings.beta * margin)


def simpo(ours: Replies, base: Replies | None, settings: PreferenceSettings) -> Tensor:
    chosen, rejected = ours.means
    return -functional.logsigmoid(settings.beta * (chosen - rejected) - settings.margin)


def orpo(ours: Replies, base: Replies | None, settings: PreferenceSettings) -> Tensor:
    chosen, rejected = ours.means
    odds = _log_odds(chosen) - _log_odds(rejected)
    return -chosen - settings.weight * functional.logsigmoid(odds)


def _log_odds(log_p: Tensor) -> Tensor:
    """log(p / (1 - p)) of log p < 0."""
    return log_p - torch.log1p(-log_p.exp().clamp(max=1 - 1e-6))


PreferenceLoss = Callable[[Replies, Replies | None, PreferenceSettings], Tensor]
PREFERENCE_LOSSES: dict[str, PreferenceLoss] = {"dpo": dpo, "simpo": simpo, "orpo": orpo}


def pair_of(record: Record, encoder: ConversationEncoder) -> Tree | None:
    """A preference as a tree: branch 1 is chosen, branch 2 rejected. None where both are the same.

    Raises:
        UsageError: a record without both.
    """
    if record.chosen is None or record.rejected is None:
        raise UsageError("a preference has a chosen and a rejected reply", where=record.where)
    before = [openai_message(message) for message in record.messages]
    both = []
    for reply in (record.chosen, record.rejected):
        messages = [*before, openai_message(reply)]
        conversation = Dialogue(
            messages, openai_tools(record.tools), learnt=[len(before)], kind="preference"
        )
        encoded = encoder.encode(conversation)
        both.append(replace(encoded, weights=tuple(float(w > 0) for w in encoded.weights)))
    chosen, rejected = both
    shared = num_shared(both)
    if shared in (len(chosen.ids), len(rejected.ids)):
        return None
    return grow(both, "preference")


def preference_loss(
    network: Network, adapters: Adapters, pairs: Sequence[Tree], settings: PreferenceSettings
) -> tuple[Tensor, float]:
    """(Σ loss over pairs, share of pairs whose chosen reply the loss finds the likelier).

    Raises:
        UsageError: no such loss.
    """
    loss = PREFERENCE_LOSSES.get(settings.loss)
    if loss is None:
        raise UsageError("no such loss", found=settings.loss, expected=" ".join(PREFERENCE_LOSSES))
    base = None
    if settings.loss == "dpo":
        base = base_replies(network, adapters, pairs)
    ours = replies(network, pairs)
    losses = loss(ours, base, settings)
    if base is not None:
        margins = (ours.chosen - base.chosen) - (ours.rejected - base.rejected)
    else:
        chosen, rejected = ours.means
        margins = chosen - rejected
    return losses.sum(), float((margins.detach() > 0).float().mean())


def base_replies(network: Network, adapters: Adapters, pairs: Sequence[Tree]) -> Replies:
    """What the base makes of the pairs, without a gradient."""
    with torch.no_grad(), as_base(adapters):
        return replies(network, pairs)


def replies(network: Network, pairs: Sequence[Tree]) -> Replies:
    """Log-probabilities of both replies of each pair. What both share counts for both."""
    found = [_of_pair(network, pair) for pair in pairs]
    return Replies(*(torch.stack(column) for column in zip(*found, strict=True)))


def _of_pair(network: Network, pair: Tree) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    row = RowTensors.of([pair], network.device, network.model.norm.weight.dtype)
    log_p = token_log_probabilities(network, row)
    learnt = (pair.weights > 0) & (pair.parents >= 0)
    owners = torch.from_numpy(pair.owners[learnt].copy()).to(log_p.device)
    chosen, rejected = owners != 2, owners != 1
    return (
        log_p[chosen].sum(),
        log_p[rejected].sum(),
        chosen.sum().clamp_min(1),
        rejected.sum().clamp_min(1),
    )


def token_log_probabilities(network: Network, row: RowTensors) -> Tensor:
    """(learnt,) log-probabilities of the learnt tokens, in float32."""
    logits = functional.linear(hidden_of(network, row), network.head_weight).float()
    return logits.log_softmax(-1).gather(-1, row.labels[:, None])[:, 0]
