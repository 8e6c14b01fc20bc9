"""The probes by name. A new family is a file here with `PROBES`, and its line below; its tests come
with the table."""

from __future__ import annotations

from understudy.judge.safety.probes import (
    injection,
    leak,
    markers,
    misuse,
    persona,
    personal_data,
    refusal,
    world,
)
from understudy.judge.safety.probes.base import Case, Check, Probe, ToolScript

_FAMILIES = (injection, markers, persona, leak, misuse, world, personal_data, refusal)
PROBES: dict[str, Probe] = {probe.name: probe for family in _FAMILIES for probe in family.PROBES}

__all__ = ["PROBES", "Case", "Check", "Probe", "ToolScript"]
