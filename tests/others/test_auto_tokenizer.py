"""`AutoTokenizer` of transformers 5.24 and ours on the same folders with keywords at random: equal
answers, or refused by both."""

from __future__ import annotations

import json
import random
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, processors

from tests.others.support import python_of
from tests.others.test_tokenizer_folders import PACKAGES
from tests.support.byte_level_folder import END, write_byte_level_folder
from tests.support.spm_folder import write_spm_folder
from understudy import AutoTokenizer
from understudy.errors import UsageError

pytestmark = pytest.mark.others
NUM_FOLDERS, NUM_CALLS = 60, 12
WORDS = ["hello", "world", "日本", " ", "  ", "a", "é", "\n", "<pad>", "hi", "ab", "1", "<q>"]
ASKED = {
    "tokenize": "t.tokenize(x)",
    "vocabulary": "sorted(t.get_vocab().items())",
    "added": "t.get_added_vocab()",
    "sizes": "[len(t), t.vocab_size]",
    "ids": "t.convert_tokens_to_ids(['a', 'nope', 'hello'])",
    "text": "t.convert_tokens_to_string(t.tokenize(x))",
    "frame": "[t.num_special_tokens_to_add(), t.num_special_tokens_to_add(pair=True)]",
    "sides": "[t.padding_side, t.truncation_side]",
    "names": "t.special_tokens_map",
    "decoded": "t.decode(t(x)['input_ids'], skip_special_tokens=True)",
    "padded": "dict(t.pad({'input_ids': [[5, 6], [7]]}))",
}
SCRIPT = """
import json, sys, warnings
warnings.filterwarnings("ignore")
from transformers import AutoTokenizer
answers = []
for folder, calls, x, asked in json.load(sys.stdin):
    t = AutoTokenizer.from_pretrained(folder)
    rows = []
    for texts, options in calls:
        try:
            rows.append(dict(t(*texts, **options)))
        except BaseException as error:
            rows.append(None)
    answers.append([rows, {name: eval(source) for name, source in asked.items()}])
print(json.dumps(answers))
"""


def write_random(source: random.Random, folder: Path) -> None:
    """A folder of either kind; a tokenizer.json with a post-processor at random."""
    if source.random() < 0.25:
        settings = {"tokenizer_class": "LlamaTokenizer", "legacy": False, "pad_token": "</s>"}
        sides = {f"add_{name}_token": source.random() < 0.5 for name in ("bos", "eos")}
        write_spm_folder(folder, settings | sides)
        return
    chosen: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
    for name, values in {
        "bos_token": [END],
        "padding_side": ["left", "right"],
        "truncation_side": ["left", "right"],
        "model_max_length": [6, 12],
    }.items():
        if source.random() < 0.4:
            chosen[name] = source.choice(values)
    write_byte_level_folder(folder, chosen, is_json=True)
    fast = Tokenizer.from_file(str(folder / "tokenizer.json"))
    fast.add_tokens(["<q>"])
    fast.decoder = decoders.ByteLevel()
    tokens = [(END, 0), ("<q>", fast.token_to_id("<q>"))]
    front = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A {END}:1 $B:1", special_tokens=tokens
    )
    both = processors.TemplateProcessing(
        single=f"{END} $A <q>", pair=f"{END} $A <q> $B:1 <q>:1", special_tokens=tokens
    )
    trims = processors.ByteLevel(trim_offsets=source.random() < 0.5)
    steps = source.choice([None, trims, front, [trims, front], [trims, both]])
    if steps is not None:
        fast.post_processor = processors.Sequence(steps) if isinstance(steps, list) else steps
    fast.save(str(folder / "tokenizer.json"))


def random_call(source: random.Random) -> tuple[list[Any], dict[str, Any]]:
    def text() -> str:
        return " ".join(source.choices(WORDS, k=source.randint(0, 6)))

    forms = [[text()], [text(), text()], [[text(), text(), text()]], [[text(), text()]] * 2]
    options: dict[str, Any] = {}
    for name, (share, values) in {
        "padding": (0.5, [True, "longest", "max_length", False]),
        "truncation": (0.5, [True, "longest_first", "only_first", "only_second", False]),
        "max_length": (0.5, [4, 6, 9, 15]),
        "padding_side": (0.3, ["left", "right"]),
        "pad_to_multiple_of": (0.2, [4, 8]),
        "return_token_type_ids": (0.3, [True]),
        "return_special_tokens_mask": (0.3, [True]),
        "return_offsets_mapping": (0.3, [True]),
        "return_length": (0.3, [True]),
        "add_special_tokens": (0.3, [True, False]),
        "split_special_tokens": (0.15, [True]),
    }.items():
        if source.random() < share:
            options[name] = source.choice(values)
    return source.choice(forms), options


def ours_of(folder: Path, calls: list[Any], x: str) -> list[Any]:
    t = AutoTokenizer.from_pretrained(folder)
    rows: list[Any] = []
    for texts, options in calls:
        try:
            rows.append(dict(t(*texts, **options)))
        except UsageError:
            rows.append(None)
    asked = {name: eval(source, {"t": t, "x": x}) for name, source in ASKED.items()}
    return json.loads(json.dumps([rows, asked]))


def test_every_answer_is_equal(tmp_path: Path) -> None:
    source = random.Random(8)
    jobs = []
    for number in range(NUM_FOLDERS):
        write_random(source, tmp_path / str(number))
        calls = [random_call(source) for _ in range(NUM_CALLS)]
        jobs.append(
            [str(tmp_path / str(number)), calls, " ".join(source.choices(WORDS, k=5)), ASKED]
        )
    answers = json.loads(
        subprocess.run(
            [str(python_of("transformers-5.24", PACKAGES)), "-c", SCRIPT],
            input=json.dumps(jobs),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    differ = []
    for (folder, calls, x, _), right in zip(jobs, answers, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = ours_of(Path(folder), calls, x)
        differ += [
            (call, mine, theirs)
            for call, mine, theirs in zip(calls, found[0], right[0], strict=True)
            if mine != theirs
        ]
        differ += [
            (name, found[1][name], right[1][name])
            for name in ASKED
            if found[1][name] != right[1][name]
        ]
    assert not differ, "\n".join(map(str, differ[:5]))
