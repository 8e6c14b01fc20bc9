"""Formulas of Office (OMML, ECMA-376 part 1, 22.1) as one line of text, in the linear form that
Word itself types: `(a+b)/c`, `a/b x^2 y`, `√(x)`.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

MAX_DEPTH = 40
_SIMPLE = 1  # characters that need no bracket as a part of a fraction or a script


def formula_text(element: Element, depth: int = 0) -> str:
    """The text of `m.oMath`, or of any part of it."""
    if depth > MAX_DEPTH:
        return "".join(part.text or "" for part in element.iter("m.t"))
    text = ""
    is_behind = False  # a fraction or a script, which what follows would else belong to
    for child in element:
        part = _part(child, depth + 1)
        if not part:
            continue
        kind = child.tag.removeprefix("m.")
        begins, ends = part[0].isalnum() or part[0] in "(√", text[-1:].isalnum()
        if (is_behind and begins) or (kind == "f" and ends):
            text += " "
        text += part
        is_behind = kind == "f" or kind in _SCRIPTS
    return text


def _part(element: Element, depth: int) -> str:
    kind = element.tag.removeprefix("m.")
    if kind == "t":
        return element.text or ""
    if kind in _SCRIPTS:
        base, *marks = _SCRIPTS[kind]
        text = _argument(element, base, depth)
        for sign, name in marks:
            text += sign + _bracketed(_argument(element, name, depth))
        return text
    if kind in _WRITERS:
        return _WRITERS[kind](element, depth)
    if kind.endswith("Pr") or kind in ("ctrlPr", "del", "moveFrom") or element.tag == "w.del":
        return ""
    return formula_text(element, depth)


def _argument(element: Element, name: str, depth: int) -> str:
    found = element.find(f"m.{name}")
    return "" if found is None else formula_text(found, depth)


def _value(element: Element, path: str, default: str) -> str:
    found = element.find(path)
    return default if found is None else found.get("val", "")


def _bracketed(text: str) -> str:
    return text if len(text) <= _SIMPLE or text.isalnum() else f"({text})"


def _fraction(element: Element, depth: int) -> str:
    above, below = (_bracketed(_argument(element, name, depth)) for name in ("num", "den"))
    return f"{above}/{below}"


def _root(element: Element, depth: int) -> str:
    degree, inside = _argument(element, "deg", depth), _argument(element, "e", depth)
    return f"√({degree}&{inside})" if degree else f"√({inside})"


def _large_operator(element: Element, depth: int) -> str:
    text = _value(element, "m.naryPr/m.chr", "∫")
    for sign, name in (("_", "sub"), ("^", "sup")):
        limit = _argument(element, name, depth)
        if limit:
            text += sign + _bracketed(limit)
    return f"{text} {_argument(element, 'e', depth)}"


def _delimited(element: Element, depth: int) -> str:
    opening = _value(element, "m.dPr/m.begChr", "(")
    between = _value(element, "m.dPr/m.sepChr", "|")
    closing = _value(element, "m.dPr/m.endChr", ")")
    return opening + between.join(formula_text(e, depth) for e in element.findall("m.e")) + closing


def _function(element: Element, depth: int) -> str:
    return f"{_argument(element, 'fName', depth)} {_argument(element, 'e', depth)}"


def _matrix(element: Element, depth: int) -> str:
    rows = (
        ", ".join(formula_text(e, depth) for e in row.findall("m.e"))
        for row in element.findall("m.mr")
    )
    return f"[{'; '.join(rows)}]"


def _equations(element: Element, depth: int) -> str:
    return "; ".join(formula_text(e, depth) for e in element.findall("m.e"))


def _accent(element: Element, depth: int) -> str:
    return _argument(element, "e", depth) + _value(element, "m.accPr/m.chr", "\u0302")


_SCRIPTS: dict[str, tuple[str, *tuple[tuple[str, str], ...]]] = {
    "sSup": ("e", ("^", "sup")),
    "sSub": ("e", ("_", "sub")),
    "sSubSup": ("e", ("_", "sub"), ("^", "sup")),
    "limLow": ("e", ("_", "lim")),
    "limUpp": ("e", ("^", "lim")),
}
_WRITERS = {
    "f": _fraction,
    "rad": _root,
    "nary": _large_operator,
    "d": _delimited,
    "func": _function,
    "m": _matrix,
    "eqArr": _equations,
    "acc": _accent,
}
