"""A door shaped like transformers: code written for it runs here with only the import line changed.

    from understudy import AutoTokenizer, AutoModelForCausalLM, pipeline

What is not implemented is refused by name, never ignored. Tensors come back as NumPy arrays, or as PyTorch tensors where
`return_tensors="pt"` asks for them and PyTorch is installed.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from understudy import hub
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.engine import SamplingParams
from understudy.errors import MissingError, UsageError
from understudy.model import Model, load
from understudy.text import StreamDecoder, Tokenizer, open_tokenizer
from understudy.text.templates import ChatTemplate, chat_template_for

# Keywords of from_pretrained that choose what we do not offer but that change nothing here.
_LOADING_NO_OPS = {
    "torch_dtype",
    "dtype",
    "device_map",
    "trust_remote_code",
    "low_cpu_mem_usage",
    "use_fast",
    "revision",
    "token",
}


def _refuse_unknown(where: str, unknown: Iterable[str]) -> None:
    if names := sorted(unknown):
        raise UsageError("keyword is not implemented", where=where, found=", ".join(names))


def _tensors(rows: list[list[int]], kind: str | None) -> Any:
    """Rows of ids as lists, a NumPy array or a PyTorch tensor."""
    if kind is None:
        return rows
    if len({len(row) for row in rows}) > 1:
        raise UsageError(
            "rows differ in length",
            where="return_tensors",
            do="pass padding=True, or one text at a time",
        )
    array = np.asarray(rows, np.int64)
    if kind == "np":
        return array
    if kind == "pt":
        try:
            import importlib

            return importlib.import_module("torch").from_numpy(array)
        except ImportError as error:
            raise UsageError(
                "PyTorch is not installed",
                where='return_tensors="pt"',
                do='use return_tensors="np"',
            ) from error
    raise UsageError(
        "unknown kind of tensor", where="return_tensors", expected="np or pt", found=kind
    )


def _ids(value: Any) -> list[list[int]]:
    """Rows of ids from a list, an array or a tensor of one or two dimensions."""
    values = value.tolist() if hasattr(value, "tolist") else value
    rows = values if values and isinstance(values[0], list | tuple) else [values]
    return [[int(token) for token in row] for row in rows]


class BatchEncoding(dict[str, Any]):
    """A dict whose keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def to(self, _device: Any) -> BatchEncoding:
        return self


class UnderstudyTokenizer:
    """The tokenizer of a checkpoint, in transformers' shape."""

    def __init__(self, tokenizer: Tokenizer, chat_template: ChatTemplate, name: str) -> None:
        self._tokenizer, self._chat_template, self.name_or_path = tokenizer, chat_template, name
        self.chat_template = tokenizer.chat_template
        self.padding_side = "left"

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.vocab_size

    def __len__(self) -> int:
        return self._tokenizer.vocab_size

    @property
    def bos_token_id(self) -> int | None:
        return self._tokenizer.bos_id

    @property
    def eos_token_id(self) -> int | None:
        return next(iter(self._tokenizer.eos_ids), None)

    @property
    def pad_token_id(self) -> int | None:
        return self._tokenizer.pad_id

    @property
    def eos_token(self) -> str | None:
        return None if self.eos_token_id is None else self._tokenizer.id_to_piece(self.eos_token_id)

    @property
    def bos_token(self) -> str | None:
        return None if self.bos_token_id is None else self._tokenizer.id_to_piece(self.bos_token_id)

    def encode(
        self, text: str, *, add_special_tokens: bool = True, return_tensors: str | None = None
    ) -> Any:
        """Ids of a text; markers in it are markers, as in transformers (for text of users see `Tokenizer.encode`)."""
        ids = self._tokenizer.encode(text, markers=True, add_special=add_special_tokens)
        return ids if return_tensors is None else _tensors([ids], return_tensors)

    def __call__(
        self,
        text: str | list[str],
        *,
        add_special_tokens: bool = True,
        return_tensors: str | None = None,
        padding: bool = False,
        **unknown: Any,
    ) -> BatchEncoding:
        _refuse_unknown("tokenizer(...)", unknown)
        rows = [
            self.encode(t, add_special_tokens=add_special_tokens)
            for t in ([text] if isinstance(text, str) else text)
        ]
        masks = [[1] * len(row) for row in rows]
        if padding:
            width, pad = (
                max(map(len, rows)),
                self.pad_token_id if self.pad_token_id is not None else self.eos_token_id or 0,
            )
            masks = [[0] * (width - len(row)) + mask for row, mask in zip(rows, masks, strict=True)]
            rows = [[pad] * (width - len(row)) + row for row in rows]
        if isinstance(text, str) and return_tensors is None:
            return BatchEncoding(input_ids=rows[0], attention_mask=masks[0])
        return BatchEncoding(
            input_ids=_tensors(rows, return_tensors), attention_mask=_tensors(masks, return_tensors)
        )

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Any] | None = None,
        contexts: Sequence[str] | None = None,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
        return_tensors: str | None = None,
        return_dict: bool = False,
        **unknown: Any,
    ) -> Any:
        """Messages as a prompt: text, ids, an array of shape (1, tokens), or a dict with `input_ids`."""
        _refuse_unknown("apply_chat_template", unknown)
        passages = list(contexts or []) + [
            d if isinstance(d, str) else str(d.get("text", "")) for d in documents or []
        ]
        prompt = self._chat_template.render(
            conversation,
            tools=tools,
            contexts=passages or None,
            add_generation_prompt=add_generation_prompt,
        )
        if not tokenize:
            return prompt.text
        ids = prompt.encode(self._tokenizer, add_opening=False)
        if return_dict:
            mask = [1] * len(ids)
            return BatchEncoding(
                input_ids=_tensors([ids], return_tensors) if return_tensors else ids,
                attention_mask=_tensors([mask], return_tensors) if return_tensors else mask,
            )
        return _tensors([ids], return_tensors) if return_tensors else ids

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **unknown: Any) -> str:
        _refuse_unknown("decode", set(unknown) - {"clean_up_tokenization_spaces"})
        values = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        return self._tokenizer.decode(
            [values] if isinstance(values, int) else values, skip_special=skip_special_tokens
        )

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, **unknown: Any
    ) -> list[str]:
        return [self.decode(row, skip_special_tokens, **unknown) for row in sequences]

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        values = ids.tolist() if hasattr(ids, "tolist") else ids
        return (
            self._tokenizer.id_to_piece(values)
            if isinstance(values, int)
            else [self._tokenizer.id_to_piece(i) for i in values]
        )


class TextStreamer:
    """Prints an answer while it is made; `generate(streamer=...)` calls `put` and `end`."""

    def __init__(
        self,
        tokenizer: UnderstudyTokenizer,
        skip_prompt: bool = False,
        *,
        skip_special_tokens: bool = False,
        file: TextIO | None = None,
    ) -> None:
        self._tokenizer, self._skip_prompt, self._skip_special = (
            tokenizer,
            skip_prompt,
            skip_special_tokens,
        )
        self._file = file
        self._is_prompt = True
        self._decoder: StreamDecoder | None = None

    def put(self, value: Any) -> None:
        """Ids, the first time those of the prompt."""
        rows = _ids(value)
        is_prompt, self._is_prompt = self._is_prompt, False
        if self._decoder is None:
            self._decoder = StreamDecoder(
                self._tokenizer._tokenizer, skip_special=self._skip_special
            )
        if is_prompt and self._skip_prompt:
            return
        self.on_finalized_text("".join(map(self._decoder.push, rows[0])))

    def end(self) -> None:
        self.on_finalized_text(
            self._decoder.finish() if self._decoder is not None else "", stream_end=True
        )
        self._is_prompt, self._decoder = True, None

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """What to do with a piece of text; overridden by those who want it elsewhere."""
        print(text, end="\n" if stream_end else "", flush=True, file=self._file or sys.stdout)


class UnderstudyForCausalLM:
    """A loaded model in transformers' shape."""

    def __init__(self, model: Model) -> None:
        self.model, self.device, self.name_or_path = model, "cpu", str(model.path)
        self.config = model.spec

    def to(self, device: Any) -> UnderstudyForCausalLM:
        if str(device) != "cpu":
            raise UsageError(
                "this engine runs on the CPU", where="device", expected="cpu", found=str(device)
            )
        return self

    def eval(self) -> UnderstudyForCausalLM:
        return self

    def generate(
        self,
        inputs: Any = None,
        *,
        input_ids: Any = None,
        attention_mask: Any = None,
        max_new_tokens: int = 20,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_k: int = 50,
        top_p: float = 1.0,
        min_p: float | None = None,
        repetition_penalty: float = 1.0,
        num_return_sequences: int = 1,
        eos_token_id: int | list[int] | None = None,
        pad_token_id: int | None = None,
        stop_strings: str | list[str] | None = None,
        tokenizer: UnderstudyTokenizer | None = None,
        streamer: TextStreamer | None = None,
        seed: int | None = None,
        **unknown: Any,
    ) -> Any:
        """Prompt and answer ids, rows padded on the right, of the kind that came in (array or tensor).

        As in transformers sampling needs `do_sample=True`; `tokenizer` is accepted beside `stop_strings`. `seed` is ours.
        """
        _refuse_unknown("generate", set(unknown) - {"use_cache"})
        given = inputs if inputs is not None else input_ids
        if given is None:
            raise UsageError("no prompt", where="generate", expected="input_ids")
        if isinstance(given, Mapping):
            given, attention_mask = given["input_ids"], given.get("attention_mask", attention_mask)
        rows = _ids(given)
        masks = (
            _ids(attention_mask) if attention_mask is not None else [[1] * len(row) for row in rows]
        )
        if streamer is not None and len(rows) * num_return_sequences > 1:
            raise UsageError(
                "a streamer follows one answer",
                where="streamer",
                found=len(rows) * num_return_sequences,
            )
        params = SamplingParams(
            max_tokens=max_new_tokens,
            temperature=temperature if do_sample else 0.0,
            top_k=top_k if do_sample else 0,
            top_p=top_p if do_sample else 1.0,
            min_p=(min_p or 0.0) if do_sample else 0.0,
            repetition_penalty=repetition_penalty,
            penalty_last_n=-1,  # transformers looks at the whole text
            seed=seed,
            stop=(stop_strings,) if isinstance(stop_strings, str) else tuple(stop_strings or ()),
            stop_token_ids=_ends(eos_token_id),
            n=num_return_sequences,
        )
        _ = tokenizer
        out = []
        for row, mask in zip(rows, masks, strict=True):
            prompt = [token for token, keep in zip(row, mask, strict=True) if keep]
            out += [row + answer for answer in self._answers(prompt, params, streamer)]
        pad = (
            pad_token_id
            if pad_token_id is not None
            else next(iter(self.model.tokenizer.eos_ids), 0)
        )
        width = max(map(len, out))
        return _tensors(
            [row + [pad] * (width - len(row)) for row in out],
            "np" if isinstance(given, np.ndarray | list) else "pt",
        )

    def _answers(
        self, prompt: list[int], params: SamplingParams, streamer: TextStreamer | None
    ) -> list[list[int]]:
        answers: list[list[int]] = [[] for _ in range(params.n)]
        if streamer is not None:
            streamer.put(np.asarray([prompt]))
        for output in self.model.stream_outputs(prompt, params=params):
            answers[output.index] += output.new_tokens
            if streamer is not None and output.new_tokens:
                streamer.put(np.asarray(output.new_tokens))
        if streamer is not None:
            streamer.end()
        return answers


class AutoTokenizer:
    """`AutoTokenizer.from_pretrained(MODEL)`."""

    @staticmethod
    def from_pretrained(name: str | Path, **keywords: Any) -> UnderstudyTokenizer:
        """The tokenizer of a MODEL, without loading its weights."""
        _refuse_unknown("AutoTokenizer.from_pretrained", set(keywords) - _LOADING_NO_OPS)
        checkpoint = open_checkpoint(hub.resolve(name))
        if checkpoint.tokenizer_source is None:
            raise MissingError("the checkpoint has no tokenizer", where=checkpoint.path)
        tokenizer = open_tokenizer(checkpoint.tokenizer_source)
        return UnderstudyTokenizer(
            tokenizer, chat_template_for(checkpoint.spec.architecture, tokenizer), str(name)
        )


class AutoModelForCausalLM:
    """`AutoModelForCausalLM.from_pretrained(MODEL)`; keywords of `understudy.load` are taken too."""

    @staticmethod
    def from_pretrained(name: str | Path, **keywords: Any) -> UnderstudyForCausalLM:
        ours = {
            "weights",
            "kv",
            "context",
            "cache_tokens",
            "num_threads",
            "isa",
            "speculate",
            "use_cache",
        }
        _refuse_unknown(
            "AutoModelForCausalLM.from_pretrained", set(keywords) - ours - _LOADING_NO_OPS
        )
        return UnderstudyForCausalLM(load(name, **{k: v for k, v in keywords.items() if k in ours}))


class TextGenerationPipeline:
    """`pipeline("text-generation", ...)`: texts or message lists in, texts or longer message lists out."""

    def __init__(self, model: UnderstudyForCausalLM, tokenizer: UnderstudyTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    def __call__(self, inputs: Any, *, return_full_text: bool = True, **options: Any) -> Any:
        if isinstance(inputs, str) or (inputs and isinstance(inputs[0], Mapping)):
            return self._one(inputs, return_full_text, options)
        return [self._one(each, return_full_text, options) for each in inputs]

    def _one(
        self, inputs: Any, return_full_text: bool, options: dict[str, Any]
    ) -> list[dict[str, Any]]:
        is_chat = not isinstance(inputs, str)
        if is_chat:
            ids = self.tokenizer.apply_chat_template(inputs, add_generation_prompt=True)
            stops = self.tokenizer._chat_template.stops
            own = options.get("eos_token_id")
            options = options | {
                "eos_token_id": [*([own] if isinstance(own, int) else own or []), *stops.token_ids]
            }
        else:
            ids = self.tokenizer.encode(inputs)
        rows = self.model.generate([ids], **({"max_new_tokens": 256} | options))
        texts = [self.tokenizer.decode(row[len(ids) :], skip_special_tokens=True) for row in rows]
        if is_chat:
            clean = functools.partial(self.tokenizer._chat_template.clean)
            answers = [{"role": "assistant", "content": clean(text)} for text in texts]
            return [
                {"generated_text": [*inputs, answer] if return_full_text else answer["content"]}
                for answer in answers
            ]
        return [{"generated_text": inputs + text if return_full_text else text} for text in texts]


def pipeline(
    task: str, model: Any = None, tokenizer: UnderstudyTokenizer | None = None, **keywords: Any
) -> TextGenerationPipeline:
    """A pipeline; the only task is "text-generation". `model` is a MODEL or what `from_pretrained` gave."""
    if task != "text-generation":
        raise UsageError("unknown task", where="pipeline", expected="text-generation", found=task)
    _refuse_unknown("pipeline", set(keywords) - _LOADING_NO_OPS - {"device"})
    name = model if model is not None else hub.DEFAULT_MODEL
    loaded = (
        name
        if isinstance(name, UnderstudyForCausalLM)
        else AutoModelForCausalLM.from_pretrained(name)
    )
    if tokenizer is None:
        tokenizer = UnderstudyTokenizer(
            loaded.model.tokenizer, loaded.model.chat_template, loaded.name_or_path
        )
    return TextGenerationPipeline(loaded, tokenizer)


def _ends(eos_token_id: int | list[int] | None) -> tuple[int, ...]:
    return (eos_token_id,) if isinstance(eos_token_id, int) else tuple(eos_token_id or ())
