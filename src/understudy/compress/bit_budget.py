"""Which of q3, q4 and q8 every matrix gets, so that the whole stays within a budget of bits.

What rounding a matrix costs is measured in what the whole network says. To second order its KL a
token is ½ E(gᵀ E x)², with E the error of the matrix, x its input and g the derivative of the
log-likelihood of a token, drawn from the network, by its output (the Fisher information, one factor
for inputs and one for outputs: 1503.05671). A few backward passes over calibration rows give g² of
all matrices together; Σ x xᵀ is in the statistics; E is that of a quick search in each grid, on
some rows of the matrix. Then bits are bought where a bit lowers the sum most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from understudy.compress import grids
from understudy.compress.calibrate import Statistics
from understudy.compress.data import Progress, Sequences, quiet
from understudy.compress.grids import GRIDS
from understudy.compress.network import Network, network_on
from understudy.errors import UsageError

CHOICES = ("q3", "q4", "q8")  # by rising bits
LADDER = (8.5, 6.0, 5.0, 4.5, 4.0, 3.5, 3.25)
NUM_SEQUENCES, SAMPLED_ROWS, HEAD_TOKENS = 8, 256, 64
_INPUTS = {"o_proj": "mix_gram", "up_proj": "mlp_gram", "gate_proj": "mlp_gram"}
_INPUTS |= {"down_proj": "inner_gram"}  # q, k and v: attention_gram


@dataclass(frozen=True)
class Price:
    """A matrix in one grid: the bits of all its weights, and the KL a token that it is thought to
    cost."""

    grid: str
    bits: float
    kl: float


@dataclass(frozen=True)
class Prices:
    """Of every matrix by rising bits; what is no matrix has `other_bits`, in float32."""

    of: Mapping[str, Sequence[Price]]
    other_bits: float
    num_weights: int

    def within(self, max_bits: float) -> dict[str, Price]:
        """The grids with the least KL at no more than so many bits a weight.

        Raises:
            UsageError: there are fewer bits than the coarsest grids take.
        """
        steps = dict.fromkeys(self.of, 0)
        left = max_bits * self.num_weights - self.other_bits
        left -= sum(options[0].bits for options in self.of.values())
        if left < 0:
            raise UsageError(
                "no choice of grids takes so few bits a weight",
                expected=f"at least {max_bits - left / self.num_weights:.3f}",
                found=max_bits,
            )
        while worth := [step for step in self._steps(steps) if 0 < step[2] <= left]:
            _, name, bits = max(worth)
            steps[name], left = steps[name] + 1, left - bits
        return {name: self.of[name][step] for name, step in steps.items()}

    def ladder(self, budgets: Sequence[float] = LADDER) -> list[dict[str, object]]:
        """What some budgets would buy, as far as they can be had."""
        rows: list[dict[str, object]] = []
        for budget in budgets:
            try:
                found = self.within(budget)
            except UsageError:
                continue
            kl, bits = sum(p.kl for p in found.values()), sum(p.bits for p in found.values())
            taken = (bits + self.other_bits) / self.num_weights
            row: dict[str, object] = {"at_most": budget, "bits": taken, "estimated_kl": kl}
            row |= {grid: sum(p.grid == grid for p in found.values()) for grid in CHOICES}
            rows.append(row)
        return rows

    def _steps(self, steps: Mapping[str, int]) -> Iterator[tuple[float, str, float]]:
        """What the next grid of each matrix would bring a bit, and the bits."""
        for name, step in steps.items():
            if step + 1 < len(options := self.of[name]):
                bits = options[step + 1].bits - options[step].bits
                yield (options[step].kl - options[step + 1].kl) / bits, name, bits


def find_prices(
    network: Network,
    statistics: Statistics,
    rows: Sequences,
    fixed: Mapping[str, str],
    progress: Progress = quiet,
) -> Prices:
    """What every matrix would cost in each grid.

    Args:
        rows: of the calibration; some are gone through forwards and backwards.
        fixed: by the part of a matrix's name (embed_tokens, lm_head), the only grid that it may
            have.
    """
    progress(0, 2, "what the output of each matrix matters")
    curvature = _Curvature(network_on(network.spec, network.state_dict()))
    for row in rows.spread(NUM_SEQUENCES).tokens:
        curvature.add(torch.from_numpy(row[:-1].astype(np.int64)).to(network.device))
    progress(1, 2, "what every grid would cost each matrix")
    counts = np.bincount(rows.tokens.ravel(), minlength=network.spec.vocab_size)
    generator = torch.Generator().manual_seed(0)
    found, other_bits, num_weights = {}, 0.0, 0
    for name, weight in network.state_dict().items():
        num_weights += weight.numel()
        if weight.dim() < 2:
            other_bits += 32 * weight.numel()
            continue
        part = name.split(".")[-2]
        weighed = list(_weighed(name, network, statistics, curvature, counts))
        choices = (fixed[part],) if part in fixed else CHOICES
        found[name] = [
            Price(
                choice,
                GRIDS[choice].bits_of(weight.shape[1]) * weight.numel(),
                sum(_cost(weight, choice, *one, generator) for one in weighed),
            )
            for choice in choices
        ]
    return Prices(found, other_bits, num_weights)


class _Curvature:
    """Mean squares of the log-likelihood's derivative by what every matrix puts out: (rows,); by
    what the embedding puts out: (columns,)."""

    def __init__(self, network: Network) -> None:
        self.network, self.num_tokens = network, 0
        self.sums: dict[str, Tensor] = {}
        self._generator = torch.Generator().manual_seed(0)
        network.model.embed_tokens.register_forward_hook(self._begin)
        for name, module in network.model.layers.named_modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_hook(self._watch(f"model.layers.{name}.weight"))

    def add(self, tokens: Tensor) -> None:
        """tokens: (tokens,)."""
        with torch.enable_grad():
            hidden = self.network.hidden(tokens[None])[0]
            hidden.backward(self._pull(hidden.detach()))
        self.num_tokens += len(tokens)

    def mean(self, name: str) -> Tensor:
        return self.sums[name] / self.num_tokens

    def _pull(self, hidden: Tensor) -> Tensor:
        """The derivative by what the head reads, of one drawn token at each place. The head's own
        is known without drawing: p (1 - p)."""
        head = self.network.head_weight
        parts = []
        for part in hidden.split(HEAD_TOKENS):
            p = functional.linear(part, head).softmax(-1)
            drawn = torch.multinomial(p.cpu(), 1, generator=self._generator).to(p.device)[:, 0]
            parts.append(head[drawn] - p @ head)
            self._add("head", (p * (1 - p)).sum(0))
        return torch.cat(parts)

    def _begin(self, _module: object, _inputs: object, output: Tensor) -> Tensor:
        output = output.detach().requires_grad_()
        output.register_hook(lambda g: self._add("embedding", g.flatten(0, 1).square().sum(0)))
        return output

    def _watch(self, name: str) -> object:
        def watch(_module: object, _inputs: object, output: Tensor) -> None:
            output.register_hook(lambda g: self._add(name, g.flatten(0, 1).square().sum(0)))

        return watch

    def _add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value


def _weighed(
    name: str,
    network: Network,
    statistics: Statistics,
    curvature: _Curvature,
    counts: np.ndarray[tuple[int], np.dtype[np.intp]],
) -> Iterator[tuple[Tensor, Tensor]]:
    """What a matrix is used for: how much each row matters (rows,), and the mean of x xᵀ
    (columns, columns) of what meets it."""
    device, part = network.device, name.split(".")[-2]
    if part == "embed_tokens":
        share = torch.from_numpy(counts / counts.sum()).float().to(device)
        yield share, curvature.mean("embedding").diag()
    if part == "lm_head" or (part == "embed_tokens" and network.lm_head is None):
        gram = statistics.final()["head_gram"].to(device)
        yield curvature.mean("head"), gram / statistics.num_tokens
    if part not in ("lm_head", "embed_tokens"):
        of_layer = statistics.layer(int(name.split(".")[2]))
        gram = of_layer[_INPUTS.get(part, "attention_gram")].to(device)
        yield curvature.mean(name), gram / statistics.num_tokens


def _cost(
    weight: Tensor, choice: str, matters: Tensor, inputs: Tensor, generator: torch.Generator
) -> float:
    """½ Σ_r matters_r (E inputs Eᵀ)_rr, from rows drawn as often as they matter."""
    whole = float(matters.sum())
    if not whole:
        return 0.0
    drawn = torch.multinomial(matters.cpu(), SAMPLED_ROWS, replacement=True, generator=generator)
    some = weight[drawn.to(weight.device)].float()
    error = some - grids.search_scales(some, GRIDS[choice], inputs.diagonal()).values()
    return 0.5 * whole * float(((error @ inputs) * error).sum(1).mean())
