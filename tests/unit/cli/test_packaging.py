"""The unit file and the Dockerfile start the server with options that it has, and as safely as the
docs say.
"""

from __future__ import annotations

import argparse
import configparser
import json
import re
import shlex
from pathlib import Path

import pytest

from understudy.cli import serve

FOLDER = Path(__file__).parents[3] / "packaging"


def parsed(words):
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    return parser.parse_args(words)


def test_the_unit_starts_the_server():
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str
    unit.read(FOLDER / "understudy.service")
    command, verb, *words = shlex.split(unit["Service"]["ExecStart"])
    assert (Path(command).name, verb) == ("understudy", "serve")
    arguments = parsed(words)
    assert arguments.host == "127.0.0.1"
    assert int(unit["Service"]["TimeoutStopSec"]) > arguments.grace + 5
    for name in ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp"):
        assert unit["Service"][name] == "yes"


def test_the_image_starts_the_server_with_keys():
    text = (FOLDER / "Dockerfile").read_text()
    command, verb, *words = json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)[1])
    assert (Path(command).name, verb) == ("understudy", "serve")
    arguments = parsed(words)
    assert (arguments.host, arguments.keys) == ("0.0.0.0", Path("/keys"))
    assert re.search(r"^USER (?!root)\w+$", text, re.MULTILINE)
    assert "/ready" in re.search(r"^HEALTHCHECK.*$", text, re.MULTILINE)[0]


@pytest.mark.parametrize("words", [["--no-such-option"], ["--port", "x"]])
def test_other_options_are_refused(words):
    with pytest.raises(SystemExit):
        parsed(words)
