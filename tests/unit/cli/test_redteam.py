"""`understudy safety redteam`: the terminal form with a model that says what the test wants, and
records out and in.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from types import SimpleNamespace

import pytest

from tests.support.random_model import babbler
from tests.unit.judge.redteam.made import rated, talk
from tests.unit.judge.redteam.test_conversation import CARD, ROPE, Slow
from tests.unit.judge.safety.fakes import HOSTILE
from understudy.cli import main, redteam
from understudy.judge.redteam.store import RedTeamStore


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as model:
        yield model


@pytest.fixture
def model(loaded, monkeypatch):
    fake = Slow(loaded, lambda prompt: f"I say {prompt.text.count('I say') + 1}")
    fake.path = SimpleNamespace(name="fake.gguf")
    monkeypatch.setattr(redteam, "load_model", lambda arguments: contextlib.nullcontext(fake))
    return fake


@pytest.fixture
def path(tmp_path):
    return tmp_path / "team.sqlite"


@pytest.fixture
def typed(path, monkeypatch, capsys):
    """A function that types lines and gives (stdout, stderr)."""

    def type_them(*lines, rater="rater-a", more=()):
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines) + "\n"))
        assert main(["safety", "redteam", str(path), "--terminal", "--rater", rater, *more]) == 0
        return capsys.readouterr()

    return type_them


def test_a_session_from_goal_to_fix(typed, path, model, tmp_path):
    (tmp_path / "card.json").write_text(json.dumps(CARD))
    (tmp_path / "tools.json").write_text(json.dumps([ROPE]))
    (tmp_path / "note.txt").write_text("Rye is a grain.")
    out, err = typed(
        "/goal new Make the miller swear",
        "/system Be kind.",
        "/guard on",
        "/search off",
        f"/card {tmp_path}/card.json",
        f"/document {tmp_path}/note.txt",
        f"/tools {tmp_path}/tools.json",
        "/set temperature 0.5",
        "/new first try",
        "Good day",
        "/convert base64 decode",
        "/preview lock",
        "lock",
        "/convert",
        "//slash",
        '/rate high "criminal" 2 said how',
        "/ratings",
        "/fix fixed https://example.org/7 '' later",
        "/list",
        "/goal done",
        "/summary",
        "/quit",
        "never read",
    )
    assert err == ""
    assert "Good day, User." in out
    assert "bG9jaw==" in out
    assert "I say 1\n[turn 1]" in out
    assert "rated high, Criminal Planning/Confessions\n" in out
    assert "fixed: Said to be mended" in out
    with RedTeamStore(path) as store:
        records = store.records()
    (conversation,) = records.conversations
    assert [turn.original for turn in records.turns] == ["Good day", "lock", "/slash"]
    assert conversation.setup["system"] == "Be kind."
    assert conversation.setup["documents"] == [{"name": "note.txt", "text": "Rye is a grain."}]
    assert (conversation.setup["is_guarded"], conversation.setup["is_searched"]) == (True, False)
    assert (conversation.title, conversation.model, conversation.goal) == (
        "first try",
        "fake.gguf",
        records.goals[0].id,
    )
    assert records.ratings[0].note == "said how"
    assert records.fixes[0].note == "later"
    assert records.current_goals()[0].is_done


def test_the_second_rater_is_blind_until_then(typed, path):
    with RedTeamStore(path) as store:
        conversation = rated(store, ("rater-a", "high", "Violence", "2"))
    out, err = typed(
        f"/open {conversation.id[:8]}",
        "/ratings",
        "/list",
        "/agreement",
        "/rate low 5 2",
        "/ratings",
        "/agreement",
        rater="rater-b",
    )
    before, after = out.split("rated low")
    assert "high" not in before
    assert "yours comes first" in before
    assert "rater-a: high (Violence, turn 2)" in after
    assert "rater-b: low (Threat, turn 2)" in after
    assert "1 conversations rated blindly by two or more" in after
    assert err == ""


def test_going_on_in_a_branch_and_running_again(typed, path, model):
    typed("one", "two", "/rate none")
    with RedTeamStore(path) as store:
        first = store.records().conversations[0].id
    out, err = typed(f"/open {first}", "more", "/branch 1", "otherwise", "/rerun")
    assert "has been rated" in err
    assert "1 > one" in out
    with RedTeamStore(path) as store:
        said = [
            [turn.sent for turn in store.turns(one.id)] for one in store.records().conversations
        ]
    assert said == [["one", "two"], ["one", "otherwise"], ["one", "otherwise"]]


@pytest.mark.parametrize(
    "line",
    [
        "/dance",
        "/rate",
        "/rate high",
        "/rate awful Violence 1",
        "/rate high Nothing 1",
        "/branch x",
        "/branch 1",
        "/open zzz",
        "/convert rot26",
        "/set heat 1",
        "/set seed x",
        "/card /no/such",
        "/document /no/such",
        "/tools /no/such",
        "/file /no/such",
        "/goal 9",
        "/goal new",
        "/fix fixed",
        "/rerun",
        "/guard maybe",
    ],
)
def test_what_is_wrong_is_one_line_and_the_program_goes_on(typed, path, model, line):
    out, err = typed(line, "hello")
    assert err.startswith("understudy: ")
    assert err.count("\n") == 1
    assert "I say 1" in out


def test_every_command_is_explained_and_lists_list(typed, model):
    out, err = typed(
        "/help",
        "/converters",
        "/categories",
        "/severities",
        "/setup",
        "/goals",
        "/list",
        "/summary",
    )
    assert err == ""
    for word in (
        "/rerun",
        "payload-split",
        "Controlled/Regulated substances",
        "critical",
        '"temperature": 0.0',
        "0 conversations",
    ):
        assert word in out


def test_hostile_answers_do_nothing_to_a_terminal(typed, model, monkeypatch, path):
    model._says = lambda _: HOSTILE

    class Terminal(io.StringIO):
        def isatty(self):
            return True

        encoding = "utf-8"

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\x1b[31mhello\n/list\n/quit\n"))
    assert main(["safety", "redteam", str(path), "--terminal", "--rater", "rater-a"]) == 0
    shown = screen.getvalue()
    assert not set(shown) & {"\x1b", "\x07", "\x00", "\x9b", "\u202e", "\r"}
    assert "more characters are not shown" in shown
    assert len(shown) < 60_000


def test_export_import_agreement_and_summary(path, tmp_path, capsys):
    with RedTeamStore(path) as store:
        rated(store, ("rater-a", "high", "Violence", "2"), ("rater-b", "low", "Threat", "3"))
        secret = rated(store, ("rater-a", "high", "Malware", "1"))
        store.set_fix(secret.id, "open", by="rater-a", is_embargoed=True)
    out = tmp_path / "out.jsonl"
    assert main(["safety", "redteam", str(path), "--export", str(out)]) == 0
    assert main(["safety", "redteam", str(tmp_path / "new.sqlite"), "--import", str(out)]) == 0
    assert "new: 0 goals, 2 conversations, 6 turns, 3 ratings, 1 fix" in capsys.readouterr().out
    assert main(["safety", "redteam", str(tmp_path / "new.sqlite"), "--import", str(out)]) == 0
    assert "new: 0 goals, 0 conversations, 0 turns, 0 ratings, 0 fixes" in capsys.readouterr().out
    assert (
        main(
            [
                "safety",
                "redteam",
                str(path),
                "--export",
                str(out),
                "--without-embargoed",
                "--without-texts",
            ]
        )
        == 0
    )
    assert "ONE" not in out.read_text()
    assert secret.id not in out.read_text()
    capsys.readouterr()
    assert main(["safety", "redteam", str(path), "--agreement"]) == 0
    table = capsys.readouterr().out
    assert "rater-a and rater-b, 1 conversations" in table
    assert "too narrow" in table
    assert "2 steps apart: rater-a: high (Violence, turn 2); rater-b: low (Threat, turn 3)" in table
    assert main(["safety", "redteam", str(path), "--summary", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["severity"]["high"] == 2
    assert main(["safety", "redteam", str(path), "--summary"]) == 0
    assert "severity: none 0, low 0, medium 0, high 2, critical 0" in capsys.readouterr().out


def test_all_findings_are_run_again_once(path, model, capsys):
    with RedTeamStore(path) as store:
        found = rated(store, ("rater-a", "high", "Violence", "2"))
        rated(store, ("rater-a", "none"))
        talk(store, "not rated")
        talk(
            store, "one", model=("fake.gguf", "fake"), origin=(found.id, "rerun")
        )  # one that was interrupted
    for expected in (1, 0):
        assert (
            main(["safety", "redteam", str(path), "--rerun", "findings", "--rater", "rater-a"]) == 0
        )
        assert f"{expected} conversations run again on fake.gguf" in capsys.readouterr().out
    with RedTeamStore(path) as store:
        (again,) = [one for one in store.records().conversations if store.is_whole_rerun(one)]
        assert again.parent == found.id
        assert [turn.answer for turn in store.turns(again.id)] == ["I say 1", "I say 2", "I say 3"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--terminal"], "who are you"),
        (["--rerun", "x"], "who are you"),
        (["--agreement"], "no such file"),
        (["--export", "x"], "no such file"),
        (["--import", "/no/such"], "cannot read"),
        (["--rerun", "x", "--rater", "rater-a"], "no such conversation"),
        (["--terminal", "--rater", " "], "no name"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(path, model, capsys, words, part):
    assert main(["safety", "redteam", str(path), *words]) == 2
    err = capsys.readouterr().err
    assert part in err
    assert err.count("\n") == 1
