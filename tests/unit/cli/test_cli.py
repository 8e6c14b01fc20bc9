"""The command line: exit codes, errors in one line, JSON that parses, harmless output."""

from __future__ import annotations

import io
import json
import sys

import pytest

from understudy import hub
from understudy.chat.session import Session
from understudy.checkpoint import pack
from understudy.cli import COMMANDS, main, make_parser
from understudy.cli.chat import ChatTerminal
from understudy.cli.terminal import harmless, typed_lines
from understudy.errors import InputError, UnderstudyError, UsageError


def call(capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    try:
        code = main(words)
    except SystemExit as end:  # argparse
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(capsys, command):
    code, out, _ = call(capsys, *([command] if command else []), "--help")
    assert code == 0
    assert "usage: understudy" in out


@pytest.mark.parametrize("words", [["help"], ["help", "chat"]])
def test_help_is_there_without_dashes(capsys, words):
    code, out, err = call(capsys, *words)
    assert (code, err) == (0, "")
    assert ("--system" in out) == ("chat" in words)
    assert all(command in out for command in COMMANDS) or "chat" in words


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["dance"], "there is no such command; found dance"),
        (["chta"], "did you mean chat?".capitalize()),
        ([], "required"),
        (["generate", "--tempo", "3"], "(try `understudy generate --help`)"),
        (["show", "/no/such/model.gguf"], "no such model"),
        (["show", "no-such-model"], "no such model"),
        (["show", "smolm2-135m-instrct"], "Did you mean smollm2-135m-instruct?"),
        (["generate", "-p", ""], "prompt is empty"),
        (["generate", "-p", "x", "--temperature", "-1"], "temperature: setting is out of range"),
        (["generate", "-p", "word " * 50000], "do not fit the context"),
        (["generate", "-p", "x", "--context", "999999"], "context is out of range"),
        (["generate", "-p", "x", "--isa", "riscv"], "no such kernel target"),
        (["generate", "-p", "x", "--threads", "0"], "threads"),
        (["generate", "-f", "/no/such/file"], "cannot open"),
        (["generate", "--raw", "--system", "s", "-p", "x"], "--system needs a chat prompt"),
        (["bench", "--synthetic", "gpt-9"], "no such shape"),
        (["perplexity", "-f", "/no/such/file"], "cannot open"),
        (["convert", "smollm2-135m-instruct", "/tmp/understudy-x", "--format", "q4"], "folder"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(capsys, words, part):
    code, out, err = call(capsys, *words)
    assert code == 2
    assert out == ""
    assert part in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_truncated_file_is_one_line(capsys, tmp_path):
    whole = hub.resolve(hub.DEFAULT_MODEL)
    with whole.open("rb") as file:
        (tmp_path / "cut.gguf").write_bytes(file.read(3_000_000))
    for command in (["show"], ["generate", "-p", "x"]):
        code, _, err = call(capsys, command[0], str(tmp_path / "cut.gguf"), *command[1:])
        assert (code, err.count("\n")) == (2, 1)
        assert "cut.gguf" in err


def test_too_little_memory_is_said_before_loading(capsys, monkeypatch):
    monkeypatch.setattr(pack, "available_memory", lambda: 10_000_000)
    code, _, err = call(capsys, "generate", "-p", "x")
    assert code == 2
    assert "not enough memory" in err


def test_a_hub_id_without_a_hub(capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, _, err = call(capsys, "show", "nobody/no-such-model-here")
    assert code in (1, 2)
    assert err.count("\n") == 1
    assert "nobody/no-such-model-here" in err


@pytest.mark.parametrize(
    ("name", "value"),
    [("UNDERSTUDY_ISA", "mmx"), ("UNDERSTUDY_THREADS", "many"), ("UNDERSTUDY_TYPO", "1")],
)
def test_malformed_environment_is_refused(capsys, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    code, _, err = call(capsys, "list")
    assert code == 2
    assert name in err


def test_json_outputs_parse(capsys, tmp_path):
    (tmp_path / "text").write_text(
        "The keeper counts the ships that pass in the night, one by one. " * 3
    )
    models = json.loads(call(capsys, "list", "--json")[1])
    assert models[0]["name"] == hub.DEFAULT_MODEL
    shown = json.loads(call(capsys, "show", "--json")[1])
    assert shown["preset"]["name"] == "SmolLM2-135M-Instruct"
    assert "preset: SmolLM2-135M-Instruct" in call(capsys, "show")[1]
    assert shown["parameters"]["total"] == 134_515_008
    assert shown["bits_per_weight"] == pytest.approx(8 * shown["stored_bytes"] / 134_515_008)
    read = shown["bytes_read_per_token"]
    assert read.keys() == shown["memory_bytes"].keys()
    for name, parts in read.items():  # tied: the embedding is read as the head, and one row more
        row = shown["memory_bytes"][name] + parts["embedding"]
        assert parts["total"] == sum(parts[key] for key in parts if key != "total") == row
    assert read["bf16"]["head"] == 49152 * 576 * 2
    assert read["q8"]["mlp"] == 30 * 3 * 1536 * 576 * 34 // 32
    assert "MB read a token" in call(capsys, "show")[1]
    answers = json.loads(
        call(
            capsys,
            "generate",
            "-p",
            "Say hi",
            "--max-tokens",
            "4",
            "-n",
            "2",
            "--json",
            "--logprobs",
            "2",
        )[1]
    )
    assert len(answers) == 2
    assert len(answers[0]["logprobs"]) == len(answers[0]["tokens"]) == 4
    scored = json.loads(call(capsys, "perplexity", "-f", str(tmp_path / "text"), "--json")[1])
    assert scored["perplexity"] > 1


def test_debug_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_DEBUG", "1")
    with pytest.raises(UsageError):
        main(["generate", "-p", ""])


def test_ctrl_c_is_130(capsys, monkeypatch):
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("understudy.cli.list.run", interrupted)
    code, _, err = call(capsys, "list")
    assert code == 130
    assert err == "understudy: interrupted\n"


def test_control_characters_are_shown_not_obeyed():
    assert (
        harmless("a\x1b[31mred\x07\x00\r\u202eb\tc\n")
        == "a\\x1b[31mred\\x07\\x00\\x0d\\x202eb\tc\n"
    )


# ---- chat ----


@pytest.fixture(scope="module")
def model():
    import understudy

    with understudy.load(hub.DEFAULT_MODEL, context=512) as loaded:
        yield loaded


@pytest.fixture
def conversation(model):
    return ChatTerminal(Session(model), {"max_tokens": 8, "temperature": 0.0, "stop": []})


def test_another_answer_takes_the_place_of_the_last(conversation):
    with pytest.raises(UsageError, match="nothing was said yet"):
        conversation.command("/retry")
    conversation.say("Hello")
    conversation.command("/retry")
    assert [m["content"] for m in conversation.session.messages if m["role"] == "user"] == ["Hello"]
    assert len(conversation.session.messages) == 2


def test_an_answer_that_is_cut_is_said_to_be(conversation, capsys):
    conversation.say("Tell me a long story.")
    assert "cut at its limit of 8 tokens" in capsys.readouterr().err
    code, out, err = call(capsys, "generate", "-p", "Tell me a story.", "--max-tokens", "3")
    assert (code, err.count("\n")) == (0, 1)
    assert "limit of 3 tokens" in err
    assert "note" not in out


@pytest.mark.parametrize(
    ("options", "temperature"),
    [([], 0.7), (["--temperature", "0"], 0.0), (["--documents", "notes.index"], 0.0)],
)
def test_talk_is_drawn_and_what_must_be_right_is_greedy(options, temperature):
    from understudy.cli import chat

    arguments = make_parser(["chat"]).parse_args(["chat", *options])
    assert chat.sampling(arguments)["temperature"] == temperature


def test_texts_of_several_lines_and_words_to_leave_with(monkeypatch):
    import prompt_toolkit

    typed = iter(['"""first', 'second"""', 'say """so"""', "Exit", "help", "help me"])

    class Typed:
        def __init__(self, **_: object) -> None: ...

        def prompt(self, _: str) -> str:
            try:
                return next(typed)
            except StopIteration:
                raise EOFError from None

    monkeypatch.setattr(prompt_toolkit, "PromptSession", Typed)
    assert list(typed_lines(None)) == [
        *("first\nsecond", 'say """so"""', "/exit", "/help", "help me")
    ]


def test_a_conversation_remembers(conversation, capsys):
    conversation.say("Hello")
    conversation.say("And again")
    assert [m["role"] for m in conversation.session.messages] == ["user", "assistant"] * 2
    assert conversation.command("/stats")
    assert "remembered" in capsys.readouterr().out
    conversation.command("/undo")
    assert len(conversation.session.messages) == 2
    conversation.command("/system Be brief.")
    assert (conversation.session.messages, conversation.session.system) == ([], "Be brief.")
    conversation.say("Hello")
    conversation.command("/ledger")
    assert "system 3 +" in capsys.readouterr().out
    conversation.command("/reset")
    assert (conversation.session.messages, conversation.session.system) == ([], "Be brief.")
    assert not conversation.command("/quit")


def test_settings_and_files(conversation, tmp_path):
    conversation.command("/set temperature 0.5")
    assert conversation.sampling["temperature"] == 0.5
    for bad in (
        "/set tempo 3",
        "/set temperature warm",
        "/sing",
        f"/load {tmp_path}/none",
        "/save",
    ):
        with pytest.raises(InputError):
            conversation.command(bad)
    with pytest.raises(UnderstudyError, match="cannot write"):
        conversation.command("/save /dev/null/x")
    conversation.say("héllo")
    said = conversation.session.messages
    conversation.command(f"/save {tmp_path}/talk.json")
    conversation.command("/reset")
    conversation.command(f"/load {tmp_path}/talk.json")
    assert conversation.session.messages == said
    assert said[0] == {"role": "user", "content": "héllo"}


def test_ctrl_c_ends_the_reply_and_keeps_what_was_said(conversation, monkeypatch, capsys):
    pieces = iter(["Once", " upon"])

    class Interrupted:
        def __iter__(self):
            return self

        def __next__(self):
            from understudy.engine import Output

            piece = next(pieces, None)
            if piece is None:
                raise KeyboardInterrupt
            return Output(0, 0, piece)

        def close(self):
            pass

    monkeypatch.setattr(
        conversation.session.model, "stream_outputs", lambda *_, **__: Interrupted(), raising=False
    )
    conversation.say("Tell")
    assert conversation.session.messages[-1] == {"role": "assistant", "content": "Once upon"}
    assert "…" in capsys.readouterr().out


def test_piped_lines_are_a_conversation(capsys, monkeypatch):
    monkeypatch.setattr(
        sys, "stdin", io.StringIO("Hello\n\n/nonsense\n/stats\n/quit\nnever reached\n")
    )
    code, out, err = call(capsys, "chat", "--max-tokens", "6", "--context", "256")
    assert code == 0
    assert "tokens of prompt" in out
    assert "unknown command" in err
