"""Sizes of a model's gated delta mixers (Qwen3-Next, Qwen3.5), and the tensors of one of them.

Each of `num_heads` value heads remembers a matrix of (key_dim, value_dim). Key heads are shared by
as many value heads that follow each other. Standard library only.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

NORM = "linear_attn.norm.weight"  # of the gated norm: its gain is never zero-centred
L2_EPS = 1e-6  # of the norms of query and key


@dataclass(frozen=True, slots=True)
class GatedDelta:
    """`key_dim` and `value_dim` are of a head; the convolution runs over q, k and v together."""

    num_heads: int
    num_key_heads: int
    key_dim: int
    value_dim: int
    conv_size: int

    @property
    def key_size(self) -> int:
        """Values of all key heads together."""
        return self.num_key_heads * self.key_dim

    @property
    def value_size(self) -> int:
        """Values of all value heads together."""
        return self.num_heads * self.value_dim

    @property
    def conv_channels(self) -> int:
        return 2 * self.key_size + self.value_size

    @property
    def group_size(self) -> int:
        """Value heads that share a key head."""
        return self.num_heads // self.num_key_heads

    def problems(self) -> list[str]:
        found = [
            f"gated_delta.{name} must be positive, is {value}"
            for name, value in dataclasses.asdict(self).items()
            if not value > 0
        ]
        if not found and self.num_heads % self.num_key_heads:
            found.append(
                f"{self.num_heads} value heads are no multiple of {self.num_key_heads} key heads"
            )
        return found

    def shapes(self, prefix: str, hidden: int) -> dict[str, tuple[int, ...]]:
        """The tensors of a mixer under Hugging Face's names."""
        return {
            f"{prefix}in_proj_qkv.weight": (self.conv_channels, hidden),
            f"{prefix}in_proj_z.weight": (self.value_size, hidden),
            f"{prefix}in_proj_b.weight": (self.num_heads, hidden),
            f"{prefix}in_proj_a.weight": (self.num_heads, hidden),
            f"{prefix}conv1d.weight": (self.conv_channels, self.conv_size),
            f"{prefix}dt_bias": (self.num_heads,),
            f"{prefix}A_log": (self.num_heads,),
            f"{prefix}norm.weight": (self.value_dim,),
            f"{prefix}out_proj.weight": (hidden, self.value_size),
        }
