"""The Python of every guide runs as it stands, on a clean place with what the guide names."""

from __future__ import annotations

import functools
import sys
import types

import pytest

import understudy
from tests.support.adapters import random_adapter
from tests.support.guides import PAGES, ROOT, blocks_of
from understudy.adapters import gguf, peft
from understudy.cli import main
from understudy.model import Model

NOT_RUN = {"README.md", "structure.md"}  # test_readme.py; signatures
GUIDES = [page.name for page in PAGES if blocks_of(page, "python") and page.name not in NOT_RUN]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        Model, "generate", functools.partialmethod(Model.generate, max_tokens=8)
    )  # what is said is not at stake
    return tmp_path


@pytest.fixture
def run(place, monkeypatch, capsys):
    """Runs the blocks of a page, one after the other, in one module; gives what they print."""

    def run_page(page: str, **replaced: str) -> str:
        code = "\n".join(blocks_of(ROOT / "docs" / page, "python"))
        for old, new in replaced.items():
            assert old in code
            code = code.replace(old, new)
        source = place / "guide.py"  # a tool's parameters are read from its source
        source.write_text(code, encoding="utf-8")
        module = types.ModuleType("guide")
        monkeypatch.setitem(sys.modules, "guide", module)
        exec(compile(code, source, "exec"), module.__dict__, module.__dict__)
        return capsys.readouterr().out

    return run_page


@pytest.fixture(scope="module")
def adapter():
    with understudy.load("smollm2-135m-instruct") as model:
        return random_adapter(model.spec, rank=2, targets=("q_proj",), strength=0.01), model.spec


def begin_card() -> None:
    assert main(["card", "new", "hilde.json", "--name", "Hilde"]) == 0


def test_every_guide_with_python_is_here():
    assert set(GUIDES) == {
        *(
            "adapters.md",
            "align.md",
            "chat.md",
            "redteam.md",
            "roleplay.md",
            "safety.md",
            "serve.md",
        )
    }


def test_chat(run):
    assert run("chat.md").strip()


def test_roleplay(run):
    begin_card()
    assert run("roleplay.md").strip()


def test_safety(run):
    pytest.importorskip("starlette")
    begin_card()
    assert run("safety.md").endswith("None\n")


def test_adapters(run, place, adapter):
    pairs, spec = adapter
    for name in ("banter", "banter-v2", "tools"):
        peft.write(pairs, place / "adapters" / name, base="org/model")
    gguf.write(pairs, place / "tools.gguf", spec)
    run("adapters.md")
    written = peft.read(place / "tools-peft", spec)
    assert written.rank == 2


def test_align(run, place, adapter):
    peft.write(adapter[0], place / "home" / "adapter", base="org/model")
    run("align.md")


def test_redteam(run, place):
    from understudy.judge.redteam.store import RedTeamStore

    RedTeamStore(place / "team.sqlite").close()
    assert main(["safety", "redteam", "team.sqlite", "--export", "mine.jsonl"]) == 0
    assert "{" in run("redteam.md")


def test_serve(run):
    pytest.importorskip("openai")
    pytest.importorskip("uvicorn")
    from tests.serve.conftest import live

    with understudy.load("smollm2-135m-instruct") as model, live(model, max_tokens=8) as running:
        out = run("serve.md", **{"127.0.0.1:8080": f"127.0.0.1:{running.port}"})
    assert out.strip()
