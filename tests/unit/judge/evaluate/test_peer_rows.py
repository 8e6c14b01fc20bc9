"""The comparison with other engines: rows made in pieces, refusals of a foreign file, the table and
the picture."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from bench.peer_plot import draw
from bench.peer_rows import Result, Setting, Situation, table

SETTING = Setting(
    "a <small> model.gguf", 7, "a processor", 2, "avx512", "c0ffee", "peer 1", "default"
)


def situation(rounds: int, **changes) -> Situation:
    ours, theirs = [10.0, 20.0, 60.0][:rounds], [10.0, 5.0, 20.0][:rounds]
    plain = Situation(
        "decode", 16, 2048, 1, ours, theirs, [3e10] * rounds, [40.0, 40.0, 80.0][:rounds], 1e9
    )
    return dataclasses.replace(plain, **changes)


def test_ratios_are_medians_of_the_rounds_not_ratios_of_medians() -> None:
    found = situation(3).as_dict()
    assert found["ratio"] == {"median": 3.0, "min": 1.0, "max": 4.0}
    assert found["share_of_limit"] == 0.5
    assert found["peer_share_of_limit"] == 0.25
    assert found["work_per_second"] == 20e9


def test_pieces_add_rounds_and_rows_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "results" / "peers.json"
    first = Result.open(path, SETTING)
    first.situations.append(situation(2))
    first.pieces.append({"command": "one", "rounds": 2})
    first.write(path)

    second = Result.open(path, SETTING)
    row = second.row(Situation("decode", 16, 2048))
    assert row.ours == [10.0, 20.0]
    for values, value in (
        (row.ours, 60.0),
        (row.theirs, 20.0),
        (row.bandwidths, 3e10),
        (row.limits, 80.0),
    ):
        values.append(value)
    second.row(Situation("prefill", 128))  # asked for, but interrupted before its first round
    second.row(situation(1, kind="prefill", tokens=512, depth=0)).work = 2e9
    second.write(path)

    found = json.loads(path.read_text())
    assert [row["label"] for row in found["situations"]] == ["prefill 512", "decode at 2048"]
    assert found["situations"][1] == situation(3).as_dict()
    assert found["pieces"] == [{"command": "one", "rounds": 2}]
    assert [p.name for p in path.parent.iterdir()] == ["peers.json"]


@pytest.mark.parametrize(
    ("name", "value"), [("core", "beef"), ("processor", "another"), ("threads", 4), ("bytes", 8)]
)
def test_a_file_of_another_run_is_refused(tmp_path: Path, name: str, value) -> None:
    path = tmp_path / "peers.json"
    Result(SETTING).write(path)
    before = path.read_text()
    with pytest.raises(
        RuntimeError, match=f"{name} is .* there and {value!r} now; write to another file"
    ):
        Result.open(path, dataclasses.replace(SETTING, **{name: value}))
    assert path.read_text() == before


def test_the_table_names_work_and_limit() -> None:
    lines = table(
        [situation(3, kind="prefill", tokens=512, depth=0), situation(3, batch=4)], "llama.cpp"
    ).splitlines()
    assert lines[1].split() == [
        "prefill",
        "512",
        "20.0",
        "10.0",
        "3.00",
        "1.00",
        "…",
        "4.00",
        "20",
        "Gop/s",
        "30",
        "50%",
        "25%",
    ]
    assert lines[2].startswith("decode at 2048, 4 at once")
    assert "20.0 GB/s" in lines[2]


def test_the_picture_holds_every_situation_within_its_frame() -> None:
    rows = [
        situation(3).as_dict(),
        situation(3, batch=8, limits=[1.0, 1.0, 1.0]).as_dict(),
    ]  # beyond the limit: cut at it
    root = ElementTree.fromstring(
        draw([{"setting": dataclasses.asdict(SETTING), "situations": rows}] * 2)
    )
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("decode at 2048, 8 at once") == 2
    assert sum("a <small> model.gguf" in word for word in words) == 2
    assert words.count("3.00×") == 4
    of_8_bits = draw(
        [
            {
                "setting": dataclasses.asdict(dataclasses.replace(SETTING, kv="int8")),
                "situations": rows,
            }
        ]
    )
    assert "model.gguf · int8 caches · 2 threads" in of_8_bits
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for bar in root.iter("{http://www.w3.org/2000/svg}rect"):
        if "x" in bar.attrib:
            assert float(bar.attrib["x"]) + float(bar.attrib["width"]) < width
            assert float(bar.attrib["y"]) + float(bar.attrib["height"]) < height
