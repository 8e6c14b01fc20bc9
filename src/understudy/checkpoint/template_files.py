"""The chat templates of a Hugging Face folder, in transformers 5.24's order of precedence.

`chat_template.jinja` and `additional_chat_templates/NAME.jinja` together replace what
tokenizer_config.json says under `chat_template`: one text, or a list of named ones. A template
called `tool_use` is taken where tools are given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.errors import FormatError

FOLDER = "additional_chat_templates"
NAME = re.compile(r"[\w-][\w.-]*\Z")


def folder_templates(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """Templates by name; the one without a name is `default`.

    Raises:
        FormatError: a file that is not UTF-8.
    """
    files = {"default": folder / "chat_template.jinja"}
    files |= {path.stem: path for path in template_files(folder)}
    if found := {name: _text(path) for name, path in files.items() if path.is_file()}:
        return found
    given = settings.get("chat_template")
    if isinstance(given, str):
        return {"default": given}
    return {
        str(entry["name"]): entry["template"]
        for entry in (given if isinstance(given, list) else [])
        if isinstance(entry, Mapping) and isinstance(entry.get("template"), str) and "name" in entry
    }


def template_files(folder: Path) -> list[Path]:
    """The files of named templates."""
    return sorted((folder / FOLDER).glob("*.jinja"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("chat template is not UTF-8", where=path) from error
