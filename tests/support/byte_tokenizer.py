"""A small byte-level BPE tokenizer (GPT-2's pre-tokenizer) trained on a few lines:
`write_tokenizer(folder, 512)`.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

LINES = [
    "The bridge keeper counts the boats that pass below the old stone arch.",
    "Three boats came by today, and one of them carried apples.",
    "She asked the keeper for the time, and he pointed at the sun.",
    "At night the lanterns are lit, and the river carries their light away.",
]


def write_tokenizer(folder: Path, vocab_size: int) -> None:
    """Writes `tokenizer.json` with at most `vocab_size` tokens, `<unk>`, `<s>`, `</s>` being 0, 1
    and 2.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
