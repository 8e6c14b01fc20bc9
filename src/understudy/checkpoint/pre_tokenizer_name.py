"""The name that GGUF has for the pre-tokenizer of a tokenizer.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer as FastTokenizer

from understudy.errors import UnsupportedError
from understudy.text.pre_tokenizers import PRE_TOKENIZERS

# Pre-tokenizers are told apart by what they do to this: digits, contractions, marks, runs of
# blanks, case changes, slashes.
_PROBE = (
    "Hello WORLD it's IT'S we'LL 1 12 123 1234 12345 3.14 x2y camelCase HTMLParser naïve é e\u0301 "
    "日本語 русский ١٢٣ "
    "a  b   c\tq\n\n  d \n e!!! ...\n\n/path/to //\n\u00a0\u3000 🙂👩‍🚀 _under_score ﬁ Ⅷ ½ Ada'selde "
    "\r\n\r\nend   "
)


def pre_tokenizer_name(description: Mapping[str, Any], notes: list[str]) -> str:
    """`tokenizer.ggml.pre` of a tokenizer.json: the known pre-tokenizer that splits a probe in the
    same way.

    Raises:
        UnsupportedError: none does.
    """
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    fast = FastTokenizer.from_str(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [],
                "pre_tokenizer": description.get("pre_tokenizer"),
                "model": empty,
            }
        )
    )
    if fast.pre_tokenizer is None:
        raise UnsupportedError("tokenizer without a pre-tokenizer", where="tokenizer.json")
    wanted = [piece for piece, _ in fast.pre_tokenizer.pre_tokenize_str(_PROBE)]
    matches = [
        name
        for name, (make, _) in PRE_TOKENIZERS.items()
        if [piece for piece, _ in make().pre_tokenize_str(_PROBE)] == wanted
    ]
    if not matches:
        raise UnsupportedError(
            "pre-tokenizer has no name in GGUF",
            where="tokenizer.json",
            expected=" or ".join(PRE_TOKENIZERS),
            do="keep this model as a Hugging Face folder",
        )
    takes_words = bool(description["model"].get("ignore_merges"))
    same = [name for name in matches if PRE_TOKENIZERS[name][1] == takes_words]
    if not same:
        notes.append(
            f"tokenizer: pre-tokenizer {matches[0]} differs in whether whole words of the "
            "vocabulary are taken unmerged"
        )
    return (same or matches)[0]
