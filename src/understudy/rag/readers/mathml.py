"""Formulas in MathML as one line of text, in the form of `formula.py`: `(a+b)/c`, `x^2`, `√(n)`.

MathML 3, chapter 3: presentation elements.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

MAX_DEPTH = 40
_SCRIPTS = {
    "msup": "^",
    "msub": "_",
    "msubsup": "_^",
    "mover": "^",
    "munder": "_",
    "munderover": "_^",
}
_LEFT_OUT = ("annotation", "annotation-xml", "mphantom", "mspace")


def mathml_text(element: Element, depth: int = 0) -> str:
    """The text of `math`, or of any part of it."""
    tag, parts = element.tag, [one for one in element if isinstance(one.tag, str)]
    if tag in _LEFT_OUT:
        return ""
    if not parts:
        return " ".join((element.text or "").split())
    if depth > MAX_DEPTH:
        return "".join(element.itertext())
    inner = [mathml_text(part, depth + 1) for part in parts]
    if tag in _SCRIPTS:
        marks = zip(_SCRIPTS[tag], inner[1:], strict=False)
        return inner[0] + "".join(sign + _bracketed(text) for sign, text in marks if text)
    if tag == "mfrac" and len(inner) == 2:
        return f"{_bracketed(inner[0])}/{_bracketed(inner[1])}"
    if tag == "mroot" and len(inner) == 2:
        return f"{inner[1]}√({inner[0]})"
    if tag == "msqrt":
        return f"√({_joined(parts, inner)})"
    if tag == "mtable":
        return "; ".join(inner)
    if tag in ("mtr", "mlabeledtr"):
        return ", ".join(inner)
    return _joined(parts, inner)


def _joined(parts: list[Element], texts: list[str]) -> str:
    """Parts in a row; two words, and what follows a fraction or a script, do not touch."""
    line, last = "", ""
    for part, text in zip(parts, texts, strict=True):
        touches = line[-1:].isalnum() and text[:1].isalnum()
        if touches and (len(text) > 1 or last in ("mfrac", *_SCRIPTS) or part.tag == "mfrac"):
            line += " "
        line, last = line + text, part.tag if text else last
    return line


def _bracketed(text: str) -> str:
    return text if len(text) <= 1 or text.isalnum() else f"({text})"
