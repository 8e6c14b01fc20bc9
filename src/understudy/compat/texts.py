"""Texts as rows of ids in transformers' shape: `tokenizer(...)`, pairs, padding, places."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer as FastTokenizer

from understudy.checkpoint.vocabulary import with_added
from understudy.compat.encoding import BatchEncoding, plain, tensors
from understudy.compat.frame import Frame, frames_of, offsets_of
from understudy.compat.rows import LAYOUT, NO_LIMIT, Row, RowLayout, framed, pad
from understudy.compat.vocabulary import TokenNames
from understudy.errors import UsageError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text.tokenizer import Marker

# Keyword -> what of a row it asks for, under which name.
_EXTRAS = {
    "return_token_type_ids": ("token_type_ids", "types"),
    "return_special_tokens_mask": ("special_tokens_mask", "specials"),
    "return_offsets_mapping": ("offset_mapping", "offsets"),
}


def refuse_unknown(where: str, unknown: Iterable[str]) -> None:
    """UsageError with the keywords that are left over."""
    if names := sorted(unknown):
        raise UsageError("keyword is not implemented", where=where, found=", ".join(names))


class TextRows(TokenNames):
    """`tokenizer(...)` and what goes with it."""

    padding_side = truncation_side = "right"
    model_max_length = NO_LIMIT
    _source: TokenizerSource | None = None

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False
    ) -> list[str]:
        """A text as vocabulary entries."""
        ids = self.encode(text, pair, add_special_tokens=add_special_tokens)
        return [self._tokenizer.id_to_piece(token) for token in ids]

    def encode(
        self,
        text: str,
        text_pair: str | None = None,
        *,
        add_special_tokens: bool = True,
        return_tensors: str | None = None,
        **more: Any,
    ) -> Any:
        """Ids of a text or of two; markers in it are markers, as in transformers (for text of users
        see `Tokenizer.encode`). `more` as in `tokenizer(...)`.
        """
        given = {"add_special_tokens": add_special_tokens, "return_tensors": return_tensors, **more}
        return self(text, text_pair, **given)["input_ids"]

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        *,
        add_special_tokens: bool = True,
        return_tensors: str | None = None,
        return_attention_mask: bool | None = True,
        split_special_tokens: bool = False,
        **more: Any,
    ) -> BatchEncoding:
        """`input_ids` and `attention_mask` of a text, a pair of texts, or a list of either.

        `more` are padding, padding_side, pad_to_multiple_of, truncation, truncation_side,
        max_length, and return_token_type_ids, return_special_tokens_mask, return_offsets_mapping,
        return_length. With `split_special_tokens` special tokens in a text stay text.
        """
        extras = {name: more.pop(name, None) for name in (*_EXTRAS, "return_length")}
        more.pop("verbose", None)
        asked = {name for name, value in more.items() if value not in (None, False, 0)}
        refuse_unknown("tokenizer(...)", asked - set(LAYOUT))
        layout = self._layout(more)
        is_one = isinstance(text, str)
        frames = self._frames if add_special_tokens else (None, None)
        rows = [
            self._row(
                each, frames, layout, split_special_tokens, bool(extras["return_offsets_mapping"])
            )
            for each in _texts(text, text_pair)
        ]
        found = self._padded(rows, layout, return_tensors, is_one, extras)
        if return_attention_mask is False:
            del found["attention_mask"]
        return found

    def _row(
        self,
        texts: Sequence[str],
        frames: tuple[Frame | None, Frame | None],
        layout: RowLayout,
        are_texts: bool,
        has_offsets: bool,
    ) -> Row:
        parts, num_missing = [], 0
        for kind, text in enumerate(texts):
            segments = self._tokenizer.split(text)
            if are_texts:
                segments = [
                    m.text if isinstance(m, Marker) and m.is_special else m for m in segments
                ]
            ids = self._tokenizer.encode_segments(segments)
            places = [(0, 0)] * len(ids)
            if has_offsets:
                if self._fast is not None:
                    self._fast.encode_special_tokens = are_texts
                places = offsets_of(text, ids, self._tokenizer, self._fast)
            parts.append(Row.of(ids, places, kind))
            if kind == 0:
                opening = self._tokenizer.opening_ids
                num_missing = len(opening) - len(self._tokenizer.missing_opening(segments))
        return framed(parts, frames[len(parts) - 1], layout, num_missing)

    @functools.cached_property
    def _fast(self) -> FastTokenizer | None:
        """The library's own tokenizer of a tokenizer.json, which knows places and pairs."""
        if self._source is None or self._source.kind != "tokenizer.json":
            return None
        description = json.loads(self._source.payload or b"")
        return FastTokenizer.from_str(json.dumps(with_added(description, self._source.added)))

    @functools.cached_property
    def _frames(self) -> tuple[Frame, Frame]:
        return frames_of(self._tokenizer, self._fast)

    def _layout(self, given: Mapping[str, Any]) -> RowLayout:
        own = ("padding_side", "truncation_side", "model_max_length")
        return RowLayout.of(given, {name: getattr(self, name) for name in own})

    def _padded(
        self,
        rows: list[Row],
        layout: RowLayout,
        kind: str | None,
        is_one: bool,
        extras: Mapping[str, Any],
    ) -> BatchEncoding:
        token = self.pad_token_id
        if layout.padding != "do_not_pad" and token is None:
            raise UsageError(
                "there is no padding token",
                where="padding",
                do="set tokenizer.pad_token = tokenizer.eos_token",
            )
        pad(rows, layout, token or 0)
        wanted = {"input_ids": "ids"}
        if extras.get("return_token_type_ids"):
            wanted["token_type_ids"] = "types"
        wanted["attention_mask"] = "mask"
        wanted |= {name: column for key, (name, column) in _EXTRAS.items() if extras.get(key)}
        found = {name: [getattr(row, column) for row in rows] for name, column in wanted.items()}
        is_flat = is_one and kind is None
        made = BatchEncoding(
            {name: c[0] if is_flat else tensors(c, kind) for name, c in found.items()}
        )
        if extras.get("return_length"):
            lengths = [len(row.ids) for row in rows]
            made["length"] = lengths
        return made

    def pad(self, encoded_inputs: Any, padding: Any = True, **more: Any) -> BatchEncoding:
        """Rows of ids made earlier, padded: a dict of lists or a list of dicts."""
        kind = more.pop("return_tensors", None)
        refuse_unknown("pad", set(more) - set(LAYOUT) - {"return_attention_mask", "verbose"})
        given = encoded_inputs
        if not isinstance(given, Mapping):
            given = {name: [each[name] for each in given] for name in given[0]}
        rows = [Row.of(plain(ids), [(0, 0)] * len(ids), 0) for ids in given["input_ids"]]
        for row, mask in zip(rows, given.get("attention_mask") or [], strict=False):
            row.mask = [*plain(mask)]
        layout = self._layout({"padding": padding, **more})
        return self._padded(rows, layout, kind, False, {})

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        frame = self._frames[int(pair)]
        return len(frame.front) + len(frame.between) + len(frame.back)

    def get_special_tokens_mask(
        self, token_ids_0: Sequence[int], already_has_special_tokens: bool = True
    ) -> list[int]:
        """1 for each id that is a special token."""
        if not already_has_special_tokens:
            raise UsageError(
                "only rows with their special tokens have a mask",
                where="get_special_tokens_mask",
                do="pass already_has_special_tokens=True",
            )
        special = set(self.all_special_ids)
        return [int(token in special) for token in token_ids_0]


def _texts(text: Any, pair: Any) -> list[tuple[str, ...]]:
    """One text or two for each row."""
    if text is None:
        raise UsageError("tokenizer(...): there is no text")
    if isinstance(text, str):
        return [(text, pair) if pair else (text,)]
    if pair is not None:
        return [*zip(text, pair, strict=True)]
    return [(each,) if isinstance(each, str) else tuple(each) for each in text]
