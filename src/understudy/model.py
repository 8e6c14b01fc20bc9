"""`understudy.load`: from a path or name to a model that answers.

model = understudy.load("smollm2-135m-instruct")
print(model.generate("The capital of France is", max_tokens=8).text)
for piece in model.stream([{"role": "user", "content": "Hello"}]): print(piece, end="")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from understudy import core, hub
from understudy.checkpoint.checkpoint import Checkpoint, open_checkpoint
from understudy.engine import (
    ActiveAdapters,
    AdapterAsked,
    AdapterTable,
    Driver,
    Engine,
    Output,
    Request,
    Runner,
    Score,
    adapter_choice,
    as_ids,
)
from understudy.engine.loading import Activations, LoadOptions, load_engine
from understudy.engine.logits import iterate_logits, score
from understudy.engine.saved_state import StateFiles
from understudy.errors import UsageError
from understudy.generation.intent import policy_of
from understudy.generation.prepare import RequestLimits
from understudy.generation.reply import Reply
from understudy.generation.text_interface import (
    PromptLike,
    TextInterface,
)
from understudy.spec import KvFormat, QuantSpec, WeightFormat
from understudy.text import Tokenizer, open_tokenizer
from understudy.text.templates import ChatTemplate

T = TypeVar("T")

RESIDENT = "resident"  # the adapter that ships with the default model


def load(
    model: str | Path,
    *,
    weights: QuantSpec | str | None = None,
    kv: KvFormat = "f16",
    activations: Activations | None = None,
    context: int | None = None,
    cache_tokens: int | None = None,
    cache_contexts: int = 1,
    num_threads: int | None = None,
    isa: str | None = None,
    max_batch_tokens: int = 512,
    speculate: int = 0,
    use_cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
    adapters: Mapping[str, str | Path] | None = None,
    adapter: str | Mapping[str, float] | None = RESIDENT,
) -> Model:
    """Loads a model.

    Args:
        model: a GGUF file, a Hugging Face folder, a .nemo file, a hub id, or a name that
            `understudy list` prints.
        weights: f32, bf16, q8 or q4 (or a QuantSpec); default what the file holds.
        kv: format of the cache of keys and values; f32 for exactness, int8 for half the memory.
        activations: int8, or int12: the inputs of `INT12_MATRICES` with 12 bits, a fifth of the
            divergence for some of the speed; default int12 below `INT12_BELOW` parameters.
        context: longest prompt plus answer in tokens; default what the model was trained for, up
            to 32,768 tokens and a quarter of the free memory (`engine.loading.default_context`).
        cache_tokens: tokens that the cache holds for all requests together; default
            `cache_contexts` times `context`, as far as they fit.
        num_threads, isa: see `core.CoreModel`.
        max_batch_tokens: most tokens of one step; longer prompts are computed in chunks.
        speculate: tokens to guess from the text so far and check in one step.
        use_cache: keep the packed weights in the cache folder for the next start.
        progress: called with (done, whole) while weights are packed.
        adapters: LoRA adapters by name (folders of PEFT, llama.cpp's GGUF) that requests may choose
            by `adapter=NAME`.
        adapter: what acts on requests that choose nothing: a name, `NAME:FACTOR`, or {name:
            factor}. Default the adapter that ships with the model, where one does, on the jobs that
            it was trained for: requests with tools, documents or a character. None: nothing.

    Raises:
        InputError: the model cannot be used, said in one line.
        MemoryBudgetError: it would not fit into memory.
        OfflineError: it would have to come from the hub, which cannot be reached.
    """
    options = LoadOptions(
        weights=_quant_spec(weights),
        kv=kv,
        activations=activations,
        context=context,
        cache_tokens=cache_tokens,
        cache_contexts=cache_contexts,
        num_threads=num_threads,
        isa=isa,
        max_batch_tokens=max_batch_tokens,
        speculate=speculate,
        use_cache=use_cache,
        progress=progress,
    )
    path = hub.resolve(model)
    loaded = Model(open_checkpoint(path), options)
    try:
        _load_adapters(loaded, hub.resident_adapter(path), adapters or {}, adapter)
    except BaseException:
        loaded.close()
        raise
    return loaded


def _load_adapters(
    model: Model,
    resident: Path | None,
    adapters: Mapping[str, str | Path],
    chosen: str | Mapping[str, float] | None,
) -> None:
    if resident is not None and chosen is not None:
        model.adapters.add(RESIDENT, resident)
    for name, path in adapters.items():
        model.adapters.add(name, path)
    if chosen != RESIDENT or RESIDENT in adapters:
        model.adapters.set_factors(dict(adapter_choice(chosen or "")))
    elif resident is not None:
        model.limits = replace(model.limits, job_adapter=RESIDENT)


def _quant_spec(weights: QuantSpec | str | None) -> QuantSpec | None:
    if weights is None or isinstance(weights, QuantSpec):
        return weights
    known = get_args(WeightFormat)
    if weights not in known:
        raise UsageError(
            "unknown weight format", where="weights", expected=" ".join(known), found=weights
        )
    return QuantSpec(weights=weights)  # type: ignore[arg-type]


class Model:
    """A loaded model. Safe to use from several threads and while a server runs on it.

    Whatever runs, runs through `driver`, which owns the engine; requests are computed together.
    `checkpoint` is what `open_checkpoint` opened, `options` are those of `load`.

    Methods that answer (`generate`, `stream`, … and those of asyncio) take:
        prompt: a text to go on with, messages (a chat), a rendered prompt, or token ids.
        options: every field of `SamplingParams`, or `params`; `tools`, `contexts` (with messages),
            those of `Request`: `overflow`, `make_mask`, `priority`; of models that think before
            they answer `thinking` (whether) and `reasoning_budget` (most tokens of it).
    They raise UsageError for an unknown option and ContextError where the prompt does not fit.
    """

    def __init__(self, checkpoint: Checkpoint, options: LoadOptions | None = None) -> None:
        options = options or LoadOptions()
        source = checkpoint.tokenizer_source
        tokenizer = open_tokenizer(source) if source is not None else None
        loaded = load_engine(checkpoint, options, tokenizer)
        self.spec, self.path, self.kv_format = checkpoint.spec, checkpoint.path, options.kv
        self.base_fingerprint, self.packed_bytes = loaded.fingerprint, loaded.packed_bytes
        self.driver = Driver(loaded.engine, where=checkpoint.path)
        self.context = loaded.engine.context
        self.limits = RequestLimits(self.context, self.spec.vocab_size, calls=policy_of(self.spec))
        self._text = TextInterface(self.spec, tokenizer, self.limits, where=checkpoint.path)

    @property
    def engine(self) -> Engine:
        """For its sizes and counts; `driver` runs it."""
        return self.driver.engine

    @property
    def adapters(self) -> AdapterTable:
        """LoRA adapters that requests may choose: `add`, `drop`, `list`."""
        return self.engine.adapter_table

    def active_adapters(self, adapter: AdapterAsked | None = None) -> ActiveAdapters:
        """What acts on a request that asks for `adapter`; None: on one that chooses nothing."""
        return self.engine.choose_adapters(adapter)

    @property
    def fingerprint(self) -> str:
        """Names weights, formats and what acts on requests that choose nothing, by content."""
        identity = self.active_adapters().identity
        return self.base_fingerprint + (f"-adapters:{identity}" if identity else "")

    @property
    def runner(self) -> Runner:
        """Runs steps of the engine on the compiled core."""
        runner = self.driver.engine.runner
        assert isinstance(runner, Runner)
        return runner

    @property
    def core_model(self) -> core.CoreModel:
        """The weights in the compiled core."""
        return self.runner.model

    @property
    def tokenizer(self) -> Tokenizer:
        """Raises:
        MissingError: the checkpoint has none.
        """
        return self._text.tokenizer

    @property
    def chat_template(self) -> ChatTemplate:
        """How messages become this checkpoint's prompt."""
        return self._text.chat_template

    # ---- prompts ----

    def encode_prompt(
        self,
        prompt: PromptLike,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        contexts: Sequence[str] | None = None,
    ) -> list[int]:
        """Ids of a text (completion), of messages (chat), of a rendered prompt, or ids as they are.

        A text is written whole by the caller, so markers in it are markers; what stands in
        messages, tools and contexts is data, and a marker in it stays text.
        """
        return self._text.encode(prompt, tools=tools, contexts=contexts)

    # ---- answers ----

    def outputs(self, request: Request) -> Iterator[Output]:
        """Runs one request and gives the engine's outputs as they come; leaving early cancels it.

        Raises:
            UnderstudyError: it failed midway (a grammar that allows nothing, logits that are no
                numbers).
        """
        return self.driver.outputs(request)

    def generate(self, prompt: PromptLike, **options: Any) -> Reply:
        """One answer. With n > 1 use `generate_all`."""
        return self.generate_all(prompt, **options)[0]

    def generate_all(self, prompt: PromptLike, **options: Any) -> list[Reply]:
        """As `generate`, all `n` answers."""
        request, read = self._text.asked(prompt, options)
        parts: list[list[Output]] = [[] for _ in range(request.params.n)]
        for output in self.outputs(request):
            parts[output.index].append(output)
        return [read(outputs) for outputs in parts]

    def stream(self, prompt: PromptLike, **options: Any) -> Iterator[str]:
        """As `generate`, the raw text of the first answer piece by piece, with tool calls as the
        model writes them.
        """
        outputs = self.stream_outputs(prompt, **options)
        return (output.text for output in outputs if output.text and output.index == 0)

    def stream_outputs(self, prompt: PromptLike, **options: Any) -> Iterator[Output]:
        """As `stream`, with all that the engine tells."""
        return self.outputs(self._text.request(prompt, options))

    async def agenerate(self, prompt: PromptLike, **options: Any) -> Reply:
        """As `generate`, for asyncio: cancelling the task cancels the request."""
        request, read = await _in_thread(self._text.asked, prompt, options)
        return read([output async for output in self._astream(request) if output.index == 0])

    async def astream(self, prompt: PromptLike, **options: Any) -> AsyncIterator[str]:
        """As `stream`, for asyncio."""
        async for output in self.astream_outputs(prompt, **options):
            if output.text and output.index == 0:
                yield output.text

    async def astream_outputs(self, prompt: PromptLike, **options: Any) -> AsyncIterator[Output]:
        """As `stream_outputs`, for asyncio."""
        request = await _in_thread(self._text.request, prompt, options)
        async for output in self._astream(request):
            yield output

    async def _astream(self, request: Request) -> AsyncIterator[Output]:
        outputs = aiter(self.driver.submit(request))
        try:
            async for output in outputs:
                yield output
        finally:
            await outputs.aclose()  # type: ignore[attr-defined]

    # ---- scores ----

    def logits(self, token_ids: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Logits after each of (n,) `token_ids`: float32 (n, vocab). ContextError when they are
        more than the context.
        """
        return np.concatenate([rows for _, rows in self.iterate_logits(as_ids(token_ids))])

    def iterate_logits(self, tokens: list[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The same of `tokens` in chunks: (position of the first row, rows), so that a long text
        needs little memory.
        """
        return iterate_logits(self.driver, self.runner, tokens)

    def score_continuations(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> list[Score]:
        """Log-likelihoods in nats, computed together, of `pairs` (context, continuation) of ids.

        Raises:
            UsageError: an empty context or continuation, or a token outside the vocabulary.
            ContextError: both together are more than `context` + 1 tokens.
        """
        return score(self.driver, self.runner, pairs)

    # ---- saved states ----

    def save_state(
        self, path: str | Path, tokens: Sequence[int], adapter: AdapterAsked | None = None
    ) -> int:
        """Writes to `path` what is cached of `tokens` under `adapter`; its length in tokens."""
        files = StateFiles(self.driver, self.runner, self.base_fingerprint)
        return files.save(Path(path), as_ids(tokens), self.active_adapters(adapter))

    def load_state(self, path: str | Path) -> list[int]:
        """Reads such a file (`path`) into free pages, so that prompts beginning with its tokens,
        which are returned, need not compute them.

        Raises:
            FormatError, MissingError: damaged, of another model, of an adapter that is not loaded.
        """
        return StateFiles(self.driver, self.runner, self.base_fingerprint).load(Path(path))

    def close(self) -> None:
        """Gives the cache and the threads back; the model cannot be used afterwards. Closing twice
        is no error.
        """
        self.driver.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


async def _in_thread(function: Callable[..., T], *given: Any) -> T:
    import asyncio  # a loop has imported it: those who have none start without

    return await asyncio.to_thread(function, *given)
