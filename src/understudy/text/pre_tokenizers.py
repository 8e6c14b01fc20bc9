"""Pre-tokenizers of byte-level vocabularies by the names that GGUF gives them, as llama.cpp splits
words for each.

The names, their patterns and what goes with them are those of `llama-vocab.cpp` (llama.cpp, October
2026). Not here, and refused by name: those that need code of their own there (gemma4, kimi-k2,
afmoe, sarvam-moe, whitespace, chameleon).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tokenizers import Regex, pre_tokenizers

_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3 = rf"{_SHORT}|{_WORD}|\p{{N}}{{1,3}}|{_SYMBOLS}|{_SPACES}"
_QWEN2 = rf"{_SHORT}|{_WORD}|\p{{N}}|{_SYMBOLS}|{_SPACES}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%s"
    r"|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _SPACES
)
_TEKKEN = _CASED % ("", "", "")
_GPT_4O = _CASED % (f"{_SHORT}?", f"{_SHORT}?", "{1,3}")
_PUNCTUATION = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
_DEEPSEEK_V3 = (
    rf"{_PUNCTUATION}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|"
    + _SPACES
)
_KANA_AND_HAN = "[一-龥\u3040-ゟ゠-ヿ]+"
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"


def _splits(*patterns: str) -> Callable[[], Any]:
    """Cuts by each pattern in turn, matches and what lies between them apart, then writes bytes as
    characters.
    """

    def make() -> Any:
        steps = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
        return pre_tokenizers.Sequence(
            [*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )

    return functools.cache(make)


def _gpt2() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _digits_then_gpt2() -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2()])


# `tokenizer.ggml.pre` -> (pre-tokenizer, whether a word that is in the vocabulary is taken whole).
# A converter takes the first that splits its probe alike, so the common ones stand in front.
PRE_TOKENIZERS: dict[str, tuple[Callable[[], Any], bool]] = {
    "gpt-2": (_gpt2, False),
    "smollm": (_digits_then_gpt2, False),
    "llama-bpe": (_splits(_LLAMA3), True),
    "qwen2": (_splits(_QWEN2), False),
    "tekken": (_splits(_TEKKEN), True),
    "default": (
        _splits(r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
        False,
    ),
    "dbrx": (_splits(_LLAMA3), False),
    "gpt-4o": (_splits(_GPT_4O), False),
    "qwen35": (
        _splits(
            rf"{_SHORT}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
            rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}"
        ),
        False,
    ),
    "deepseek-v3": (_splits(r"\p{N}{1,3}", _KANA_AND_HAN, _DEEPSEEK_V3), False),
    "deepseek-coder": (
        _splits(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"),
        False,
    ),
    "falcon": (_splits(r"[\p{P}$+<=>^~|`]+", _GPT2, "[0-9][0-9][0-9]"), False),
    "bloom": (_splits(_BLOOM), False),
    "viking": (_splits(_BLOOM, r"\p{N}"), False),
    "seed-coder": (
        _splits(rf"{_SHORT}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_SPACES}"),
        False,
    ),
    "ufakzeka": (_splits(rf"{_WORD}|\p{{N}}|{_SYMBOLS}|{_SPACES}"), False),
}
# Names that llama.cpp treats alike.
PRE_ALIASES: dict[str, str] = {
    name: target
    for target, names in {
        "gpt-2": "phi-2 mpt olmo exaone4 jais trillion granite-docling a.x-4.0 mellum gigachat "
        "modern-bert "
        "jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe",
        "smollm": "codeshell exaone minerva-7b starcoder refact command-r mellum2",
        "llama-bpe": "llama3 llama-v3 pixtral falcon3 falcon-h1 midm-2.0 lfm2 jina-v5-nano",
        "qwen2": "deepseek-r1-qwen megrez stablelm2 kormo f2llmv2 hunyuan solar-open grok-2 "
        "bailingmoe bailingmoe2 llada-moe",
        "dbrx": "smaug-bpe glm4 chatglm-bpe",
        "gpt-4o": "llama4 kanana2 talkie minimax-m2",
        "deepseek-v3": "hunyuan-dense joyai-llm hy_v4",
        "bloom": "gpt3-finnish poro-chat",
    }.items()
    for name in names.split()
}
PRE_ADDS_BOS = frozenset(
    {"llama-bpe", "tekken"}
)  # where no key says whether a text begins with one
PRE_WITHOUT_BOS = frozenset({"glm4", "chatglm-bpe"})  # where no key names the beginning token
