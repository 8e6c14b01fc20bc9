"""A vocabulary in transformers' words: tokens and ids, special and added ones."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken

from understudy.compat.encoding import plain
from understudy.text import Tokenizer

NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


class TokenNames:
    """What `AutoTokenizer`'s result knows of single tokens; texts are its subclass's."""

    is_fast = True
    model_input_names = ("input_ids", "attention_mask")
    SPECIAL_TOKENS_ATTRIBUTES = tuple(f"{name}_token" for name in NAMES)

    def __init__(self, tokenizer: Tokenizer, extra_special: Sequence[str] = ()) -> None:
        self._tokenizer, self._extra_special = tokenizer, extra_special
        for kind in NAMES:  # `pad_token` may be set, as users of transformers do
            setattr(self, f"{kind}_token", tokenizer.special_tokens.get(f"{kind}_token"))

    def __getattr__(self, name: str) -> Any:
        if name.endswith("_token_id") and name.removesuffix("_token_id") in NAMES:
            text = getattr(self, name.removesuffix("_id"))
            return None if text is None else self.convert_tokens_to_ids(text)
        raise AttributeError(f"{type(self).__name__} has no {name}")

    @property
    def vocab_size(self) -> int:
        """Ids of the vocabulary without the tokens added behind it; `len()` has all."""
        return self._tokenizer.base_size

    def __len__(self) -> int:
        return self._tokenizer.vocab_size

    def get_vocab(self) -> dict[str, int]:
        """Ids by vocabulary entry, as the file spells it, added tokens included."""
        return {piece: token for piece, token in self._ids.items() if piece}

    def get_added_vocab(self) -> dict[str, int]:
        """Ids of the tokens that are found in a text before it is cut into words."""
        found = {marker.text: marker.token for marker in self._tokenizer.markers.values()}
        return dict(sorted(found.items(), key=lambda entry: entry[1]))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        return self.get_added_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Added tokens with their flags, by id."""
        markers = sorted(self._tokenizer.markers.values(), key=lambda marker: marker.token)
        return {
            marker.token: AddedToken(
                marker.text,
                special=marker.is_special,
                lstrip=marker.strips_left,
                rstrip=marker.strips_right,
                single_word=marker.is_whole_word,
                normalized=marker.is_second,
            )
            for marker in markers
        }

    @property
    def vocab(self) -> dict[str, int]:
        return self.get_vocab()

    @property
    def extra_special_tokens(self) -> list[str]:
        """Special tokens without a name."""
        return list(self._extra_special)

    @property
    def special_tokens_map(self) -> dict[str, str]:
        found = {f"{kind}_token": getattr(self, f"{kind}_token") for kind in NAMES}
        return {k: v for k, v in found.items() if v} | {
            k: v for k, v in self._tokenizer.special_tokens.items() if k not in found
        }

    @property
    def all_special_tokens(self) -> list[str]:
        """Those with a name, and the extra ones; not every special token of the vocabulary."""
        return list(dict.fromkeys([*self.special_tokens_map.values(), *self._extra_special]))

    @property
    def all_special_ids(self) -> list[int]:
        return [self.convert_tokens_to_ids(text) for text in self.all_special_tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Vocabulary entries of ids, or of one."""
        values = plain(ids)
        if isinstance(values, int):
            return self._tokenizer.id_to_piece(values)
        is_special = self._tokenizer.is_special
        kept = [i for i in values if not (skip_special_tokens and is_special(i))]
        return [self._tokenizer.id_to_piece(token) for token in kept]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Ids of vocabulary entries; one that does not exist is the unknown token, or None."""
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        marker = self._tokenizer.marker_id(tokens)
        found = self._ids.get(tokens) if marker is None else marker
        unknown = getattr(self, "unk_token", None)
        if found is None and unknown is not None and unknown != tokens:
            return self.convert_tokens_to_ids(unknown)
        return found

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text that vocabulary entries stand for."""
        ids = [self._ids.get(token, self._tokenizer.marker_id(token)) for token in tokens]
        return self._tokenizer.decode([token for token in ids if token is not None])

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        pieces = map(self._tokenizer.id_to_piece, range(self._tokenizer.vocab_size))
        return {piece: token for token, piece in enumerate(pieces)}
