"""A smaller vocabulary: whatever is kept, every text encodes; one of kept pieces encodes as before,
and its logits are the same to the bit."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

import understudy
from tests.support.checkpoints import SPECS, random_weights, write_folder
from tests.support.nasty import TEXTS
from tests.support.nemotron_tokenizer import PATH, training_lines
from understudy.checkpoint.checkpoint import Checkpoint, open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.cli import main
from understudy.compress.trim.checkpoint import trimmed_checkpoint
from understudy.compress.trim.choose import Wanted, choose
from understudy.compress.trim.pieces import pieces_of, steps_of
from understudy.compress.trim.run import trim_vocabulary
from understudy.compress.trim.settings import VocabularySettings
from understudy.errors import UnsupportedError, UsageError
from understudy.spec import QuantSpec
from understudy.text import open_tokenizer

LINES = training_lines()[:200]


def _byte_level(path: Path) -> None:
    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<unk>", "<s>", "</s>", "<|reserved_1|>", "<|reserved_2|>", "<tool>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    fast.train_from_iterator([*LINES, *TEXTS], trainer)
    fast.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    fast.save(str(path / "tokenizer.json"))
    settings = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "added_tokens_decoder": {"5": {"content": "<tool>", "special": True}},
    }
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    (path / "generation_config.json").write_text('{"eos_token_id": [2], "temperature": 0.5}')


@pytest.fixture(scope="module", params=["tokenizer.json", "sentencepiece", "gguf", "gguf of bytes"])
def checkpoint(request, tmp_path_factory) -> Checkpoint:
    """The same random network under each kind of tokenizer."""
    folder = tmp_path_factory.mktemp("source")
    spec = SPECS["llama"].replace(vocab_size=2112, max_positions=512)
    write_folder(spec, random_weights(spec, seed=2), folder, config={"eos_token_id": 2})
    if request.param in ("tokenizer.json", "gguf of bytes"):
        _byte_level(folder)
    else:
        shutil.copy(PATH, folder / "tokenizer.model")
    if request.param.startswith("gguf"):
        save_checkpoint(open_checkpoint(folder), folder / "model.gguf", QuantSpec(weights="q8"))
        return open_checkpoint(folder / "model.gguf")
    return open_checkpoint(folder)


def _kept(checkpoint: Checkpoint, texts: list[str], size: int) -> tuple[int, ...]:
    tokenizer = open_tokenizer(checkpoint.tokenizer_source)
    counts = Counter(token for text in texts for token in tokenizer.encode(text))
    needed = frozenset(filter(None, (tokenizer.bos_id, *tokenizer.eos_ids)))
    return choose(pieces_of(checkpoint.tokenizer_source), Wanted(size, counts, needed)).kept


@pytest.mark.parametrize("seed", range(6))
def test_any_text_encodes_and_one_of_kept_pieces_as_before(checkpoint, seed):
    rng = random.Random(seed)
    texts = rng.sample([*LINES, *TEXTS], 30)
    size = rng.randrange(560, 820)
    kept = _kept(checkpoint, texts, size)
    assert len(kept) <= size
    before = open_tokenizer(checkpoint.tokenizer_source)
    after = open_tokenizer(trimmed_checkpoint(checkpoint, kept).tokenizer_source)
    numbers = {old: new for new, old in enumerate(kept)}
    whole = 0
    for text in [*TEXTS, *LINES]:
        ids, found = before.encode(text), after.encode(text)
        assert after.decode(found) == before.decode(ids), text
        if all(token in numbers for token in ids):
            whole += 1
            assert found == [numbers[token] for token in ids], text
    assert whole >= 30


def test_logits_of_kept_pieces_are_the_same_to_the_bit(checkpoint, tmp_path):
    kept = _kept(checkpoint, LINES[:40], 700)
    gguf = checkpoint.path.suffix == ".gguf"
    place = tmp_path / ("trimmed.gguf" if gguf else "trimmed")
    save_checkpoint(trimmed_checkpoint(checkpoint, kept), place)
    before = understudy.load(checkpoint.path, use_cache=False, context=256)
    after = understudy.load(place, use_cache=False, context=256)
    ids = before.tokenizer.encode(LINES[3])
    numbers = {old: new for new, old in enumerate(kept)}
    assert after.tokenizer.encode(LINES[3]) == [numbers[token] for token in ids]
    expected = np.asarray(before.logits(ids))[..., list(kept)]
    np.testing.assert_array_equal(
        np.asarray(after.logits(after.tokenizer.encode(LINES[3]))), expected
    )


def test_stock_tools_read_the_files_with_the_same_ids(checkpoint, tmp_path):
    kept = _kept(checkpoint, LINES[:40], 700)
    save_checkpoint(trimmed_checkpoint(checkpoint, kept), tmp_path / "folder")
    ours = understudy.AutoTokenizer.from_pretrained(tmp_path / "folder")
    files = {path.name for path in (tmp_path / "folder").iterdir()}
    assert "tokenizer.json" in files or "tokenizer.model" in files
    if "tokenizer.json" in files:
        fast = FastTokenizer.from_file(str(tmp_path / "folder" / "tokenizer.json"))
        for text in LINES[:20]:
            found = fast.encode(text, add_special_tokens=False).ids
            assert found == list(ours(text, add_special_tokens=False)["input_ids"])
    if "tokenizer.model" in files:
        sentencepiece = pytest.importorskip("sentencepiece")
        spm = sentencepiece.SentencePieceProcessor(
            model_file=str(tmp_path / "folder" / "tokenizer.model")
        )
        assert spm.vocab_size() == len(kept)
        for text in LINES[:20]:
            assert spm.encode(text) == list(ours(text, add_special_tokens=False)["input_ids"])


def test_settings_name_the_new_ids(tmp_path):
    spec = SPECS["llama"].replace(vocab_size=2112)
    folder = write_folder(
        spec, random_weights(spec), tmp_path / "source", config={"eos_token_id": 2}
    )
    _byte_level(folder)
    path = folder / "generation_config.json"
    held = {"bad_words_ids": [[5, 2], [3], [5, 3]], "sequence_bias": [[[2, 5], 1.5], [[4, 2], 2.0]]}
    path.write_text(json.dumps(json.loads(path.read_text()) | held))
    source = open_checkpoint(folder)
    kept = _kept(source, LINES[:10], 600)
    save_checkpoint(trimmed_checkpoint(source, kept), tmp_path / "made")
    made = {f.name: f.read_text() for f in (tmp_path / "made").glob("*.json")}
    tool = kept.index(5)  # two reserved markers are gone
    assert tool == 3
    assert list(json.loads(made["tokenizer_config.json"])["added_tokens_decoder"]) == ["3"]
    assert json.loads(made["generation_config.json"]) == {
        "eos_token_id": [2],
        "temperature": 0.5,
        "bad_words_ids": [[3, 2]],
        "sequence_bias": [[[2, 3], 1.5]],
    }
    assert json.loads(made["config.json"])["vocab_size"] == len(kept)


def test_steps_of_a_piece():
    ranks = {("a", "b"): 1.0, ("b", "c"): 0.0, ("a", "bc"): 2.0}
    assert steps_of("abc", lambda *pair: ranks.get(pair)) == {"a", "b", "c", "bc", "abc"}


def test_too_few_pieces_are_refused(checkpoint):
    with pytest.raises(UsageError, match="indispensable"):
        _kept(checkpoint, LINES, 100)


def test_other_kinds_are_refused(tmp_path):
    spec = SPECS["llama"].replace(vocab_size=8)
    folder = write_folder(spec, random_weights(spec), tmp_path)
    words = FastTokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.save(str(folder / "tokenizer.json"))
    with pytest.raises(UnsupportedError, match="cannot be trimmed"):
        pieces_of(open_checkpoint(folder).tokenizer_source)


def test_the_command(checkpoint, tmp_path, capsys):
    texts, tools = tmp_path / "texts.txt", tmp_path / "tools.json"
    texts.write_text("\n\n".join(LINES))
    tools.write_text('[{"name": "open_gate", "parameters": {"type": "object"}}]')
    arguments = [str(checkpoint.path), str(tmp_path / "out"), "--vocabulary", "700"]
    code = main(["prune", *arguments, "--texts", str(texts), "--tools", str(tools), "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert code == 0
    assert figures["pieces"]["after"] <= 700
    assert figures["texts that encode as before"] > 0
    assert (tmp_path / "out" / "report.html").exists()
    name = "model.gguf" if checkpoint.path.suffix == ".gguf" else "model"
    made = open_checkpoint(tmp_path / "out" / name)
    assert made.metadata.get("understudy") or made.metadata.get("understudy.lineage")
    assert main(["prune", *arguments]) == 2
    assert "--texts FILE" in capsys.readouterr().err


def test_a_vocabulary_that_is_small_already(checkpoint, tmp_path):
    with pytest.raises(UsageError, match="nothing to trim"):
        trim_vocabulary(checkpoint.path, tmp_path, VocabularySettings(1 << 20))
