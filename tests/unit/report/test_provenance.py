"""The record of a run: a model is known by its content, the command by what was typed."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy import __version__
from understudy.cli import main
from understudy.errors import MissingError
from understudy.report.provenance import (
    COMMAND,
    describe_run,
    file_sha256,
    machine,
    model_bytes,
    model_sha256,
)


def test_a_file_is_known_by_its_bytes_wherever_it_lies(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"weights")
    assert (
        model_sha256(tmp_path / "a.gguf")
        == model_sha256(tmp_path / "b.gguf")
        == hashlib.sha256(b"weights").hexdigest()
    )
    (tmp_path / "a.gguf").write_bytes(b"weightz")
    assert file_sha256(tmp_path / "a.gguf") == hashlib.sha256(b"weightz").hexdigest()


def test_a_folder_is_known_by_its_model_files_and_not_by_what_else_lies_there(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for file, data in (("config.json", "{}"), ("model.safetensors", "w")):
            (tmp_path / name / file).write_text(data)
    (tmp_path / "b" / "README.md").write_text("text")
    (tmp_path / "b" / "runs").mkdir()
    (tmp_path / "b" / "runs" / "report.json").write_text("{}")
    assert model_sha256(tmp_path / "a") == model_sha256(tmp_path / "b")
    assert model_bytes(tmp_path / "a") == model_bytes(tmp_path / "b") == 3
    (tmp_path / "b" / "config.json").write_text("[]")
    assert model_sha256(tmp_path / "a") != model_sha256(tmp_path / "b")
    with pytest.raises(MissingError, match="no such file"):
        model_sha256(tmp_path / "c")


def test_the_record_names_model_version_and_machine(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"w")
    record = describe_run(tmp_path / "m.gguf")
    assert (record["model"], record["model_bytes"], record["version"]) == ("m.gguf", 1, __version__)
    assert json.loads(json.dumps(record)) == record
    assert machine(lambda: "model name\t: A Chip 3\n").startswith("A Chip 3, ")

    def unreadable():
        raise OSError

    assert " processors, " in machine(unreadable)


def test_commands_leave_the_command_in_their_runs(tmp_path, capsys):
    write_folder(SPECS["nemotron"], random_weights(SPECS["nemotron"], seed=1), tmp_path / "m")
    token = COMMAND.set(None)
    try:
        assert (
            main(
                [
                    "bench",
                    str(tmp_path / "m"),
                    "--prefill",
                    "8",
                    "--tokens",
                    "2",
                    "--rounds",
                    "1",
                    "--json",
                ]
            )
            == 0
        )
    finally:
        COMMAND.reset(token)
    run = json.loads(capsys.readouterr().out)["run"]
    assert (
        run["command"]
        == f"understudy bench {tmp_path / 'm'} --prefill 8 --tokens 2 --rounds 1 --json"
    )
    assert run["model_sha256"] == model_sha256(tmp_path / "m")
