"""A door shaped like transformers 5: code written for it runs here with only the import line
changed.

    from understudy import AutoTokenizer, AutoModelForCausalLM, pipeline

What is not implemented is refused by name, never ignored. Tensors come back as NumPy arrays, or as
PyTorch tensors where `return_tensors="pt"` asks for them and PyTorch is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import numpy as np

from understudy import hub
from understudy.checkpoint.tokenizer_class import tokenizer_class
from understudy.checkpoint.tokenizer_only import read_tokenizer
from understudy.compat.encoding import BatchEncoding, rows_of, tensors
from understudy.compat.generation import read_generation_config, sampling_params, settled
from understudy.compat.texts import refuse_unknown
from understudy.compat.tokenizer import UnderstudyTokenizer
from understudy.engine import SamplingParams
from understudy.errors import MissingError, UsageError
from understudy.formats.safetensors_folder import read_json
from understudy.model import Model, load
from understudy.text import StreamDecoder, open_tokenizer
from understudy.text.templates import chat_template_for

# Keywords of from_pretrained that choose what we do not offer but that change nothing here.
_LOADING_NO_OPS = {
    "attn_implementation",
    "device_map",
    "dtype",
    "legacy",
    "low_cpu_mem_usage",
    "torch_dtype",
    "trust_remote_code",
    "use_fast",
    "use_safetensors",
}
_HUB = ("revision", "token", "cache_dir", "local_files_only")


def _path(name: str | Path, keywords: dict[str, Any], *, is_tokenizer_only: bool = False) -> Path:
    """The path of a MODEL; takes the keywords for the hub out of `keywords`."""
    given = {key: keywords.pop(key) for key in _HUB if keywords.get(key) is not None}
    return hub.resolve(name, hub.HubOptions(**given, is_tokenizer_only=is_tokenizer_only))


class TextStreamer:
    """Prints an answer while it is made; `generate(streamer=...)` calls `put` and `end`.

    Args:
        tokenizer: what `AutoTokenizer` gave.
        skip_prompt: only what was generated is printed.
        skip_special_tokens: without control markers.
        file: default standard output.
    """

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
        """Writes what can be decoded.

        Args:
            value: ids (1, n), the first time those of the prompt.
        """
        rows = rows_of(value)
        is_prompt, self._is_prompt = self._is_prompt, False
        if self._decoder is None:
            self._decoder = StreamDecoder(
                self._tokenizer._tokenizer, skip_special=self._skip_special
            )
        if is_prompt and self._skip_prompt:
            return
        self.on_finalized_text("".join(map(self._decoder.push, rows[0])))

    def end(self) -> None:
        """Writes the rest of a text."""
        self.on_finalized_text(
            self._decoder.finish() if self._decoder is not None else "", stream_end=True
        )
        self._is_prompt, self._decoder = True, None

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """What to do with a piece of text, the last one where `stream_end`; overridden by those who
        want it elsewhere.
        """
        print(text, end="\n" if stream_end else "", flush=True, file=self._file or sys.stdout)


class UnderstudyForCausalLM:
    """A loaded model in transformers' shape."""

    def __init__(self, model: Model) -> None:
        self.model, self.device, self.name_or_path = model, "cpu", str(model.path)
        self.config = model.spec
        self.generation_config: SimpleNamespace = read_generation_config(model.path)

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
        generation_config: Any = None,
        tokenizer: UnderstudyTokenizer | None = None,
        streamer: TextStreamer | None = None,
        seed: int | None = None,
        **settings: Any,
    ) -> Any:
        """Prompt and answer ids, rows padded on the right, of the kind that came in.

        `settings` are transformers' (`max_new_tokens`, `do_sample`, `temperature` …); those that
        are not given come from `generation_config`, then from the checkpoint's
        generation_config.json. As in transformers sampling needs `do_sample=True`; `tokenizer` is
        accepted beside `stop_strings`. `seed` is ours.
        """
        _ = tokenizer
        chosen, left = settled(self.generation_config, generation_config, settings)
        refuse_unknown("generate", left)
        given = inputs if inputs is not None else input_ids
        if given is None:
            raise UsageError("no prompt", where="generate", expected="input_ids")
        if isinstance(given, Mapping):
            given, attention_mask = given["input_ids"], given.get("attention_mask", attention_mask)
        rows = rows_of(given)
        masks = [[1] * len(r) for r in rows] if attention_mask is None else rows_of(attention_mask)
        if streamer is not None and len(rows) * chosen["num_return_sequences"] > 1:
            raise UsageError(
                "a streamer follows one answer",
                where="streamer",
                found=len(rows) * chosen["num_return_sequences"],
            )
        out = []
        for row, mask in zip(rows, masks, strict=True):
            prompt = [token for token, keep in zip(row, mask, strict=True) if keep]
            params = sampling_params(chosen, len(row), seed)
            out += [row + answer for answer in self._answers(prompt, params, streamer)]
        ends = chosen["pad_token_id"], *self.model.tokenizer.eos_ids, 0
        pad = next(token for token in ends if token is not None)
        width = max(map(len, out))
        kind = "np" if isinstance(given, np.ndarray | list) else "pt"
        return tensors([row + [pad] * (width - len(row)) for row in out], kind)

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
        """The tokenizer of a MODEL; its weights need not be there, and are not fetched.

        Args:
            name: a path, a hub id, or a name that `understudy list` prints.
            keywords: those of transformers that change nothing here, `padding_side`,
                `truncation_side`, `model_max_length`, and how the hub is asked (`revision`,
                `token`, `cache_dir`, `local_files_only`).

        Raises:
            MissingError: the model has no tokenizer.
            UsageError: another keyword.
        """
        options = {
            key: keywords.pop(key)
            for key in ("padding_side", "truncation_side", "model_max_length")
            if keywords.get(key) is not None
        }
        path = _path(name, keywords, is_tokenizer_only=True)
        refuse_unknown("AutoTokenizer.from_pretrained", set(keywords) - _LOADING_NO_OPS)
        source, family = read_tokenizer(path)
        if source is None:
            raise MissingError("the checkpoint has no tokenizer", where=path)
        tokenizer = open_tokenizer(source)
        template = chat_template_for(family, tokenizer)
        given = {"source": source, **_settings(path, family), **options}
        return UnderstudyTokenizer(tokenizer, template, str(name), **given)


# Classes of transformers that pad on the left.
_LEFT_CLASSES = {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer"}


def _settings(path: Path, family: str) -> dict[str, Any]:
    """What tokenizer_config.json says of the layout of batches; the side may be its class's."""
    file = path / "tokenizer_config.json"
    found = read_json(file) if file.is_file() else {}
    length = found.get("model_max_length")
    sides = {name: found.get(name) for name in ("padding_side", "truncation_side")}
    if tokenizer_class(path, found, {"model_type": family}) in _LEFT_CLASSES:
        sides["padding_side"] = sides["padding_side"] or "left"
    return {
        **({"model_max_length": int(length)} if isinstance(length, int | float) else {}),
        **{name: side for name, side in sides.items() if side in ("left", "right")},
    }


class AutoModelForCausalLM:
    """`AutoModelForCausalLM.from_pretrained(MODEL)`; keywords of `understudy.load` are taken
    too.
    """

    @staticmethod
    def from_pretrained(name: str | Path, **keywords: Any) -> UnderstudyForCausalLM:
        """A MODEL, loaded.

        Args:
            name: a path, a hub id, or a name that `understudy list` prints.
            keywords: options of `understudy.load`, those of transformers that change nothing here,
                and how the hub is asked.

        Raises:
            UsageError: another keyword.
            InputError: the model cannot be used, said in one line.
        """
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
        path = _path(name, keywords)
        refuse_unknown(
            "AutoModelForCausalLM.from_pretrained", set(keywords) - ours - _LOADING_NO_OPS
        )
        given = {key: value for key, value in keywords.items() if key in ours}
        # what transformers would load has no adapter that ships with it
        return UnderstudyForCausalLM(load(path, adapter=None, **given))


class TextGenerationPipeline:
    """`pipeline("text-generation", ...)`: texts or message lists in, texts or longer message lists
    out.
    """

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
        template = self.tokenizer._chat_template
        if is_chat:
            # As in transformers, an assistant's message at the end is gone on with.
            continues = inputs[-1].get("role") == "assistant"
            ids = self.tokenizer.apply_chat_template(
                inputs, add_generation_prompt=not continues, continue_final_message=continues
            )["input_ids"]
            own = options.get("eos_token_id") or self.model.generation_config.eos_token_id
            ends = [own] if isinstance(own, int) else list(own or [])
            options = options | {"eos_token_id": [*ends, *template.stops.token_ids]}
        else:
            ids = self.tokenizer.encode(inputs)
        if self.model.generation_config.max_new_tokens is None and "max_length" not in options:
            options = {"max_new_tokens": 256} | options
        rows = self.model.generate([ids], **options)
        texts = [self.tokenizer.decode(row[len(ids) :], skip_special_tokens=True) for row in rows]
        if not is_chat:
            return [
                {"generated_text": inputs + text if return_full_text else text} for text in texts
            ]
        return [_answered(inputs, template.clean(text), return_full_text) for text in texts]


def _answered(messages: Any, text: str, is_full: bool) -> dict[str, Any]:
    if not is_full:
        return {"generated_text": text}
    if messages[-1].get("role") == "assistant":
        whole = {**messages[-1], "content": messages[-1]["content"] + text}
        return {"generated_text": [*messages[:-1], whole]}
    return {"generated_text": [*messages, {"role": "assistant", "content": text}]}


def pipeline(
    task: str, model: Any = None, tokenizer: UnderstudyTokenizer | None = None, **keywords: Any
) -> TextGenerationPipeline:
    """A pipeline.

    Args:
        task: "text-generation", the only one.
        model: a MODEL or what `from_pretrained` gave; default the model of the package.
        tokenizer: default the model's own.
        keywords: of loading.

    Raises:
        UsageError: another task or keyword.
    """
    if task != "text-generation":
        raise UsageError("unknown task", where="pipeline", expected="text-generation", found=task)
    options = {key: keywords[key] for key in _HUB if key in keywords}
    refuse_unknown("pipeline", set(keywords) - _LOADING_NO_OPS - {"device", *_HUB})
    name = model if model is not None else hub.DEFAULT_MODEL
    loaded = (
        name
        if isinstance(name, UnderstudyForCausalLM)
        else AutoModelForCausalLM.from_pretrained(name, **options)
    )
    if tokenizer is None:
        tokenizer = UnderstudyTokenizer(
            loaded.model.tokenizer, loaded.model.chat_template, loaded.name_or_path
        )
    return TextGenerationPipeline(loaded, tokenizer)


__all__ = [
    "AutoModelForCausalLM",
    "AutoTokenizer",
    "BatchEncoding",
    "TextGenerationPipeline",
    "TextStreamer",
    "UnderstudyForCausalLM",
    "UnderstudyTokenizer",
    "pipeline",
]
