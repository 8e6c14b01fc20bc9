"""`understudy rag search` as a user types it."""

from __future__ import annotations

import json

from understudy.cli import main
from understudy.rag.index import Index


def test_search_from_the_command_line(tmp_path, capsys):
    (tmp_path / "light.md").write_text("# Light\n\nAda keeps the light.\n")
    with Index(tmp_path / "x.index", embedder="hashing") as index:
        index.add([tmp_path])
    assert (
        main(
            ["rag", "search", "who keeps the light", "--index", str(tmp_path / "x.index"), "--json"]
        )
        == 0
    )
    row = json.loads(capsys.readouterr().out)
    assert (row["text"], row["heading"], row["start"]) == ("Ada keeps the light.", "Light", 9)
    assert main(["rag", "search", "x", "--index", str(tmp_path / "none.index")]) == 2
    assert "there is no index" in capsys.readouterr().err


def test_ask_from_the_command_line(tmp_path, capsys):
    text = "The lighthouse on the island was built in 1812 from grey granite.\n"
    (tmp_path / "light.md").write_text(text)
    assert (
        main(
            [
                "rag",
                "add",
                str(tmp_path / "light.md"),
                "--index",
                str(tmp_path / "x.index"),
                "--json",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["documents"] == 1
    ask = ["rag", "ask", "--index", str(tmp_path / "x.index"), "--json", "--context", "1024"]
    assert main([*ask, "When was the lighthouse on the island built?"]) == 0
    answer = json.loads(capsys.readouterr().out)
    for citation in answer["citations"]:
        assert text[citation["start"] : citation["end"]] == citation["quote"]
    assert answer["citations"]
    assert main([*ask, "Who won the chess olympiad in Dresden?"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] is None


def test_what_a_folder_has_that_nobody_reads_is_named(tmp_path, capsys):
    for name in ("a.txt", "b.rtf", "c.rtf", "d.png", "noending"):
        (tmp_path / name).write_text("The mill grinds rye.")
    add = [
        "rag",
        "add",
        str(tmp_path),
        "--index",
        str(tmp_path / "x.index"),
        "--embedder",
        "hashing",
    ]
    assert main(add) == 0
    out, err = capsys.readouterr()
    assert out.startswith("1 new")
    assert "3 .rtf" not in err
    assert "skipped, there is no reader for them: " in err
    assert "2 .rtf (b.rtf, c.rtf)" in err
    assert "1 no ending (noending)" in err
