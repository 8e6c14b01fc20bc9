"""Every word of the page stands in every language's file, with the same values; nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import understudy.serve

PAGE = Path(understudy.serve.__file__).parent / "page"
LANGUAGES = ("de", "fr", "es", "ja", "zh")
ATTRIBUTES = ("aria-label", "placeholder", "title", "alt")
LETTERS = re.compile(r"[A-Za-z]{2}")
STRING = r'"((?:[^"\\]|\\.)*)"'


class _Words(HTMLParser):
    """Texts and attributes of the page as it was written, blanks joined."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._text, self._is_hidden = "", False

    def _end(self, is_hidden: bool) -> None:
        if LETTERS.search(self._text) and not self._is_hidden:
            self.found.add(" ".join(self._text.split()))
        self._text, self._is_hidden = "", is_hidden

    def handle_starttag(self, tag, attrs):
        self._end(tag in ("script", "title"))
        self.found |= {v for k, v in attrs if k in ATTRIBUTES and v and LETTERS.search(v)}

    def handle_endtag(self, tag):
        self._end(False)

    def handle_data(self, data):
        self._text += data


def _used() -> set[str]:
    words = _Words()
    words.feed((PAGE / "index.html").read_text())
    found = words.found
    for script in PAGE.glob("*.js"):
        text = script.read_text()
        found |= set(re.findall(r"\bt\(" + STRING, text))
        for choice in re.findall(r"\bt\(((?:[^()\n]|\(\))*\?(?:[^()\n]|\(\))*)\)", text):
            found |= set(re.findall(r"[?:] " + STRING, choice))
    names = re.search(r"const NAMES = \{(.*?)\};", (PAGE / "meters.js").read_text(), re.S)
    found |= set(re.findall(STRING, names[1])) | {"free"}
    presets = re.search(r"const BUILT_IN = \{(.*?)\n\};", (PAGE / "panel.js").read_text(), re.S)
    return found | set(re.findall(r"^  (\w+):", presets[1], re.M))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_is_translated(language):
    words = json.loads((PAGE / "lang" / f"{language}.json").read_text())
    assert set(words) == _used()
    assert all(word.strip() for word in words.values())
    for english, word in words.items():
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", word))


def test_every_language_is_offered():
    offered = re.search(r"LANGUAGES = \{(.*?)\}", (PAGE / "language.js").read_text())[1]
    assert set(re.findall(r"(\w\w):", offered)) == {"en", *LANGUAGES}


def test_libraries_come_with_their_licences():
    text = (PAGE / "vendor" / "LICENSES.txt").read_text()
    for library in ("marked", "dompurify", "highlightjs", "temml"):
        assert re.search(rf"^== .*{library}.* [\d.]+ ==$", text, re.M), library
    assert {path.stem for path in (PAGE / "vendor").glob("*.js")} == {
        "marked",
        "purify",
        "highlight",
        "temml",
    }
