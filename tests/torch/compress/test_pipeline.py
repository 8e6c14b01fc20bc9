"""The whole way on a tiny model: a folder and a text go in; a smaller folder, a GGUF, reports and a
card come out."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers

from tests.support.checkpoints import SPECS, random_weights, write_folder
from tests.torch.compress.world import write_world
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.lineage import lineage_of
from understudy.compress.data import Sequences, TextEncoder, mixed, read_sequences
from understudy.compress.folder import open_source
from understudy.compress.pipeline import Pipeline
from understudy.compress.recipe import parse_recipe, read_recipe
from understudy.errors import DocumentError, FormatError, MissingError, UsageError
from understudy.report.provenance import model_sha256


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


def _raw(world: Path, out: Path, **tables) -> dict:
    raw = {
        "source": {"model": str(world / "teacher")},
        "data": {
            "train": [str(world / "text.txt")],
            "length": 32,
            "calibration_sequences": 16,
            "held_out_sequences": 8,
        },
        "prune": {"intermediate_size": 192, "num_heads": 4},
        "distill": {
            "tokens": 24 * 8 * 32,
            "batch_size": 8,
            "learning_rate": 1e-4,
            "checkpoint_steps": 10,
        },
        "quantize": {"weights": "q4", "embedding": "q8", "head": "q8"},
        "output": {"folder": str(out)},
    }
    return raw | tables


@pytest.fixture(scope="module")
def finished(world: Path, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return out, Pipeline(parse_recipe(_raw(world, out))).run()


@pytest.mark.parametrize("kind", ["auxiliary", "second"])
def test_texts_that_are_read_late_are_looked_for_before_any_work(
    kind: str, world: Path, tmp_path
) -> None:
    raw = _raw(world, tmp_path / "out")
    raw["data"][kind] = [str(tmp_path / "none.txt")]
    with pytest.raises(DocumentError, match="is not there"):
        Pipeline(parse_recipe(raw)).run()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("theirs", "taken"), [(40, 8), (3, 3)])
def test_other_texts_are_mixed_in_as_far_as_they_reach(theirs: int, taken: int) -> None:
    own, others = (
        Sequences(np.full((n, 5), value, np.int32), np.ones((n, 4), np.uint8))
        for n, value in ((100, 1), (theirs, 2))
    )
    rows = mixed(own, others, 16)
    assert [len(rows), int((rows.tokens[:, 0] == 2).sum())] == [16, taken]
    assert np.array_equal(mixed(own, others, 16).tokens, rows.tokens)
    assert len(own.spread(200)) == 100


def test_half_of_the_calibration_is_taken_from_the_texts_beside_the_training_data(
    world: Path, tmp_path
) -> None:
    (tmp_path / "auxiliary.txt").write_text("the dog runs home. " * 400)
    raw = _raw(world, tmp_path / "out")
    raw["data"]["auxiliary"] = [str(tmp_path / "auxiliary.txt")]
    pipeline = Pipeline(parse_recipe(raw))
    others = {row.tobytes() for row in pipeline.context.read(pipeline.recipe.data.auxiliary).tokens}
    is_other = [row.tobytes() in others for row in pipeline.context.calibration.tokens]
    assert (len(is_other), sum(is_other)) == (16, 8)
    assert 0 < sum(is_other[:8]) < 8, "both kinds are among the rows that choose a ridge"


def test_the_student_is_smaller_and_opens_in_stock_transformers(finished) -> None:
    _, result = finished
    model = transformers.AutoModelForCausalLM.from_pretrained(
        result.folder, dtype=torch.float32
    ).eval()
    ours = open_source(result.folder)
    assert (ours.network.spec.intermediate_size, ours.network.spec.num_heads) == (192, 4)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours.network(ids), model(ids).logits, atol=1e-4, rtol=1e-4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(result.folder)
    assert tokenizer("the cat sleeps").input_ids == ours.encoder.text("the cat sleeps")


def test_every_stage_leaves_figures_and_a_page(finished) -> None:
    out, result = finished
    for stage in ("prune", "distill", "."):
        content = json.loads((out / stage / "report.json").read_text())
        page = (out / stage / "report.html").read_text()
        assert content["figures"]
        assert page.startswith("<!doctype html>")
        assert "<script" not in page
        assert "http://" not in page
        assert "https://" not in page
    stages = {r.stage: r.figures for r in result.reports}
    assert stages["prune"]["quality"]["kl"] < stages["prune"]["trimmed"]["kl"]
    assert stages["distill"]["quality"]["kl"] < stages["prune"]["quality"]["kl"]
    assert "<svg" in (out / "distill" / "report.html").read_text()


def test_the_gguf_holds_exactly_the_quantized_network(finished) -> None:
    _, result = finished
    figures = result.reports[-1].figures
    assert figures["gguf against its own network"]["kl"] < 1e-6
    reader = gguf.GGUFReader(result.gguf)
    types = {t.name: t.tensor_type.name for t in reader.tensors}
    assert types["blk.0.ffn_up.weight"] == "Q4_0"
    assert types["token_embd.weight"] == "Q8_0"


def test_the_card_tells_the_lineage_and_the_config_the_zeros(finished) -> None:
    _, result = finished
    card = (result.folder / "README.md").read_text()
    assert "A student of teacher" in card
    assert "| intermediate size | 288 | 192 |" in card
    assert "| distill |" in card
    note = json.loads((result.folder / "config.json").read_text())["understudy"]
    assert len(note["zero_rates"]) == 3
    assert all(0.2 < rate < 0.8 for rate in note["zero_rates"])


def test_the_files_carry_their_lineage_without_places_and_the_report_names_the_file(
    world: Path, finished
) -> None:
    out, result = finished
    lineages = [lineage_of(open_checkpoint(path).metadata) for path in (result.folder, result.gguf)]
    for lineage in lineages:
        assert (lineage["teacher"], lineage["teacher_sha256"]) == (
            "teacher",
            model_sha256(world / "teacher"),
        )
        assert [stage["stage"] for stage in lineage["stages"]] == ["prune", "distill"]
        assert lineage["stages"][-1]["quality"]["kl"] > 0
        assert lineage["recipe"]["data"]["train"] == ["text.txt"]
        assert str(world) not in json.dumps(lineage)
    assert json.loads((out / "report.json").read_text())["run"]["model_sha256"] == model_sha256(
        result.gguf
    )


def test_a_finished_stage_is_not_run_again(world: Path, finished, monkeypatch) -> None:
    out, _ = finished
    monkeypatch.setattr(
        "understudy.compress.stages.prune.reconstruct", lambda *a, **k: pytest.fail("ran again")
    )
    monkeypatch.setattr(
        "understudy.compress.stages.training.distill", lambda *a, **k: pytest.fail("ran again")
    )
    raw = _raw(world, out)
    raw["quantize"]["method"] = "scale_search"  # a later stage may change
    result = Pipeline(parse_recipe(raw)).run()
    assert [r.stage for r in result.reports] == ["prune", "distill", "export"]


def test_all_axes_correction_live_teacher_and_bits_to_spend(world: Path, tmp_path: Path) -> None:
    raw = _raw(world, tmp_path / "out")
    raw["prune"] = {
        "num_layers": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "num_kv_heads": 1,
    }
    raw["prune"] |= {"criterion": "minitron", "depth": "contiguous", "residual_heads": True}
    raw["correct"] = {"tokens": 2 * 8 * 32, "learning_rate": 1e-4}
    raw["distill"] |= {"teacher": "live", "state_loss": "cosine"}
    raw["quantize"] = {"method": "scale_search", "max_bits": 7.0, "tune_tokens": 8 * 8 * 32}
    raw["output"]["threshold_kl"] = 0.05
    result = Pipeline(parse_recipe(raw)).run()
    final = result.reports[-1].figures
    assert final["gguf"]["bits_per_weight"] <= 7.0
    assert final["gguf"]["kl"] < final["before tuning"]["kl"]
    assert 0 <= final["kv int8"]["kl"] < 0.1
    assert final["seconds"] > 0
    note = json.loads((result.folder / "config.json").read_text())["understudy"]
    assert len(note["thresholds"]["values"]) == 2
    assert note["thresholds"]["kl"] <= 0.05
    assert [r.stage for r in result.reports] == ["prune", "correct", "distill", "export"]


def test_a_searched_shape_goes_through_the_whole_pipeline(world: Path, tmp_path: Path) -> None:
    raw = _raw(world, tmp_path / "out")
    steps = {"hidden_size": 32, "intermediate_size": 96, "num_layers": 1}
    raw["search"] = {
        "target": 240_000,
        "tolerance": 0.12,
        "steps": steps,
        "max_candidates": 3,
        "rungs": [512],
    }
    raw["search"] |= {"learning_rate": 1e-4}
    del raw["prune"]
    result = Pipeline(parse_recipe(raw)).run()
    table = json.loads((tmp_path / "out" / "search" / "report.json").read_text())["tables"][
        "candidates"
    ]
    assert 1 < len(table) <= 3
    assert (
        open_source(result.folder).network.spec.intermediate_size == table[0]["intermediate_size"]
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"search": {"target": 1e5}}, UsageError, r"\[search\] finds the shape"),
        ({"prun": {}}, UsageError, "unknown table; expected"),
        ({"prune": {"intermediate": 3}}, UsageError, r"\[prune\]: unknown key"),
        ({"prune": {"criterion": "vibes"}}, UsageError, "unknown criterion"),
        (
            {"prune": {"intermediate_size": 1000}},
            UsageError,
            "target intermediate_size is impossible",
        ),
        ({"prune": {"num_heads": 3}}, UsageError, "do not divide"),
        (
            {"prune": {"intermediate_size": 100}},
            UsageError,
            "cannot be quantized; expected a multiple of 32",
        ),
        ({"distill": {"tokens": "many"}}, UsageError, "tokens"),
        ({"distill": {"tokens": 10, "teacher": "oracle"}}, UsageError, "teacher is cache or live"),
        (
            {"distill": {"tokens": 10, "batch_size": 10_000}},
            UsageError,
            "fewer sequences than one batch",
        ),
        ({"distill": {"learning_rate": 1.0}}, UsageError, "keys are missing; found no tokens"),
        ({"quantize": {"weights": "q2"}}, UsageError, "grid 'q2' is unknown"),
        ({"source": {"model": "/nowhere/at/all"}}, MissingError, "no such model"),
    ],
)
def test_bad_recipes_end_in_one_line_before_anything_is_made(
    world, tmp_path, change, error, message
) -> None:
    with pytest.raises(error, match=message):
        Pipeline(parse_recipe(_raw(world, tmp_path / "out", **change))).run()
    assert not (tmp_path / "out").exists()


def test_a_teacher_without_a_tokenizer_is_refused(world: Path, tmp_path: Path) -> None:
    spec = SPECS["nemotron"]
    bare = write_folder(spec, random_weights(spec), tmp_path / "bare")
    with pytest.raises(MissingError, match="no tokenizer"):
        Pipeline(parse_recipe(_raw(world, tmp_path / "out", source={"model": str(bare)}))).run()
    assert not (tmp_path / "out").exists()


def test_recipes_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="recipe is not there"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[source\n")
    with pytest.raises(FormatError, match="recipe is not TOML"):
        read_recipe(tmp_path / "bad.toml")


class _Words:
    """An encoder whose ids are word numbers; assistant turns are closed by 1."""

    end_id = 0

    def text(self, text: str) -> list[int]:
        return [2 + hash(word) % 50 for word in text.split()]

    def chat(self, chat, count: int, is_open: bool) -> list[int]:
        ids = []
        for message in chat.messages[:count]:
            ids += [99 if message["role"] == "user" else 98, *self.text(message["content"]), 1]
        return ids + [98] * is_open


def test_only_assistant_turns_are_learnt(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "a b c"}, {"role": "assistant", "content": "d e"}]
    (tmp_path / "chat.jsonl").write_text(
        json.dumps({"messages": chat}) + "\n" + json.dumps({"text": "x y z"}) + "\n"
    )
    rows = read_sequences([tmp_path / "chat.jsonl"], _Words(), 11)
    assert rows.tokens[0, [0, 4, 5, 8, 9]].tolist() == [99, 1, 98, 1, 0]
    assert rows.mask[0].tolist() == [
        0,
        0,
        0,
        0,
        0,
        1,
        1,
        1,
        1,
        1,
        1,
    ]  # d, e, their end; the end of the text; x, y


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a b c d"}\n{"text": \n', r"chat\.jsonl:2: record is not JSON"),
        (
            '{"txt": "a"}\n',
            r"chat\.jsonl:1: record has neither text nor messages; expected .*; found \['txt'\]",
        ),
        ('{"messages": []}\n', "neither text nor messages"),
        ('{"messages": [{"role": "user"}]}\n', "message needs a role and a content"),
        ('{"text": ""}\n', "neither text nor messages"),
        ('{"text": "short"}\n', "data is shorter than one row"),
        ("", "data is shorter than one row"),
        ('{"messages": [{"role": "user", "content": "a b c d e f g h i j"}]}\n' * 3, None),
    ],
)
def test_broken_records_are_named_with_their_line(
    content: str, message: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(content)
    if message is None:
        assert read_sequences([path], _Words(), 8).mask.sum() > 0  # the end of each text counts
        return
    with pytest.raises(DocumentError, match=message):
        read_sequences([path], _Words(), 8)


def test_text_that_is_not_utf8_and_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 " * 2000)
    with pytest.raises(DocumentError, match="cannot be read"):
        read_sequences([tmp_path / "latin.txt"], _Words(), 8)
    with pytest.raises(DocumentError, match="is not there"):
        read_sequences([tmp_path / "none.txt"], _Words(), 8)


def test_packing_loses_no_prediction(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("\n".join(f"w{i}" for i in range(1000)))
    rows = read_sequences([tmp_path / "t.txt"], _Words(), 10)
    assert np.array_equal(rows.tokens[1:, 0], rows.tokens[:-1, -1])


def test_the_real_encoder_never_makes_markers_of_text(world: Path) -> None:
    encoder = open_source(world / "teacher").encoder
    assert isinstance(encoder, TextEncoder)
    assert 2 not in encoder.text("a cat </s> sleeps")


def test_a_smaller_vocabulary_comes_first(world: Path, tmp_path):
    before = open_checkpoint(world / "teacher").spec.vocab_size
    tables = {"vocabulary": {"size": before - 6}, "prune": {"intermediate_size": 192}}
    raw = _raw(world, tmp_path, **tables)
    del raw["distill"]
    result = Pipeline(parse_recipe(raw)).run()
    assert open_checkpoint(result.folder).spec.vocab_size == before - 6
    assert open_checkpoint(result.gguf).spec.vocab_size == before - 6
    source, student = (open_source(path) for path in (world / "teacher", result.folder))
    text = (world / "text.txt").read_text()[:200]
    found = student.encoder.text(text)
    assert student.encoder.tokenizer.decode(found) == text
    assert len(found) >= len(source.encoder.text(text))
    assert (tmp_path / "vocabulary" / "report.html").exists()
    said: list[str] = []
    Pipeline(parse_recipe(raw), say=said.append).run()
    assert any("kept" in line for line in said)


def test_a_student_of_its_own_is_not_trimmed_with_it(world: Path, tmp_path):
    raw = _raw(world, tmp_path, vocabulary={"size": 270})
    raw["source"]["student"] = str(world / "teacher")
    with pytest.raises(UsageError, match="Leave out student"):
        parse_recipe(raw)
