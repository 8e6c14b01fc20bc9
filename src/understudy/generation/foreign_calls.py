"""Calls that a model begins in another notation than its template's, held to their schemas from
there on.

Checkpoints write what they were taught before: JSON in a fence, bare at the reply's beginning or in
a list, under another family's tag, Python's calls, XML. What `text/toolcalls.py` reads as the
beginning of a call of a tool that there is goes on, under a grammar in `auto`, as that call alone;
what names no tool is text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from understudy.generation.call_rules import python_body, rule_of, xml_body
from understudy.generation.schemas.plain_objects import Property, properties_of
from understudy.generation.schemas.value_rules import Rules, regex_text
from understudy.generation.tools import Tool
from understudy.text.call_forms import PYTHON_FORM, XML_FORM
from understudy.text.toolcalls import CLOSINGS

MAX_TOOLS = 32  # of more, foreign notations are not held: what is text would take long to know
_SPACE = r"[ \t\r\n]*"
_ANYTHING = r"(.|\n)*"
_LISTED = rf"{_SPACE}(\[{_SPACE})?"
_NAME_KEY = rf'\{{{_SPACE}"name"{_SPACE}:{_SPACE}"'
# A fence, or what looks like a tag: which of them a reader knows is for it to say.
_MARK = r"(```[a-z_]*\n|<[a-zA-Z_|]{2,30}>|<function\=|\[TOOL_CALLS\])"
_BETWEEN = 'space? ","? space?'


class ForeignCalls:
    """Of one list of tools.

    A reply is text, or text up to a mark (a fence or a tag), behind which it begins anew; where it
    begins with what stands before a name, there comes the name of a tool and its call, or another
    name, and what follows that is text again.

    Args:
        most: calls of one reply.
    """

    def __init__(self, tools: Sequence[Tool], most: int) -> None:
        self._tools, self._most = tools, most
        self._rules: list[str] = []
        self._json = [self._add_json(i, tool) for i, tool in enumerate(tools)]
        plain = {
            i: p for i, t in enumerate(tools) if (p := properties_of(t.parameters)) is not None
        }
        self._python = {i for i, own in plain.items() if self._add_python(i, own)}
        self._xml = {i for i, own in plain.items() if self._add_xml(i, own)}

    def lines(self, opening: str, opening_pattern: str | None) -> list[str]:
        """The grammar's rule `reply`, and those that it stands on; `calls` are of the template's
        own form.

        Args:
            opening: what stands before `calls`.
            opening_pattern: it as a regular expression; None for a marker, which is no text.
        """
        firsts = {"first_json": _LISTED + _NAME_KEY}
        firsts |= {
            f"first_python_{i}": _LISTED + self._python_head(i) for i in sorted(self._python)
        }
        firsts |= {f"first_xml_{i}": self._xml_head(i) for i in sorted(self._xml)}
        begun = " | ".join(f"{name} behind_{name.partition('_')[2]}" for name in firsts)
        new = [f"({one})" for one in firsts.values()]
        own_marks = [_ANYTHING + opening_pattern] if opening_pattern else []
        marks = [_ANYTHING + _MARK, *own_marks]
        lines = []
        for name, not_first in (("reply", new), ("later", [])):
            own = f"{name}_own" if opening_pattern else f"{name.upper()} {opening}"
            behind = f"{own} calls | {name}_mark reply" + (f" | {begun}" if not_first else "")
            lines += [
                f"{name}: {name.upper()} | {behind}",
                f"{name.upper()}: {_without(_ANYTHING, marks + not_first)}",
                f"{name}_mark[lazy]: {name.upper()}_MARK",
                f"{name.upper()}_MARK: {_without(_ANYTHING + _MARK, not_first + own_marks)}",
            ]
            if opening_pattern:
                lines += [
                    f"{name}_own[lazy]: {name.upper()}_OWN",
                    f"{name.upper()}_OWN: {_without(_ANYTHING + opening_pattern, not_first)}",
                ]
        lines += [f"{name}[lazy]: /{pattern}/" for name, pattern in firsts.items()]
        return [*lines, *self._names(), *self._more(), *self._rules]

    def _names(self) -> list[str]:
        """What may stand behind `"name": "`, `<function=` and the head of a call in Python."""
        known = "|".join(regex_text(_quoted(tool.name)) for tool in self._tools)
        lines = [
            "behind_json: any_json more_json ends | OTHER_NAME later",
            f'OTHER_NAME: /[^"]*"/ & ~/({known})"/',
            "any_json: " + " | ".join(self._json),
        ]
        lines += [
            f"behind_python_{i}: foreign_python_{i} more_python ends" for i in sorted(self._python)
        ]
        lines += [f"behind_xml_{i}: foreign_xml_{i} more_xml ends" for i in sorted(self._xml)]
        return lines

    def _more(self) -> list[str]:
        """Further calls, and what may close them."""
        again = {"json": f"/{_NAME_KEY}/ any_json"}
        heads = [f'"<function=" /{self._xml_head(i)}/ foreign_xml_{i}' for i in sorted(self._xml)]
        again |= {"xml": " | ".join(heads)} if heads else {}
        heads = [f"/{self._python_head(i)}/ foreign_python_{i}" for i in sorted(self._python)]
        again |= {"python": " | ".join(heads)} if heads else {}
        closings = "|".join(map(regex_text, ("```", *CLOSINGS)))
        most = self._most - 1
        return [
            *(
                f"more_{kind}: " + (f"({_BETWEEN} ({one})){{0,{most}}}" if most else '""')
                for kind, one in again.items()
            ),
            f'ends: space? "]"? space? (/{closings}/)? space?',
            r"space: /[ \t\r\n]{1,8}/",
        ]

    def _python_head(self, number: int) -> str:
        return regex_text(self._tools[number].name + "(")

    def _xml_head(self, number: int) -> str:
        return regex_text(self._tools[number].name + ">") + r"\n"

    def _add_json(self, number: int, tool: Tool) -> str:
        """The rule of what stands behind the quotation mark before a tool's name."""
        name = f"foreign_json_{number}"
        head = json.dumps(_quoted(tool.name) + '"')
        keys = " | ".join(json.dumps(f'"{key}"') for key in ("arguments", "parameters"))
        self._rules += [
            f'{name}: {head} space? "," space? ({keys}) space? ":" space? {name}_value space? "}}"',
            f"{name}_value: {rule_of(tool)}",
        ]
        return name

    def _add_python(self, number: int, properties: Sequence[Property]) -> bool:
        """Adds what stands behind a tool's bracket, where its call can be said in Python."""
        rules = Rules(name := f"foreign_python_{number}")
        if not PYTHON_FORM.can_say(self._tools[number].name, [one.name for one in properties]):
            return False
        self._rules += [f"{name}: {python_body(rules, properties)}", *rules.lines]
        return True

    def _add_xml(self, number: int, properties: Sequence[Property]) -> bool:
        """Adds what stands behind `<function=`, where a tool's call can be said in XML."""
        rules, tool = Rules(name := f"foreign_xml_{number}"), self._tools[number].name
        body = xml_body(rules, properties)
        if body is None or not XML_FORM.can_say(tool, [one.name for one in properties]):
            return False
        self._rules += [f"{name}: {body}", *rules.lines]
        return True


def _quoted(name: str) -> str:
    """A name as it stands between JSON's quotation marks."""
    return json.dumps(name, ensure_ascii=False)[1:-1]


def _without(pattern: str, beginnings: Sequence[str]) -> str:
    """A terminal of a pattern, save for what begins with one of these."""
    if not beginnings:
        return f"/{pattern}/"
    return f"/{pattern}/ & ~/({'|'.join(beginnings)}){_ANYTHING}/"
