"""The tokenizer in a GGUF's metadata. Where a key is missing, llama.cpp's default for that kind of
vocabulary counts.

The rules are those of `llama_vocab::impl::load` (llama.cpp, October 2026);
docs/compatibility/prompts.md has them as a table.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.checkpoint.end_tokens import GGUF_ENDS, gguf_ends
from understudy.errors import CheckpointWarning, FormatError
from understudy.formats.tokenizer_source import AddedToken, TokenizerSource
from understudy.text.pre_tokenizers import PRE_ADDS_BOS, PRE_ALIASES, PRE_WITHOUT_BOS
from understudy.text.spm import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED

# Ours alone: how the source of a converted vocabulary treats blanks, which GGUF has no keys for.
# Others ignore them.
_PREFIX = "understudy.tokenizer.prefix"
_INSIDE = "understudy.tokenizer.inside_ids"
_INT32 = 5
_DOUBLES = "understudy.tokenizer.doubles_blank"


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What a kind of vocabulary has where its keys are missing."""

    bos: int | None = None
    eos: int | None = None
    unknown: int | None = None
    add_bos: bool = False
    add_space_prefix: bool = False


def _defaults(model: str, pre: str) -> _Defaults:
    if model == "llama":
        return _Defaults(bos=1, eos=2, unknown=0, add_bos=True, add_space_prefix=True)
    if model == "gpt2":
        bos = None if pre in PRE_WITHOUT_BOS else 11
        return _Defaults(bos=bos, eos=11, add_bos=PRE_ALIASES.get(pre, pre) in PRE_ADDS_BOS)
    return _Defaults()


class _Keys:
    """Typed reading of `tokenizer.ggml.*`."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.metadata = metadata

    def read(self, key: str, kind: type, default: Any) -> Any:
        value = self.metadata.get(f"tokenizer.ggml.{key}", default)
        if value is not default and type(value) is not kind:
            raise FormatError(
                "metadata value has the wrong type",
                where=f"tokenizer.ggml.{key}",
                found=type(value).__name__,
            )
        return value

    def read_list(self, key: str, *kinds: type, count: int | None = None) -> tuple[Any, ...]:
        """The entries; those beyond `count` are left out, as llama.cpp does."""
        values = self.read(key, list, [])
        if not all(type(value) in kinds for value in values):
            raise FormatError(
                "metadata list has entries of a wrong type",
                where=f"tokenizer.ggml.{key}",
                expected=kinds[0].__name__,
            )
        if values and count is not None and len(values) < count:
            raise FormatError(
                "metadata list is shorter than the tokens",
                where=f"tokenizer.ggml.{key}",
                expected=count,
                found=len(values),
            )
        return tuple(values[:count])

    def token(self, key: str, default: int | None, count: int) -> int | None:
        """A special token's id; one outside the vocabulary is replaced by the default."""
        found: int | None = self.read(f"{key}_token_id", int, None)
        default = default if default is not None and default < count else None
        if found is not None and not 0 <= found < count:
            _warn(f"{key}_token_id {found} is outside the vocabulary of {count}; found {default}")
            return default
        return default if found is None else found

    def tokens(self) -> tuple[str, ...]:
        texts = self.read_list("tokens", str)
        return tuple(text or f"[EMPTY_{token}]" for token, text in enumerate(texts))

    def scores(self, count: int, model: str) -> tuple[float, ...]:
        found = self.read_list("scores", float, int, count=count)
        return tuple(map(float, found)) or ((0.0,) * count if model == "llama" else ())


def gguf_tokenizer(metadata: Mapping[str, Any]) -> TokenizerSource | None:
    """From `tokenizer.*` metadata; None when there are no tokens.

    Raises:
        FormatError: a value of a wrong type.
    """
    if "tokenizer.ggml.tokens" not in metadata:
        return None
    keys = _Keys(metadata)
    model, pre = keys.read("model", str, ""), keys.read("pre", str, "")
    tokens = keys.tokens()
    count, defaults = len(tokens), _defaults(model, pre)
    bos = keys.token("bos", defaults.bos, count)
    unknown = keys.token("unknown", defaults.unknown, count)
    pad = keys.token("padding", None, count)
    ends = [keys.token("eos", defaults.eos, count)]
    ends += [keys.token(kind, None, count) for kind in ("eot", "eom")]
    opening = (bos,) if keys.read("add_bos_token", bool, defaults.add_bos) else ()
    closing = (ends[0],) if keys.read("add_eos_token", bool, False) else ()
    _warn_of_defaults(metadata, model, ends[0])
    eos = gguf_ends(ends, tokens)
    types = keys.read_list("token_type", int, count=count)
    types = _with_ends(types or _types(tokens, unknown, (bos, pad, *ends)), tokens, eos)
    templates = _templates(metadata)
    return TokenizerSource(
        "gguf",
        model=model,
        pre=pre or "default",
        tokens=tokens,
        scores=keys.scores(count, model),
        types=types,
        merges=keys.read_list("merges", str),
        bos_id=bos,
        eos_ids=eos,
        unk_id=unknown,
        pad_id=pad,
        opening_ids=tuple(token for token in opening if token is not None),
        closing_ids=tuple(token for token in closing if token is not None),
        add_space_prefix=keys.read("add_space_prefix", bool, defaults.add_space_prefix),
        prefix="first" if metadata.get(_PREFIX) == "first" else "always",
        doubles_blank=metadata.get(_DOUBLES) is not False,
        cuts_at_user_defined=_INSIDE not in metadata,
        added=_cutting(metadata, tokens, types),
        chat_template=templates.pop("default", None),
        named_templates=templates,
    )


def _types(
    tokens: tuple[str, ...], unknown: int | None, special: tuple[int | None, ...]
) -> tuple[int, ...]:
    """Types of a vocabulary without any: bytes by their spelling, the tokens that other keys name,
    the rest normal.
    """
    types = [BYTE if re.fullmatch("<0x[0-9A-F]{2}>", text) else NORMAL for text in tokens]
    for token in special:
        if token is not None:
            types[token] = CONTROL
    if unknown is not None:
        types[unknown] = UNKNOWN
    return tuple(types)


def _cutting(
    metadata: Mapping[str, Any], tokens: tuple[str, ...], types: tuple[int, ...]
) -> tuple[AddedToken, ...]:
    """The user-defined tokens that cut a text, where our converter noted those that do not."""
    inside = metadata.get(_INSIDE)
    if not isinstance(inside, list):
        return ()
    return tuple(
        AddedToken(token, text, is_special=False)
        for token, (text, kind) in enumerate(zip(tokens, types, strict=True))
        if kind == USER_DEFINED and token not in inside
    )


def prefix_metadata(source: TokenizerSource) -> dict[str, Any]:
    """Where a SentencePiece source differs from llama.cpp's way with blanks: one in front of what
    follows any marker.
    """
    found: dict[str, Any] = {}
    if source.prefix == "first":
        found[_PREFIX] = "first"
    if not source.doubles_blank:
        found[_DOUBLES] = False
    if not source.cuts_at_user_defined:
        added = {token.id for token in source.added}
        found[_INSIDE] = (
            _INT32,
            [i for i, t in enumerate(source.types) if t == USER_DEFINED and i not in added],
        )
    return found


def _with_ends(
    types: tuple[int, ...], tokens: tuple[str, ...], ends: tuple[int, ...]
) -> tuple[int, ...]:
    """Types in which the ends that are known by their text are control tokens, whatever the file
    says.
    """
    found = list(types)
    for token in ends:
        if tokens[token] in GGUF_ENDS and found[token] in (NORMAL, USER_DEFINED):
            found[token] = CONTROL
    return tuple(found)


def _templates(metadata: Mapping[str, Any]) -> dict[str, str]:
    """`tokenizer.chat_template` is the default, `tokenizer.chat_template.NAME` a named one."""
    found = {
        key.removeprefix("tokenizer.chat_template").lstrip(".") or "default": value
        for key, value in metadata.items()
        if key == "tokenizer.chat_template" or key.startswith("tokenizer.chat_template.")
    }
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _warn_of_defaults(metadata: Mapping[str, Any], model: str, eos: int | None) -> None:
    if model == "gpt2" and not metadata.get("tokenizer.ggml.pre"):
        _warn(
            "no tokenizer.ggml.pre; words are cut by llama.cpp's default, perhaps not as in "
            "training"
        )
    if eos is not None and "tokenizer.ggml.eos_token_id" not in metadata:
        _warn(f"no tokenizer.ggml.eos_token_id; {eos} ends a text, llama.cpp's default for {model}")


def _warn(text: str) -> None:
    warnings.warn(text, CheckpointWarning, stacklevel=3)
