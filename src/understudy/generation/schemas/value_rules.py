"""Arguments in notations that are not JSON, as rules in llguidance's Lark.

XML writes texts as they are, up to their closing tag, and all else as JSON; Gemma puts texts
between two marks and leaves names bare. What a schema says of a text (a choice, a pattern, lengths)
is held here; what of it cannot be held is left to the check of the finished call.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.generation.schemas.contract import contract_of
from understudy.generation.schemas.plain_objects import Property, definitions_of, properties_of
from understudy.text import ecma
from understudy.text.call_forms import KEYS

Schema = Mapping[str, Any]
_NOTES = frozenset(["title", "description", "default", "examples", "$defs", "definitions"])
_TEXT_KEYS = _NOTES | {"type", "minLength", "maxLength", "pattern", "format", "enum", "const"}
MAX_LENGTH = 2000  # of texts whose length a grammar counts; of longer ones the check does
_KINDS = ("null", "boolean", "integer", "number", "array", "object")
# Tags that would end a text in XML, for one reader of the family or another.
_XML_ENDS = ("</parameter>", "<parameter=", "</function>", "</tool_call>")
_COMMA = '","'
_DATE = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})?"
_FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "ipv4": "((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])",
    "email": "[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+",
}


class Rules:
    """Rules under names of their own, which begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.lines: list[str] = []
        self._prefix, self._numbers = prefix, itertools.count()
        self._known: dict[str, str] = {}

    def add(self, right: str, *, options: str = "") -> str:
        """The name of a rule with this right side."""
        key = options + right
        if key not in self._known:
            self._known[key] = self.named()
            self.lines.append(f"{self._known[key]}{options}: {right}")
        return self._known[key]

    def named(self) -> str:
        return f"{self._prefix}_v{next(self._numbers)}"

    def terminal(self, right: str) -> str:
        """The name of a terminal."""
        if right not in self._known:
            self._known[right] = f"{self._prefix}_t{next(self._numbers)}".upper()
            self.lines.append(f"{self._known[right]}: {right}")
        return self._known[right]

    def listed(self, entries: Sequence[tuple[str, bool]], between: str) -> str:
        """Entries in their order, each with whether it must be there, with something between."""
        more, first = '""', '""'  # what may follow an entry, and what may begin here
        for entry, is_required in reversed(entries):
            one = self.add(f"{entry} {more}")
            first = one if is_required else self.add(f"{one} | {first}")
            with_between = f"{between} {one}"
            more = self.add(with_between if is_required else f"{with_between} | {more}")
        return first


def xml_value(rules: Rules, schema: Schema) -> str | None:
    """The right side of a value with its closing tag; None where texts cannot be told apart from
    the rest.
    """
    parts = split_texts(schema)
    if parts is None:
        return None
    closing = "\n</parameter>\n"
    found = []
    for text in parts.texts:
        if "enum" in text:
            found.append(f"({_choice_of(text)}) {json.dumps(closing)}")
        else:
            terminal = rules.terminal(_text_pattern(text, _XML_ENDS))
            found.append(rules.add(terminal, options=f"[suffix={json.dumps(closing)}]"))
    for other in parts.others:
        words = ['"True" | "False"'] if other.get("type") == "boolean" and len(other) == 1 else []
        value = " | ".join([rules.add(contract_of(other).rule), *words])
        found.append(f"({value}) {json.dumps(closing)}")
    return " | ".join(found)


class SplitSchema:
    """Alternatives of a value: texts, and what is no text."""

    def __init__(self) -> None:
        self.texts: list[Schema] = []
        self.others: list[Schema] = []


def split_texts(schema: Schema) -> SplitSchema | None:
    """A schema as alternatives; None where it is composed in another way than by `anyOf`."""
    split = SplitSchema()
    return split if _split(schema, schema, split, depth=8) else None


def _split(schema: Schema, root: Schema, split: SplitSchema, depth: int) -> bool:
    said = {key: value for key, value in schema.items() if key not in _NOTES}
    if depth == 0:
        return False
    if set(said) == {"$ref"}:
        target = _target(said["$ref"], root)
        return target is not None and _split(target, root, split, depth - 1)
    fork = next((key for key in ("anyOf", "oneOf") if key in said), None)
    if fork is not None:
        is_plain = set(said) <= {fork, "type"} and all(isinstance(s, Mapping) for s in said[fork])
        return is_plain and all(_split(one, root, split, depth - 1) for one in said[fork])
    if said.keys() & {"allOf", "not", "if", "$ref"}:
        return False
    if "enum" in said or "const" in said:
        values = said.get("enum", [said.get("const")])
        texts = [value for value in values if isinstance(value, str)]
        rest = [value for value in values if not isinstance(value, str)]
        split.texts += [{"enum": texts}] if texts else []
        split.others += [{"enum": rest}] if rest else []
        return True
    kinds = said.get("type", ("string", *_KINDS))
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    if "string" in kinds:
        split.texts.append({**said, "type": "string"})
    for kind in kinds:
        if kind != "string":
            split.others.append({**said, "type": kind, **definitions_of(root)})
    return set(kinds) <= {"string", *_KINDS}


def _target(ref: Any, root: Schema) -> Schema | None:
    match = re.fullmatch(r"#/(\$defs|definitions)/([^/~%]+)", str(ref))
    found = root.get(match[1], {}).get(match[2]) if match else None
    return found if isinstance(found, Mapping) else None


def _choice_of(text: Schema) -> str:
    """The texts of a list, one of which it is."""
    return " | ".join(json.dumps(word, ensure_ascii=False) for word in text["enum"])


def _text_pattern(text: Schema, ends: Sequence[str]) -> str:
    """A terminal for a text under a schema, without what would end it."""
    least, most = (text.get(key, 0) for key in ("minLength", "maxLength"))
    is_held = (
        0 <= least <= MAX_LENGTH and 0 <= most <= MAX_LENGTH and (least or "maxLength" in text)
    )
    upper = most if "maxLength" in text else ""
    parts = [f"/(.|\\n){{{least},{upper}}}/" if is_held else "/(.|\\n)*/"]
    stops = "|".join(regex_text(end) for end in ends)
    parts.append(f"~/(.|\\n)*({stops})(.|\\n)*/")
    parts += [f"/{pattern}/" for pattern in _patterns(text)]
    return " & ".join(parts)


def regex_text(text: str) -> str:
    """A text in a regular expression between slashes."""
    return re.sub(r"([^\w<> ])", r"\\\1", text)


def _patterns(text: Schema) -> Iterator[str]:
    if text.get("format") in _FORMATS:
        yield _FORMATS[text["format"]]
    pattern = text.get("pattern")
    if not isinstance(pattern, str):
        return
    is_from_start = pattern.startswith("^")
    is_to_end = pattern.endswith("$") and not pattern.endswith("\\$")
    inner = pattern[is_from_start : len(pattern) - is_to_end]
    try:
        said = ecma.translated(inner)
    except (ValueError, IndexError):
        return
    made = ("" if is_from_start else "(.|\\n)*") + f"({said})" + ("" if is_to_end else "(.|\\n)*")
    made = re.sub(r"(?<!\\)/", r"\\/", made)
    if _compiles(f"start: /{made}/"):
        yield made


def _compiles(grammar: str) -> bool:
    from llguidance import LLMatcher

    return not LLMatcher.validate_grammar(grammar)


class GemmaValues:
    """Values between two marks, in brackets and in braces, nested as schemas nest them.

    Args:
        quote: the mark, `written` as Lark has it; `is_marker`: a token that no text can hold.
    """

    def __init__(self, rules: Rules, quote: str, written: str, is_marker: bool) -> None:
        self._rules, self._quote, self._written = rules, quote, written
        self._is_marker = is_marker

    def object_of(self, properties: Sequence[Property], depth: int = 8) -> str | None:
        entries = []
        for one in properties:
            value = self.value(one.schema, depth) if KEYS["gemma"].match(one.name) else None
            if value is None:
                return None
            entries.append((f"{json.dumps(one.name + ':')} {value}", one.is_required))
        return f'"{{" {self._rules.listed(entries, _COMMA)} "}}"'

    def value(self, schema: Schema, depth: int) -> str | None:
        """The name of a rule; None where the notation cannot say all of the schema."""
        parts = split_texts(schema)
        if parts is None or depth == 0:
            return None
        found = [self._text(text) for text in parts.texts]
        for other in parts.others:
            value = self._other(other, depth)
            if value is None:
                return None
            found.append(value)
        return self._rules.add(" | ".join(found))

    def _text(self, text: Schema) -> str:
        if "enum" in text:
            return f"{self._written} ({_choice_of(text)}) {self._written}"
        terminal = self._rules.terminal(_text_pattern(text, [self._quote]))
        if self._is_marker:
            return f"{self._written} {terminal} {self._written}"
        options = f"[suffix={json.dumps(self._quote)}]"
        return f"{self._written} {self._rules.add(terminal, options=options)}"

    def _other(self, schema: Schema, depth: int) -> str | None:
        kind = schema.get("type")
        if kind == "array":
            return self._list(schema, depth)
        if kind == "object":
            properties = properties_of(schema)
            return None if properties is None else self.object_of(properties, depth - 1)
        return self._rules.add(contract_of(schema).rule)

    def _list(self, schema: Schema, depth: int) -> str | None:
        inner = schema.get("items")
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if not isinstance(inner, Mapping) or schema.keys() & {"prefixItems", "contains"}:
            return None
        value = self.value({**inner, **definitions_of(schema)}, depth - 1)
        if value is None:
            return None
        if most == 0:
            return '"[]"'
        upper = "" if most is None else str(most - 1)
        some = f'{value} ("," {value}){{{max(least - 1, 0)},{upper}}}'
        return f'"[" {some} "]"' if least else f'"[" ({some})? "]"'
