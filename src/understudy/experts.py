"""Mixtures of experts as data: how many there are, how a token's few are chosen, and their tensors.

An MLP may be such a mixture (`BlockSpec.has_experts`): a router scores the experts for each token,
the best few of them are computed and summed with weights, and a shared expert, if there is one,
is added for every token. `checkpoint/reference.py` is the definition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Scoring = Literal["softmax", "sigmoid"]
Shapes = dict[str, tuple[int, ...]]
MOST = 4096  # experts of a mixture: before a table of so many is made


@dataclass(frozen=True, slots=True)
class Experts:
    """The mixtures of a model, all of one size.

    Attributes:
        count: experts of a mixture.
        used: of them a token's.
        inner_size: values between an expert's up and down projection.
        shared_size: the same of the expert that every token meets; 0: there is none.
        scoring: what the router's outputs become.
        has_correction: sigmoid scores come with a correction that is added where experts are
            chosen, not where they are weighed.
        num_groups, used_groups: only experts of the best groups are chosen, a group being as good
            as its two best experts together.
        is_normalised: weights of a token's experts are divided by their sum.
        scale: what they are multiplied by.
    """

    count: int
    used: int
    inner_size: int
    shared_size: int = 0
    scoring: Scoring = "softmax"
    num_groups: int = 1
    used_groups: int = 1
    is_normalised: bool = True
    scale: float = 1.0
    has_correction: bool = True

    def problems(self) -> list[str]:
        """What makes these sizes impossible, in words."""
        found = [
            f"experts.{name} must be positive, is {getattr(self, name)}"
            for name in ("count", "used", "inner_size", "num_groups", "used_groups")
            if not getattr(self, name) > 0
        ]
        if self.count > MOST:
            found.append(f"experts.count must be at most {MOST}, is {self.count}")
        if found:
            return found
        if self.count % self.num_groups or self.used_groups > self.num_groups:
            found.append(
                f"{self.count} experts cannot be in {self.num_groups} groups, "
                f"{self.used_groups} of them used"
            )
        elif self.used > self.count // self.num_groups * self.used_groups:
            found.append(f"{self.used} experts a token of {self.count} are not there")
        if self.num_groups > 1 and self.count // self.num_groups < 2:
            found.append("a group must have two experts")
        return found


def mixture_shapes(experts: Experts, prefix: str, hidden: int, is_gated: bool) -> Shapes:
    """Tensors of one mixture; those of every expert are named apart, by its number."""
    shapes: Shapes = {f"{prefix}router.weight": (experts.count, hidden)}
    if experts.scoring == "sigmoid" and experts.has_correction:
        shapes[f"{prefix}router.correction"] = (experts.count,)
    for number in range(experts.count):
        name = f"{prefix}experts.{number}."
        shapes |= _mlp_shapes(name, hidden, experts.inner_size, is_gated)
    if experts.shared_size:
        name = f"{prefix}shared_expert."
        shapes |= _mlp_shapes(name, hidden, experts.shared_size, is_gated)
    return shapes


def _mlp_shapes(prefix: str, hidden: int, inner: int, is_gated: bool) -> Shapes:
    inward = ("gate", "up") if is_gated else ("up",)
    shapes: Shapes = {f"{prefix}{name}_proj.weight": (inner, hidden) for name in inward}
    return shapes | {f"{prefix}down_proj.weight": (hidden, inner)}


def is_router(name: str) -> bool:
    """Whether a tensor is a router's: kept in full precision, for a small error chooses another
    expert."""
    return ".mlp.router." in name


def expert_number(name: str) -> int | None:
    """Which expert of its mixture a tensor belongs to; None where it belongs to none."""
    match = re.search(r"\.mlp\.experts\.(\d+)\.", name)
    return int(match[1]) if match else None
