"""The macros: a name, how many arguments it takes, and what it gives.

All of SillyTavern's list (1.19.0, `public/scripts/macros/definitions/`), and `{{hidden_key:…}}` of
version 3 of the card format. Those that ask for its prompt templates are empty here as they are
there without instruct mode.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from understudy.roleplay import moments
from understudy.roleplay.javascript import trim
from understudy.roleplay.macro_context import MacroContext
from understudy.roleplay.macro_grammar import Call, dedented, read_call, spans
from understudy.roleplay.macro_variables import MacroError, Variables, text_of

MAX_REPEATED = 10_000  # blanks or line ends of one macro
MAX_DICE = 1000
_ESCAPED_COMMA = "\ue000"  # private use: stands for `\,` while a list is split
_FORMULA = re.compile(r"([1-9]\d*)?d([1-9]\d*)([+-]\d+)?", re.IGNORECASE | re.ASCII)
_SHORT = re.compile(r"([.$])([a-zA-Z](?:[\w-]*\w)?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a macro is called with. `offset` is its place in the whole text, `resolve` expands a
    text.
    """

    values: list[str]
    call: Call
    offset: int
    resolve: Callable[[str], str]

    def get(self, index: int, otherwise: str) -> str:
        return self.values[index] if index < len(self.values) else otherwise


Give = Callable[[Arguments, MacroContext], str]


@dataclass(frozen=True, slots=True)
class Macro:
    """`most` is None for any number; `wholes` are the places that want a whole number."""

    give: Give
    least: int = 0
    most: int | None = 0
    wholes: tuple[int, ...] = ()
    is_delayed: bool = False  # gets its arguments unexpanded


def is_whole(text: str) -> bool:
    return re.fullmatch(r"-?\d+", trim(text), re.ASCII) is not None


def is_false(text: str) -> bool:
    return trim(text).lower() in ("off", "false", "0")


# ---- texts ----


def _repeat(text: str) -> Give:
    def give(given: Arguments, context: MacroContext) -> str:
        number = int(given.get(0, "1")[:12])
        if not 0 <= number <= MAX_REPEATED:
            raise MacroError(f"it takes 0 to {MAX_REPEATED}, not {number}")
        return text * number

    return give


def _value(name: str) -> Give:
    def give(given: Arguments, context: MacroContext) -> str:
        return context.values.get(name, "")

    return give


def _trim(given: Arguments, context: MacroContext) -> str:
    return given.values[0] if given.call.closing is not None else "{{trim}}"


def _if(given: Arguments, context: MacroContext) -> str:
    wanted, content = given.values
    is_inverted = trim(wanted).startswith("!")
    condition = given.resolve(trim(trim(wanted)[1:]) if is_inverted else wanted)
    if match := _SHORT.fullmatch(condition):
        getter = "getvar" if match[1] == "." else "getglobalvar"
        condition = given.resolve(f"{{{{{getter}::{match[2]}}}}}")
    elif (macro := MACROS.get(trim(condition).lower())) is not None and macro.least == 0:
        condition = given.resolve(f"{{{{{condition}}}}}")
    is_true = not (condition == "" or is_false(condition))
    chosen = _branch(content, is_first=is_true != is_inverted)
    result = given.resolve(chosen)
    return result if "#" in given.call.flags else dedented(result)


def _branch(content: str, *, is_first: bool) -> str:
    """What stands before the `{{else}}` of this macro, or after it."""
    depth = 0
    for span in spans(content):
        call = read_call(content, span)
        if call.name == "if" and call.is_closing:
            depth -= 1
        elif call.name == "if" and len(call.arguments) == 1:
            depth += 1
        elif call.name == "else" and depth == 0:
            return content[: call.start] if is_first else content[call.end :]
    return content if is_first else ""


def _banned(given: Arguments, context: MacroContext) -> str:
    context.warn("{{banned}} forbids no words here")
    return ""


# ---- chance ----


def _choices(given: Arguments) -> list[str]:
    if len(given.values) != 1:
        return given.values
    text = given.values[0]
    parts = text.split("::") if "::" in text else text.replace("\\,", _ESCAPED_COMMA).split(",")
    return [trim(part).replace(_ESCAPED_COMMA, ",") for part in parts]


def _random(given: Arguments, context: MacroContext) -> str:
    choices = _choices(given)
    return choices[int(context.next_number("random") * len(choices))] if choices else ""


def _pick(given: Arguments, context: MacroContext) -> str:
    """Neither the turn nor what was drawn before: the same in every prompt."""
    choices = _choices(given)
    if not choices:
        return ""
    number = (
        context.draw() if context.draw else context.chance("pick", *choices, given.offset).random()
    )
    return choices[int(number * len(choices))]


def _roll(given: Arguments, context: MacroContext) -> str:
    formula = given.values[0]
    match = _FORMULA.fullmatch(
        f"1d{formula}" if re.fullmatch(r"\d+", formula, re.ASCII) else formula
    )
    if match is None:
        context.warn(f"{{{{roll}}}}: {formula[:40]} is no roll of dice")
        return ""
    if max(len(part or "") for part in match.groups()) > 9 or int(match[1] or 1) > MAX_DICE:
        raise MacroError(f"more than {MAX_DICE} dice, or numbers of more than nine digits")
    sides = int(match[2])
    rolls = (1 + int(context.next_number("roll") * sides) for _ in range(int(match[1] or 1)))
    return str(sum(rolls) + int(match[3] or 0))


# ---- time ----


def _now(context: MacroContext) -> datetime:
    return context.now or datetime.now().astimezone()


def _time_as(form: str) -> Give:
    return lambda given, context: moments.format_time(_now(context), form)


def _time(given: Arguments, context: MacroContext) -> str:
    now = _now(context)
    if match := re.fullmatch(r"UTC([+-]\d{1,9})", given.get(0, ""), re.ASCII):
        now = moments.at_offset(now, int(match[1]))
    return moments.format_time(now, "LT")


def _time_between(given: Arguments, context: MacroContext) -> str:
    left, right = (moments.read_time(text) for text in given.values)
    if left is None or right is None:
        context.warn("{{timeDiff}} reads dates of ISO 8601 alone")
        return "Invalid date"
    return moments.until(left, right)


# ---- the conversation ----


def _last(*roles: str) -> Give:
    def give(given: Arguments, context: MacroContext) -> str:
        return next((text for role, text in reversed(context.messages) if role in roles), "")

    return give


def _last_number(given: Arguments, context: MacroContext) -> str:
    return str(len(context.messages) - 1) if context.messages else ""


def _range(given: Arguments, context: MacroContext) -> str:
    return f"0-{len(context.messages) - 1}" if context.messages else ""


def _greeting(given: Arguments, context: MacroContext) -> str:
    number = int(given.get(0, "0")[:12])
    return context.greetings[number] if 0 <= number < len(context.greetings) else ""


def _original(given: Arguments, context: MacroContext) -> str:
    if context.original is None:
        raise MacroError("there is no prompt that this one replaces")
    text, context.original = context.original, ""
    return text


# ---- variables ----

Act = Callable[[Variables, list[str]], str]


def _set(variables: Variables, given: list[str]) -> str:
    variables.set(*given)
    return ""


def _add(variables: Variables, given: list[str]) -> str:
    variables.add(*given)
    return ""


def _delete(variables: Variables, given: list[str]) -> str:
    variables.delete(given[0])
    return ""


_ACTS: dict[str, tuple[Act, int]] = {
    "set{}var": (_set, 2),
    "add{}var": (_add, 2),
    "inc{}var": (lambda variables, given: text_of(variables.add(given[0], 1.0)), 1),
    "dec{}var": (lambda variables, given: text_of(variables.add(given[0], -1.0)), 1),
    "get{}var": (lambda variables, given: text_of(variables.get(given[0])), 1),
    "has{}var": (lambda variables, given: "true" if variables.has(given[0]) else "false", 1),
    "{}varexists": (lambda variables, given: "true" if variables.has(given[0]) else "false", 1),
    "delete{}var": (_delete, 1),
    "flush{}var": (_delete, 1),
    "set{}varkey": (lambda variables, given: _set(variables, [given[0], given[2], given[1]]), 3),
    "set{}varindex": (lambda variables, given: _set(variables, [given[0], given[2], given[1]]), 3),
    "get{}varkey": (lambda variables, given: text_of(variables.get(*given)), 2),
    "get{}varindex": (lambda variables, given: text_of(variables.get(*given)), 2),
}


def _variable_macros() -> dict[str, Macro]:
    def of(act: Act, is_global: bool) -> Give:
        def give(given: Arguments, context: MacroContext) -> str:
            return act(context.global_variables if is_global else context.variables, given.values)

        return give

    return {
        name.format("global" if is_global else ""): Macro(of(act, is_global), number, number)
        for name, (act, number) in _ACTS.items()
        for is_global in (False, True)
    }


# ---- the list ----


def _char(given: Arguments, context: MacroContext) -> str:
    return context.char


def _user(given: Arguments, context: MacroContext) -> str:
    return context.user


def _nothing(given: Arguments, context: MacroContext) -> str:
    return ""


def _text(text: str) -> Give:
    return lambda given, context: text


_VALUES = {  # names, and under which of them `MacroContext.values` has it
    "description": ("description", "chardescription"),
    "personality": ("personality", "charpersonality"),
    "scenario": ("scenario", "charscenario"),
    "persona": ("persona",),
    "system_prompt": ("charprompt", "systemprompt"),
    "post_history_instructions": ("charinstruction",),
    "mes_example": ("mesexamplesraw",),
    "examples": ("mesexamples",),
    "depth_prompt": ("chardepthprompt",),
    "creator_notes": ("charcreatornotes", "creatornotes"),
    "character_version": ("charversion", "version", "char_version"),
    "model": ("model",),
    "max_prompt": ("maxprompt", "maxprompttokens"),
    "max_context": ("maxcontext", "maxcontexttokens"),
    "max_response": ("maxresponse", "maxresponsetokens"),
}
_EMPTY = """
input lastswipeid currentswipeid instructstorystringprefix instructstorystringsuffix
instructuserprefix instructinput instructusersuffix instructassistantprefix instructoutput
instructassistantsuffix instructseparator instructsystemprefix instructsystemsuffix
instructfirstassistantprefix instructfirstoutputprefix instructlastassistantprefix
instructlastoutputprefix instructstop instructuserfiller instructsysteminstructionprefix
instructfirstuserprefix instructfirstinput instructlastuserprefix instructlastinput
defaultsystemprompt instructsystem instructsystemprompt exampleseparator chatseparator chatstart
"""
MACROS: dict[str, Macro] = {
    **{name: Macro(_nothing) for name in _EMPTY.split()},
    **{name: Macro(_value(key)) for key, names in _VALUES.items() for name in names},
    **_variable_macros(),
    "char": Macro(_char),
    "user": Macro(_user),
    "group": Macro(_char),
    "charifnotgroup": Macro(_char),
    "groupnotmuted": Macro(_char),
    "notchar": Macro(_user),
    "original": Macro(_original),
    "greeting": Macro(_greeting, most=1, wholes=(0,)),
    "charfirstmessage": Macro(_greeting, most=1, wholes=(0,)),
    "space": Macro(_repeat(" "), most=1, wholes=(0,)),
    "newline": Macro(_repeat("\n"), most=1, wholes=(0,)),
    "noop": Macro(_nothing),
    "trim": Macro(_trim, most=1),
    "if": Macro(_if, 2, 2, is_delayed=True),
    "else": Macro(_nothing),
    "reverse": Macro(lambda given, context: given.values[0][::-1], 1, 1),
    "//": Macro(_nothing, 1, 1),
    "comment": Macro(_nothing, 1, 1),
    "hidden_key": Macro(lambda given, context: given.values[0] if context.is_scan else "", 1, 1),
    "banned": Macro(_banned, 1, 1),
    "outlet": Macro(lambda given, context: context.outlets.get(given.values[0], ""), 1, 1),
    "random": Macro(_random, most=None),
    "pick": Macro(_pick, most=None),
    "roll": Macro(_roll, 1, 1),
    "time": Macro(_time, most=1),
    "date": Macro(_time_as("LL")),
    "weekday": Macro(_time_as("dddd")),
    "isotime": Macro(_time_as("HH:mm")),
    "isodate": Macro(_time_as("YYYY-MM-DD")),
    "datetimeformat": Macro(
        lambda given, context: moments.format_time(_now(context), given.values[0]), 1, 1
    ),
    "idleduration": Macro(_text("just now")),
    "idle_duration": Macro(_text("just now")),
    "timediff": Macro(_time_between, 2, 2),
    "lastmessage": Macro(_last("user", "assistant", "system")),
    "lastusermessage": Macro(_last("user")),
    "lastcharmessage": Macro(_last("assistant")),
    "lastmessageid": Macro(_last_number),
    "firstincludedmessageid": Macro(_value("first_included")),
    "firstdisplayedmessageid": Macro(lambda given, context: "0" if context.messages else ""),
    "allchatrange": Macro(_range),
    "lastgenerationtype": Macro(_text("normal")),
    "hasextension": Macro(_text("false"), 1, 1),
    "ismobile": Macro(_text("false")),
}
