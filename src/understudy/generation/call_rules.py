"""The rules of a call in llguidance's Lark, in each notation of `text/call_forms.py`.

    rules = CallRules(form, tokenizer).choice("call", tools)      # "call: call_0 | call_1", …

A tool whose parameters are a list of properties is written in its family's notation, a property
after the other as its schema names them; of others only JSON can say all that their schemas do, and
the same tags take it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.errors import SchemaError
from understudy.generation.schemas.contract import contract_of, said_of
from understudy.generation.schemas.plain_objects import Property, properties_of
from understudy.generation.schemas.value_rules import GemmaValues, Rules, xml_value
from understudy.generation.tools import Tool
from understudy.text.call_forms import CallForm
from understudy.text.tokenizer import Marker, Tokenizer


def lark_text(tokenizer: Tokenizer, text: str) -> str:
    """A fixed text in Lark; markers in it are tokens, which no string can stand for."""
    pieces = []
    for piece in tokenizer.split(text):
        if isinstance(piece, Marker):
            pieces.append(f"<[{piece.token}]>" if not piece.is_text else json.dumps(piece.text))
        elif piece:
            pieces.append(json.dumps(piece))
    return " ".join(pieces) or '""'


class CallRules:
    """Of one form, for one tokenizer."""

    def __init__(self, form: CallForm, tokenizer: Tokenizer) -> None:
        self._form, self._tokenizer = form, tokenizer
        self._quote = lark_text(tokenizer, form.quote)
        self._is_quote_marker = tokenizer.marker_id(form.quote) is not None

    def choice(self, name: str, tools: Sequence[Tool]) -> list[str]:
        """The rule of a call of one of these tools, and those that it stands on.

        Raises:
            SchemaError: no arguments satisfy a tool's schema.
        """
        rules = [f"{name}: " + " | ".join(f"{name}_{i}" for i in range(len(tools)))]
        for i, tool in enumerate(tools):
            rules += self._call(f"{name}_{i}", tool)
        return rules

    def _call(self, name: str, tool: Tool) -> list[str]:
        whole, notation = rule_of(tool), self._form.notation
        if notation == "named":
            head = lark_text(self._tokenizer, f"{tool.name}[ARGS]")
            return [f"{name}: {head} {name}_arguments", f"{name}_arguments: {whole}"]
        properties = None if notation == "json" else properties_of(tool.parameters)
        if properties is None or not self._form.can_say(tool.name, [p.name for p in properties]):
            return self._json_call(name, tool.name, whole)
        writers = {"xml": self._xml_call, "python": self._python_call, "gemma": self._gemma_call}
        rules = writers[notation](name, tool.name, properties)
        return self._json_call(name, tool.name, whole) if rules is None else rules

    def _json_call(self, name: str, tool: str, whole: str) -> list[str]:
        head = json.dumps({"name": tool}, ensure_ascii=False)[:-1]
        head += f', "{self._form.arguments_key}": '
        return [f'{name}: {json.dumps(head)} {name}_arguments "}}"', f"{name}_arguments: {whole}"]

    def _xml_call(self, name: str, tool: str, properties: Sequence[Property]) -> list[str] | None:
        rules = Rules(name)
        body, head = xml_body(rules, properties), json.dumps(f"<function={tool}>\n")
        return None if body is None else [f"{name}: {head} {body}", *rules.lines]

    def _python_call(self, name: str, tool: str, properties: Sequence[Property]) -> list[str]:
        rules = Rules(name)
        body = python_body(rules, properties)
        return [f"{name}: {json.dumps(tool + '(')} {body}", *rules.lines]

    def _gemma_call(self, name: str, tool: str, properties: Sequence[Property]) -> list[str] | None:
        rules = Rules(name)
        values = GemmaValues(rules, self._form.quote, self._quote, self._is_quote_marker)
        body = values.object_of(properties)
        return (
            None if body is None else [f"{name}: {json.dumps('call:' + tool)} {body}", *rules.lines]
        )


def xml_body(rules: Rules, properties: Sequence[Property]) -> str | None:
    """What stands behind the head of a call in XML; None where a value cannot be said there."""
    body = []
    for one in properties:
        value = xml_value(rules, one.schema)
        if value is None:
            return None
        opening = json.dumps(f"<parameter={one.name}>\n")
        body.append(f"({opening} ({value}))" + ("" if one.is_required else "?"))
    return " ".join([*body, '"</function>"'])


def python_body(rules: Rules, properties: Sequence[Property]) -> str:
    """What stands behind the opening bracket of a call in Python's notation."""
    values = [
        (f"{json.dumps(one.name + '=')} {_python_value(rules, one.schema)}", one.is_required)
        for one in properties
    ]
    return rules.listed(values, '", "') + ' ")"'


def _python_value(rules: Rules, schema: Mapping[str, Any]) -> str:
    """JSON, which Python reads as well, and Python's own words for what JSON calls otherwise."""
    kinds = schema.get("type", ())
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    is_free = not schema.keys() & {"enum", "const"}
    words = ['"True" | "False"'] if "boolean" in kinds and is_free else []
    words += ['"None"'] if "null" in kinds and is_free else []
    return "(" + " | ".join([rules.add(contract_of(schema).rule), *words]) + ")"


def rule_of(tool: Tool) -> str:
    try:
        return tool.contract.rule
    except SchemaError as error:
        raise said_of(tool.name, error) from error
