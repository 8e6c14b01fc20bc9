"""Runs one driver's everyday things: `python run.py MODULE URL MODEL` prints a JSON object.

A driver has functions plain, stream, tools, structured, wrong_model, too_long and cancel, those
that its library has; each takes the address and the model's name. What it gives, or the class of
what it raises, is the result, as a line of text.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

NAMES = ("plain", "stream", "tools", "structured", "wrong_model", "too_long", "cancel", "more")
LONG = "word " * 6000


def main(module: str, url: str, model: str) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    driver = importlib.import_module(module)
    results = {}
    for name in NAMES:
        if (run := getattr(driver, name, None)) is None:
            continue
        try:
            results[name] = str(run(url, model))
        except Exception as error:
            results[name] = f"{type(error).__name__}: {str(error)[:300]}"
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
