"""`understudy.load`: from a path or name to a model that answers.

model = understudy.load("smollm2-135m-instruct")
print(model.generate("The capital of France is", max_tokens=8).text)
for piece in model.stream([{"role": "user", "content": "Hello"}]): print(piece, end="")
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import operator
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from understudy import core, hub
from understudy.checkpoint.checkpoint import Checkpoint, open_checkpoint
from understudy.checkpoint.pack import check_memory, pack, packed_sizes
from understudy.engine import Engine, Output, Request, Runner, SamplingParams, TokenLogprob, Usage
from understudy.engine.output import FinishReason
from understudy.engine.pages import ROOT
from understudy.engine.request import MaskFactory, Overflow
from understudy.engine.scoring import Limits, Score, score_continuations
from understudy.errors import ContextError, FormatError, MissingError, UnderstudyError, UsageError
from understudy.formats.state import read_state, write_state
from understudy.spec import KvFormat, ModelSpec, QuantSpec, parameter_counts
from understudy.text import Tokenizer, open_tokenizer
from understudy.text.templates import ChatTemplate, Message, ParsedCall, Prompt, chat_template_for
from understudy.text.tokenizer import Segmenter

DEFAULT_CONTEXT = 4096
DEFAULT_SPECULATION = 0
INT12_MATRICES = (
    "v_proj",
    "up_proj",
    "down_proj",
    "lm_head",
)  # where rounding inputs to int8 costs most (docs/log.md)
INT12_BELOW = 1_000_000_000  # parameters: small models feel the rounding, large ones the time
LOGIT_ROWS = 64  # rows of logits at a time: at 256,000 tokens a row has a megabyte

Activations = Literal["int8", "int12"]
PromptLike = str | Sequence[int] | Sequence[Message] | Prompt


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished answer: its text as the user should see it, and what was behind it."""

    text: str
    tokens: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    tool_calls: tuple[ParsedCall, ...] = ()
    raw_text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob | None, ...] | None = None


def load(
    model: str | Path,
    *,
    weights: QuantSpec | str | None = None,
    kv: KvFormat = "f16",
    activations: Activations | None = None,
    context: int | None = None,
    cache_tokens: int | None = None,
    num_threads: int | None = None,
    isa: str | None = None,
    max_batch_tokens: int = 512,
    speculate: int = DEFAULT_SPECULATION,
    use_cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Model:
    """Loads a model.

    Args:
        model: a GGUF file, a Hugging Face folder, a .nemo file, a hub id, or a name that `understudy list` prints.
        weights: f32, bf16, q8 or q4 (or a QuantSpec); default what the file holds.
        kv: format of the cache of keys and values; f32 for exactness, int8 for half the memory.
        activations: int8, or int12: the inputs of `INT12_MATRICES` with 12 bits, a fifth of the divergence for
            some of the speed;
            default int12 below `INT12_BELOW` parameters.
        context: longest prompt plus answer in tokens; default 4096 or less if the model allows less.
        cache_tokens: tokens that the cache holds for all requests together; default `context`.
        num_threads, isa: see `core.Model`.
        speculate: tokens to guess from the text so far and check in one step.
        use_cache: keep the packed weights in the cache folder for the next start.

    Raises:
        InputError: the model cannot be used, said in one line.
        MemoryBudgetError: it would not fit into memory.
        OfflineError: it would have to come from the hub, which cannot be reached.
    """
    return Model(
        open_checkpoint(hub.resolve(model)),
        weights=_quant_spec(weights),
        kv=kv,
        activations=activations,
        context=context,
        cache_tokens=cache_tokens,
        num_threads=num_threads,
        isa=isa,
        max_batch_tokens=max_batch_tokens,
        speculate=speculate,
        use_cache=use_cache,
        progress=progress,
    )


def _quant_spec(weights: QuantSpec | str | None) -> QuantSpec | None:
    if weights is None or isinstance(weights, QuantSpec):
        return weights
    if weights not in ("f32", "bf16", "q8", "q4"):
        raise UsageError(
            "unknown weight format", where="weights", expected="f32 bf16 q8 q4", found=weights
        )
    return QuantSpec(weights=weights)  # type: ignore[arg-type]


class Model:
    """A loaded model. Safe to use from several threads: their requests run together."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        weights: QuantSpec | None = None,
        kv: KvFormat = "f16",
        activations: Activations | None = None,
        context: int | None = None,
        cache_tokens: int | None = None,
        num_threads: int | None = None,
        isa: str | None = None,
        max_batch_tokens: int = 512,
        speculate: int = DEFAULT_SPECULATION,
        use_cache: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        spec = checkpoint.spec
        self.context = _chosen_context(spec, context)
        num_pages = -(-max(_chosen_cache_tokens(cache_tokens), self.context) // core.PAGE_SIZE)
        if kv not in ("f16", "int8", "f32"):
            raise UsageError("unknown cache format", where="kv", expected="f16 int8 f32", found=kv)
        int12 = int12_matrices(spec, activations)
        core.choose_isa(isa)
        num_threads = core.choose_threads(num_threads)
        kv_bytes = kv_bytes_per_token(spec, kv) * num_pages * core.PAGE_SIZE
        check_memory(
            sum(packed_sizes(checkpoint, weights).values()) + kv_bytes,
            f"{checkpoint.path.name} with keys and values of {num_pages * core.PAGE_SIZE} tokens",
        )
        tokenizer = (
            open_tokenizer(checkpoint.tokenizer_source)
            if checkpoint.tokenizer_source is not None
            else None
        )
        packed = pack(checkpoint, weights, use_cache=use_cache, progress=progress)
        self.spec, self.path, self.kv_format = spec, checkpoint.path, kv
        self.fingerprint = f"{packed.fingerprint}-{kv}{'-int12' if int12 else ''}"
        self.packed_bytes = packed.num_bytes()
        self.core_model = core.Model(
            spec, packed.tensors, isa=isa, num_threads=num_threads, int12=int12
        )
        self.runner = Runner(self.core_model, num_pages, kv)
        self._tokenizer = tokenizer
        self._chat_template = (
            chat_template_for(spec.architecture, tokenizer) if tokenizer is not None else None
        )
        self.engine = Engine(
            self.runner,
            tokenizer or _no_tokenizer(spec.vocab_size),
            context=self.context,
            vocab_size=spec.vocab_size,
            max_batch_tokens=max_batch_tokens,
            speculate=speculate,
        )
        self._lock = threading.Lock()
        self._inbox: dict[int, collections.deque[Output]] = {}
        self._deferred: collections.deque[Callable[[Engine], None]] = collections.deque()
        self._is_closed = False

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise MissingError(
                "the checkpoint has no tokenizer",
                where=self.path,
                do="put its tokenizer.json or tokenizer.model into the folder",
            )
        return self._tokenizer

    @property
    def chat_template(self) -> ChatTemplate:
        """How messages become this checkpoint's prompt."""
        _ = self.tokenizer
        assert self._chat_template is not None
        return self._chat_template

    # ---- prompts ----

    def encode_prompt(
        self,
        prompt: PromptLike,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        contexts: Sequence[str] | None = None,
    ) -> list[int]:
        """Ids of a text (completion), of messages (chat), of a rendered prompt, or ids as they are.

        A text is written whole by the caller, so markers in it are markers; what stands in messages,
        tools and contexts is data, and a marker in it stays text.
        """
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt, markers=True, add_special=True)
        if isinstance(prompt, Prompt):
            return prompt.encode(self.tokenizer)
        if not _is_chat(prompt):
            return _ids(prompt)  # type: ignore[arg-type]
        rendered = self.chat_template.render(prompt, tools=tools, contexts=contexts)  # type: ignore[arg-type]
        return rendered.encode(self.tokenizer)

    def _request(self, prompt: PromptLike, options: dict[str, Any]) -> Request:
        tools, contexts = options.pop("tools", None), options.pop("contexts", None)
        overflow: Overflow = options.pop("overflow", "refuse")
        make_mask: MaskFactory | None = options.pop("make_mask", None)
        priority: int = options.pop("priority", 0)
        params = options.pop("params", None)
        ids = self.encode_prompt(prompt, tools=tools, contexts=contexts)
        if params is None:
            params = _params(options)
        elif options:
            raise UsageError("give either params or single settings", found=", ".join(options))
        if _is_chat(prompt):
            stops = self.chat_template.stops
            params = dataclasses.replace(
                params,
                stop=tuple(dict.fromkeys((*params.stop, *stops.strings))),
                stop_token_ids=tuple(
                    dict.fromkeys(
                        (*params.stop_token_ids, *(() if params.ignore_eos else stops.token_ids))
                    )
                ),
            )
        return Request(ids, params, overflow, make_mask, priority, continues=not _is_chat(prompt))

    # ---- answers ----

    @contextlib.contextmanager
    def _engine_held(self) -> Iterator[Engine]:
        """The engine, for one thread at a time."""
        with self._lock:
            if self._is_closed:
                raise UsageError("the model is closed", where=self.path, do="load it again")
            self._do_deferred()
            yield self.engine

    def _defer(self, action: Callable[[Engine], None]) -> None:
        """Does something with the engine now, or before its next use when it is busy.

        For the end of generators: the collector may end a forgotten one anywhere, also in the middle of a step of the same
        thread, where waiting for the lock would be for ever.
        """
        self._deferred.append(action)
        if self._lock.acquire(blocking=False):
            try:
                self._do_deferred()
            finally:
                self._lock.release()

    def _do_deferred(self) -> None:
        while self._deferred and not self._is_closed:
            self._deferred.popleft()(self.engine)

    def outputs(self, request: Request) -> Iterator[Output]:
        """Runs one request and gives the engine's outputs as they come. Leaving the loop early cancels the request.

        Raises:
            UnderstudyError: the request failed midway (a grammar that allows nothing, logits that are no numbers).
        """
        with self._engine_held() as engine:
            id = engine.add(request)
            inbox = self._inbox[id] = collections.deque()
        left = request.params.n
        try:
            while left:
                while not inbox:
                    self._pump(id)
                output = inbox.popleft()
                if output.error is not None:
                    raise UnderstudyError(f"the request failed ({output.error})", where=self.path)
                left -= output.finish_reason is not None
                yield output
        finally:
            del self._inbox[id]
            if left:
                self._defer(lambda engine: engine.cancel(id))

    def _pump(self, id: int) -> None:
        """Runs a step for everybody, unless somebody else just did and left something for us."""
        with self._engine_held() as engine:
            if self._inbox[id]:
                return
            for output in engine.step():
                if (inbox := self._inbox.get(output.id)) is not None:
                    inbox.append(output)

    def generate(self, prompt: PromptLike, **options: Any) -> Reply:
        """Answers a text, messages or ids.

        Options: every field of `SamplingParams`, or `params`; `tools`, `contexts` (with messages), and those of
        `Request`: `overflow`, `make_mask`, `priority`.
        Raises UsageError for an unknown option, ContextError when it does not fit. With n > 1 use `generate_all`.
        """
        return self.generate_all(prompt, **options)[0]

    def generate_all(self, prompt: PromptLike, **options: Any) -> list[Reply]:
        """As `generate`, all `n` answers."""
        request = self._request(prompt, options)
        parts: list[list[Output]] = [[] for _ in range(request.params.n)]
        for output in self.outputs(request):
            parts[output.index].append(output)
        return [self._reply(outputs, _is_chat(prompt)) for outputs in parts]

    def _reply(self, outputs: list[Output], is_chat: bool) -> Reply:
        last = outputs[-1]
        assert last.finish_reason is not None
        assert last.usage is not None
        raw = "".join(output.text for output in outputs)
        text, calls = self.chat_template.parse(raw) if is_chat else (raw, [])
        return Reply(
            self.chat_template.clean(text) if is_chat else text,
            tuple(token for output in outputs for token in output.new_tokens),
            last.finish_reason,
            last.usage,
            tuple(calls),
            raw,
            tuple(entry for output in outputs for entry in output.logprobs),
            next((o.prompt_logprobs for o in outputs if o.prompt_logprobs is not None), None),
        )

    def stream(self, prompt: PromptLike, **options: Any) -> Iterator[str]:
        """As `generate`, the raw text of the first answer piece by piece, with tool calls as the model writes them."""
        outputs = self.outputs(self._request(prompt, options))
        return (output.text for output in outputs if output.text and output.index == 0)

    def stream_outputs(self, prompt: PromptLike, **options: Any) -> Iterator[Output]:
        """As `stream`, with all that the engine tells."""
        return self.outputs(self._request(prompt, options))

    async def agenerate(self, prompt: PromptLike, **options: Any) -> Reply:
        """As `generate`, for asyncio: cancelling the task cancels the request."""
        outputs = [
            output async for output in self.astream_outputs(prompt, **options) if output.index == 0
        ]
        return self._reply(outputs, _is_chat(prompt))

    async def astream(self, prompt: PromptLike, **options: Any) -> AsyncIterator[str]:
        """As `stream`, for asyncio."""
        async for output in self.astream_outputs(prompt, **options):
            if output.text and output.index == 0:
                yield output.text

    async def astream_outputs(self, prompt: PromptLike, **options: Any) -> AsyncIterator[Output]:
        """As `stream_outputs`, for asyncio; each step runs in a thread."""
        iterator = await asyncio.to_thread(self.stream_outputs, prompt, **options)
        while (output := await asyncio.to_thread(next, iterator, None)) is not None:
            yield output

    # ---- scores ----

    def logits(self, token_ids: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Logits after each token of a text: float32 (tokens, vocab). ContextError when it is longer than the context."""
        tokens = _ids(token_ids)
        return np.concatenate([rows for _, rows in self.iterate_logits(tokens)])

    def iterate_logits(self, tokens: list[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The same in chunks: (position of the first row, rows), so that a long text needs little memory."""
        if not tokens:
            raise UsageError("the text is empty")
        if not all(0 <= token < self.spec.vocab_size for token in tokens):
            raise UsageError(
                "token is outside the vocabulary", expected=f"0 to {self.spec.vocab_size - 1}"
            )
        if len(tokens) > self.context:
            raise ContextError(
                "text does not fit the context",
                expected=f"at most {self.context} tokens",
                found=len(tokens),
            )
        with self._engine_held() as engine:
            pool = engine.pool
            if pool.num_free < pool.pages_for(len(tokens)):
                raise UsageError(
                    "requests under way hold the cache",
                    do="wait for them, or give the model more cache_tokens",
                )
            pages = [pool.take() for _ in range(pool.pages_for(len(tokens)))]
        try:
            rows_at_a_time = max(LOGIT_ROWS, 16_000_000 // self.spec.vocab_size // 4)
            for first in range(0, len(tokens), rows_at_a_time):
                count = min(rows_at_a_time, len(tokens) - first)
                with self._engine_held():
                    rows = self.runner.logits(tokens, pages, first, count)
                yield first, rows
        finally:
            self._defer(lambda engine: engine.pool.release(pages))

    def score_continuations(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> list[Score]:
        """Log-likelihood in nats of each continuation after its context, both as token ids, computed together.

        Raises:
            UsageError: an empty context or continuation, or a token outside the vocabulary.
            ContextError: both together are more than `context` + 1 tokens.
        """
        for context, continuation in pairs:
            if not context or not continuation:
                raise UsageError("a context and a continuation of at least one token are needed")
            if not all(0 <= token < self.spec.vocab_size for token in (*context, *continuation)):
                raise UsageError(
                    "token is outside the vocabulary", expected=f"0 to {self.spec.vocab_size - 1}"
                )
            if (num_tokens := len(context) + len(continuation) - 1) > self.context:
                raise ContextError(
                    "text does not fit the context",
                    expected=f"at most {self.context} tokens",
                    found=num_tokens,
                )
        rows = max(LOGIT_ROWS, 16_000_000 // self.spec.vocab_size)
        with self._engine_held() as engine:
            limits = Limits(engine.scheduler.max_batch_tokens, rows)
            return score_continuations(self.runner, engine.pool, pairs, limits)

    # ---- saved states ----

    def save_state(self, path: str | Path, tokens: Sequence[int]) -> int:
        """Writes the cached keys and values of the longest known beginning of `tokens`; returns its length in tokens."""
        ids = _ids(tokens)
        with self._engine_held() as engine:
            pool = engine.pool
            digests = pool.digests(ids)
            pages = pool.find(digests)
            count = len(pages) * pool.page_size
            part, more = pool.find_part(
                digests[len(pages) - 1] if pages else ROOT, ids[count : count + pool.page_size]
            )
            data = [
                self.runner.cache.read_page(page) for page in [*pages, *([part] if more else [])]
            ]
        write_state(Path(path), self.fingerprint, ids[: count + more], data)
        return count + more

    def load_state(self, path: str | Path) -> list[int]:
        """Reads such a file into free pages, so that prompts beginning with its tokens need not compute them.

        Raises:
            FormatError: damaged, or made with another model or cache format.
        """
        fingerprint, tokens, data = read_state(Path(path))
        if fingerprint != self.fingerprint:
            raise FormatError(
                "the saved state belongs to another model",
                where=path,
                expected=self.fingerprint,
                found=fingerprint,
            )
        with self._engine_held() as engine:
            pool, page_bytes = engine.pool, self.runner.cache.page_bytes
            is_vocabulary = all(0 <= token < self.spec.vocab_size for token in tokens)
            if (
                not is_vocabulary
                or len(data) != pool.pages_for(len(tokens))
                or any(d.size != page_bytes for d in data)
            ):
                raise FormatError("the saved state is damaged", where=path)
            digests = pool.digests(tokens)
            known = pool.find(digests)
            for page in known:
                pool.hold(page)  # not to be taken for what follows them
            pages = list(known)
            for index in range(len(known), min(len(data), len(known) + pool.num_free)):
                pages.append(pool.take())
                self.runner.cache.write_page(pages[-1], data[index])
                part = tokens[index * pool.page_size : (index + 1) * pool.page_size]
                pool.remember(pages[-1], digests, index, part)
            pool.release(pages)
        return tokens

    def close(self) -> None:
        """Gives the cache and the threads back; the model cannot be used afterwards. Closing twice is no error."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                del self.runner, self.engine, self.core_model

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def int12_matrices(spec: ModelSpec, activations: Activations | None = None) -> tuple[str, ...]:
    """The matrices whose inputs `core.Model` takes with 12 bits."""
    if activations not in (None, "int8", "int12"):
        raise UsageError(
            "unknown activations", where="activations", expected="int8 int12", found=activations
        )
    is_small = parameter_counts(spec)["total"] < INT12_BELOW
    return INT12_MATRICES if activations == "int12" or (activations is None and is_small) else ()


def kv_bytes_per_token(spec: ModelSpec, kv: KvFormat) -> int:
    """Bytes of keys and values of one token over all layers."""
    padded = -(-spec.head_dim // 32) * 32
    values = spec.num_layers * spec.num_kv_heads * (spec.head_dim + padded)
    if kv == "int8":
        return values + spec.num_layers * spec.num_kv_heads * 8
    return values * (2 if kv == "f16" else 4)


def _chosen_context(spec: ModelSpec, context: int | None) -> int:
    if context is None:
        return min(spec.max_positions, DEFAULT_CONTEXT)
    if type(context) is not int or not 1 <= context <= spec.max_positions:
        limit = f"1 to {spec.max_positions} (the model's own limit)"
        raise UsageError("context is out of range", where="context", expected=limit, found=context)
    return context


def _chosen_cache_tokens(cache_tokens: int | None) -> int:
    if cache_tokens is not None and (
        type(cache_tokens) is not int or not 1 <= cache_tokens <= 1 << 30
    ):
        raise UsageError(
            "setting is out of range",
            where="cache_tokens",
            expected="1 to 1073741824",
            found=cache_tokens,
        )
    return cache_tokens or 0


def _is_chat(prompt: PromptLike) -> bool:
    """Whether the model is asked for an answer, not for the continuation of a text."""
    if isinstance(prompt, str | Prompt):
        return isinstance(prompt, Prompt)
    return len(prompt) > 0 and isinstance(prompt[0], Mapping)


def _ids(tokens: Sequence[int] | NDArray[np.integer[Any]]) -> list[int]:
    try:
        return [operator.index(token) for token in tokens]
    except TypeError as error:
        raise UsageError("token ids must be whole numbers", found=str(error)) from error


def _params(options: dict[str, Any]) -> SamplingParams:
    known = {f.name for f in dataclasses.fields(SamplingParams)}
    if unknown := sorted(set(options) - known):
        raise UsageError(
            "unknown option", where=", ".join(unknown), expected=", ".join(sorted(known))
        )
    return SamplingParams(**options)


class _NoText(Segmenter):
    """Stands in where a checkpoint has no tokenizer: ids work, their text is empty."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def encode(self, text: str, is_start: bool) -> list[int]:
        raise MissingError(
            "the checkpoint has no tokenizer",
            found=f"a text of {len(text)} characters",
            do="give token ids",
        )

    def piece(self, token: int) -> str:
        return f"<{token}>"

    def bytes_of(self, token: int) -> bytes:
        return b""


def _no_tokenizer(vocab_size: int) -> Tokenizer:
    return Tokenizer(_NoText(vocab_size), [], bos_id=None, eos_ids=())
