"""What a family's files call the tensors of a spec, and what they hold in one that we hold apart.

    table = file_tensors(spec, GGUF_NAMES)
    table["blk.0.attn_q.weight"]                 # ("model.layers.0.self_attn.q_proj.weight",)

A `Naming` turns canonical names (`spec.tensor_shapes`) into those of a kind of file. Where several
become one name, their rows follow each other in one tensor: Phi's fused projections.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from understudy.experts import expert_number
from understudy.spec import ModelSpec, tensor_shapes

# In fused tensors queries come before keys before values, gates before what they gate, and what
# belongs to one expert before what belongs to the next.
_FUSED_ORDER = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")


@dataclass(frozen=True, slots=True)
class Naming:
    """Names of one kind of file.

    Attributes:
        layer: what layer {} begins with.
        names: a canonical name behind `model.layers.N.`, or one outside of layers, with or without
            its `.weight` or `.bias` -> the file's. What is not in it keeps its name. An expert's
            has `*` for its number, and so has the file's where it holds experts apart.
        aliases: beginnings seen in other files of the family -> those of these names.
    """

    layer: str = "model.layers.{}."
    names: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def of(self, canonical: str) -> str:
        match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", canonical)
        rest = match[2] if match else canonical
        number = expert_number(canonical)
        if number is not None:
            rest = rest.replace(f".experts.{number}.", ".experts.*.")
        stem, dot, kind = rest.rpartition(".")
        name = self.names.get(rest) or f"{self.names.get(stem, stem)}{dot}{kind}"
        name = name.replace("*", str(number))
        return self.layer.format(match[1]) + name if match else name

    def stacks(self, canonical: str) -> bool:
        """Whether these files hold this tensor of all experts in one, an axis before the others."""
        number = expert_number(canonical)
        if number is None:
            return False
        return self.of(canonical) == self.of(
            canonical.replace(f".experts.{number}.", f".experts.{number + 1}.")
        )

    def back(self, name: str) -> str:
        """The canonical name of a tensor that a spec does not have (a head beside a tied embedding,
        an idle bias); the name itself where it means nothing."""
        is_ours = self.layer == FOLDER_NAMES.layer
        return name if is_ours else canonical_name(name) or name

    def settle(self, name: str) -> str:
        """A name as these files spell it."""
        for beginning, ours in self.aliases.items():
            if name.startswith(beginning):
                return ours + name.removeprefix(beginning)
        return name


def file_tensors(spec: ModelSpec, naming: Naming) -> dict[str, tuple[str, ...]]:
    """Tensors of a file by its names -> the canonical ones whose rows they hold, in their order."""
    table: dict[str, tuple[str, ...]] = {}
    for canonical in tensor_shapes(spec):
        name = naming.of(canonical)
        table[name] = (*table.get(name, ()), canonical)
    return {name: tuple(sorted(parts, key=_fused_place)) for name, parts in table.items()}


def _fused_place(canonical: str) -> tuple[int, int]:
    place = next((i for i, mark in enumerate(_FUSED_ORDER) if f".{mark}." in canonical), -1)
    return expert_number(canonical) or 0, place


_NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
_BODY = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.router": "ffn_gate_inp",
    "mlp.router.correction": "exp_probs_b.bias",
    **{f"mlp.experts.*.{part}_proj": f"ffn_{part}_exps" for part in ("gate", "up", "down")},
    **{f"mlp.shared_expert.{part}_proj": f"ffn_{part}_shexp" for part in ("gate", "up", "down")},
    "mamba.in_proj": "ssm_in",
    "mamba.out_proj": "ssm_out",
    "mamba.conv1d": "ssm_conv1d",
    "mamba.norm": "ssm_norm",
    "mamba.A_log": "ssm_a",
    "mamba.D": "ssm_d",
    "mamba.dt_bias": "ssm_dt.bias",
    "conv.conv": "shortconv.conv",
    "conv.in_proj": "shortconv.in_proj",
    "conv.out_proj": "shortconv.out_proj",
}


def gguf_naming(**changes: str) -> Naming:
    """llama.cpp's names (gguf 0.19), some of them changed; a dot is written as two underscores."""
    changed = {name.replace("__", "."): new for name, new in changes.items()}
    return Naming("blk.{}.", _BODY | _NORMS | changed)


FOLDER_NAMES = Naming()
GGUF_NAMES = gguf_naming()
_OF_GGUF = {ours: canonical for canonical, ours in (_BODY | _NORMS).items()}


def gguf_name(canonical: str) -> str:
    """What llama.cpp calls a tensor in most families."""
    return GGUF_NAMES.of(canonical)


def canonical_name(gguf_name: str) -> str | None:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; None for another name."""
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(.+)\.(weight|bias)", gguf_name)
    canonical = _OF_GGUF.get(match[2]) if match else None
    is_outside = canonical in ("model.embed_tokens", "model.norm", "lm_head")
    if match is None or canonical is None or is_outside != (match[1] is None):
        return None
    layer = "" if match[1] is None else f"model.layers.{match[1]}."
    return f"{layer}{canonical}.{match[3]}"
