"""The last word on what a grammar holds: what llguidance cannot compile is left out where it
stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from understudy.generation.schemas.json_schema import PARTS
from understudy.generation.schemas.schema_check import place_of
from understudy.generation.schemas.schema_grammar import GrammarSchema, Loosened

# What is left out of a node that cannot be compiled, the rarest first; each only makes it wider.
_LEFT_OUT = (
    *("pattern", "format", "multipleOf", "minProperties", "maxProperties", "patternProperties"),
    *("minLength", "maxLength", "maxItems", "minItems", "exclusiveMinimum", "exclusiveMaximum"),
    *("minimum", "maximum", "enum", "allOf", "anyOf", "required", "properties", "prefixItems"),
    *("items", "additionalProperties", "$ref"),
)


def settled(held: GrammarSchema, fault_of: Callable[[Mapping[str, Any]], str]) -> GrammarSchema:
    """The schema as the grammar takes it: what cannot be compiled is left out where it stands.

    Args:
        fault_of: why a schema cannot be compiled, empty where it can. One that nothing satisfies
            counts as compiled.
    """
    if not fault_of(held.schema):
        return held
    settler = _Settler(held.schema.get("$defs", {}), fault_of)
    defs = settler.defs
    for name in list(defs):
        defs[name] = settler.node(defs[name], (name,))
    made = settler.node({k: v for k, v in held.schema.items() if k != "$defs"}, ())
    schema = {**made, "$defs": defs} if defs else made
    return GrammarSchema(schema, tuple(dict.fromkeys((*held.loosened, *settler.loosened))))


class _Settler:
    def __init__(
        self, defs: Mapping[str, Any], fault_of: Callable[[Mapping[str, Any]], str]
    ) -> None:
        self.defs, self._fault_of = dict(defs), fault_of
        self.loosened: list[Loosened] = []

    def node(self, node: Any, way: tuple[str | int, ...]) -> Any:
        if not isinstance(node, Mapping) or self._is_fine(node):
            return node
        made = dict(self._children(node, way))
        for key in _LEFT_OUT:
            if self._is_fine(made):
                break
            if key in made:
                self.loosened.append(Loosened(place_of(way).replace("[-1]", "[]"), key))
                if key == "patternProperties" and made.get("additionalProperties") is False:
                    del made["additionalProperties"]
                del made[key]
        return made

    def _is_fine(self, node: Mapping[str, Any]) -> bool:
        return not self._fault_of({**node, "$defs": self.defs} if self.defs else node)

    def _children(self, node: Mapping[str, Any], way: tuple[str | int, ...]) -> dict[str, Any]:
        made = dict(node)
        for key, entry in node.items():
            if key in ("properties", "patternProperties"):
                made[key] = {name: self.node(inner, (*way, name)) for name, inner in entry.items()}
            elif key in (*PARTS, "prefixItems"):
                made[key] = [self.node(inner, way) for inner in entry]
            elif key in ("items", "additionalProperties"):
                made[key] = self.node(entry, (*way, -1 if key == "items" else "*"))
        return made
