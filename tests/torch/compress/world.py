"""A made-up world for whole runs: a Nemotron-shaped teacher with a tokenizer of its own, and a
text."""

from __future__ import annotations

import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.support.checkpoints import SPECS, random_weights, write_folder

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "bird",
    "runs",
    "sleeps",
    "sings",
    "over",
    "under",
    "house",
    "tree",
    "river",
    "and",
    "then",
]


def write_world(root: Path) -> Path:
    """`root/teacher` (a folder with tokenizer.json) and `root/text.txt` (60 paragraphs)."""
    rng = random.Random(0)
    text = "\n\n".join(" ".join(rng.choices(WORDS, k=200)) + "." for _ in range(60))
    (root / "text.txt").write_text(text)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([text], trainer)
    spec = SPECS["nemotron"].replace(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=96, intermediate_size=288
    )
    folder = write_folder(spec, random_weights(spec, seed=1), root / "teacher")
    tokenizer.save(str(folder / "tokenizer.json"))
    return root
