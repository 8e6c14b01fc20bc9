"""What a value must be, as its schema says: held while it is written, and checked when it is there.

    contract = contract_of(tool["parameters"])
    grammar.lark(f"start: {contract.rule}")       # as far as a grammar can hold it
    contract.fault({"city": 7})                   # and all of it
    # Fault("city", "type", "7 is not of type 'string'")

`loosened` names what the grammar had to leave to the check. See docs/compatibility/clients.md for
the keywords.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from understudy.errors import SchemaError
from understudy.generation.sizes import check_schema

if TYPE_CHECKING:
    from understudy.generation.schemas.schema_check import Fault
    from understudy.generation.schemas.schema_grammar import Loosened

_UNSATISFIABLE = "Unsatisfiable"


class Contract:
    """See the module's docstring. Made by `contract_of`."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        # A model that is asked for text alone starts without what reads schemas.
        from understudy.generation.schemas.json_schema import standard
        from understudy.generation.schemas.schema_check import SchemaCheck

        self._standard = standard(schema)
        self._check = SchemaCheck(self._standard)

    def fault(self, value: Any) -> Fault | None:
        """What is wrong with a value, None where it satisfies the schema."""
        return self._check.fault(value)

    @property
    def loosened(self) -> tuple[Loosened, ...]:
        return self._held[1]

    @property
    def rule(self) -> str:
        """The right side of a rule in llguidance's Lark.

        Raises:
            SchemaError: no value satisfies the schema.
        """
        return self._held[0]

    @functools.cached_property
    def _held(self) -> tuple[str, tuple[Loosened, ...]]:
        from understudy.generation.schemas.schema_grammar import hold
        from understudy.generation.schemas.schema_settle import settled
        from understudy.text.grammar import json_fault, json_rule

        held = settled(hold(self._standard), _fault_that_counts)
        fault = json_fault(held.schema)
        if fault:
            raise SchemaError(f"no value satisfies the schema ({_said(fault)})")
        return json_rule(held.schema), held.loosened


def contract_of(schema: Any) -> Contract:
    """The contract of a schema. The last ones are remembered: a conversation brings its tools with
    each turn.

    Raises:
        SchemaError: no JSON Schema, one that points at nothing, or a very large one; `where` is the
            place in it.
    """
    if not isinstance(schema, Mapping):
        raise SchemaError("not a JSON Schema", found=type(schema).__name__)
    check_schema(schema)
    try:
        return _remembered(json.dumps(schema))
    except (TypeError, ValueError) as error:
        raise SchemaError(f"a schema is JSON ({error})") from error
    except RecursionError:
        raise SchemaError("the schema goes too deep") from None


@functools.lru_cache(maxsize=512)
def _remembered(schema: str) -> Contract:
    return Contract(json.loads(schema))


def said_of(name: str, error: SchemaError) -> SchemaError:
    """The same fault, said of what the schema belongs to: a tool, or `response_format`."""
    where = f"{name}: {error.where}" if error.where else name
    return SchemaError(error.what, where=where, found=error.found, do=error.do)


def _fault_that_counts(schema: Mapping[str, Any]) -> str:
    """One that nothing satisfies is no fault of the grammar; the whole is looked at in the end."""
    from understudy.text.grammar import json_fault

    fault = json_fault(schema)
    return "" if _UNSATISFIABLE in fault else fault


def _said(fault: str) -> str:
    line = fault.splitlines()[0].removeprefix("Unsatisfiable schema: ")
    return line.partition(" Context")[0][:160]
