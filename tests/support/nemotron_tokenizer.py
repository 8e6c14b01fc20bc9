"""A small stand-in for Nemotron's 256k vocabulary: a SentencePiece BPE model of the same layout,
trained on our own lines.

    0 <pad>  1 <unk>  2 <s>  3 </s>  4 … 1003 <extra_id_0> … <extra_id_999>  1004 … 1259 bytes  then
                                     merges, then single characters

    python -m tests.support.nemotron_tokenizer        # writes tests/data/nemotron_stand_in.model
                                                      anew; needs sentencepiece

Tests read the committed file, so that they need no sentencepiece.
"""

from __future__ import annotations

import io
import itertools
from pathlib import Path

from tests.support.nasty import TEXTS

PATH = Path(__file__).parents[1] / "data" / "nemotron_stand_in.model"
NUM_EXTRA = 1000
FIRST_EXTRA, FIRST_BYTE, FIRST_MERGE = 4, 1004, 1260
VOCAB_SIZE = 2048

WHO = [
    "The ferryman",
    "A young smith",
    "The keeper of the bridge",
    "Old Marta",
    "The captain",
    "Someone at the market",
]
DOES = [
    "waits for",
    "remembers",
    "is looking for",
    "sells",
    "has never seen",
    "will not talk about",
    "carries",
    "repairs",
]
WHAT = [
    "the red lantern",
    "a map of the northern coast",
    "two barrels of salted fish",
    "the missing apprentice",
    "an iron key",
]
WHEN = [
    "before sunrise.",
    "because the river is high.",
    "and asks for 12 coins.",
    "while it rains, as it does in March.",
    "again?",
]
LINES = [
    "User: What is the weather like today? Assistant: It is 22 degrees and the sky is clear.",
    "You are a friendly blacksmith in a small town. Answer briefly and stay in character.",
    'Call {"name": "open_gate", "arguments": {"side": "north", "seconds": 30}} and then tell the guard.',
    "If you do not know the answer, say that you do not know it.",
    "def area(width, height):\n    return width * height\n",
    "Die Brücke ist gesperrt. Le pont est fermé. El puente está cerrado. Мост закрыт. 橋は閉まっています。",
]


def training_lines() -> list[str]:
    """About a thousand sentences, the same each time."""
    sentences = [" ".join(words) for words in itertools.product(WHO, DOES, WHAT, WHEN)]
    texts = [*sentences, *(LINES * 20), *(TEXTS[4:10] * 10)]
    return [
        line for text in texts for line in text.split("\n") if line
    ]  # a line feed is the byte 1014, as in the original


def train(
    *, add_dummy_prefix: bool = True, vocab_size: int = VOCAB_SIZE, **options: object
) -> bytes:
    """The serialised model. Settings are those known of the original; `add_dummy_prefix` is not, so
    it is free.
    """
    import sentencepiece

    out = io.BytesIO()
    settings = {
        "model_type": "bpe",
        "vocab_size": vocab_size,
        "pad_id": 0,
        "unk_id": 1,
        "bos_id": 2,
        "eos_id": 3,
        "pad_piece": "<pad>",
        "user_defined_symbols": [f"<extra_id_{i}>" for i in range(NUM_EXTRA)],
        "byte_fallback": True,
        "split_digits": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": add_dummy_prefix,
        "character_coverage": 1.0,
        "hard_vocab_limit": False,
        "num_threads": 1,
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(training_lines()), model_writer=out, **(settings | options)
    )
    return out.getvalue()


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_bytes(train())
    print(f"{PATH}: {PATH.stat().st_size} bytes")
