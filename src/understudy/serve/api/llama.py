"""llama-server's own routes, as SillyTavern calls them: `/props`, `/completion`, `/slots`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from understudy.engine import Output
from understudy.engine.handles import AsyncOutputs
from understudy.generation.prepare import AnswerForm, PreparedRequest, answer_mask
from understudy.serve.answers import checked_texts
from understudy.serve.api.bodies import (
    AdapterBody,
    Body,
    JsonObject,
    Probability,
    RepetitionSamplers,
    Seed,
    stops_of,
)
from understudy.serve.api.openai_chat import bias_of, timings
from understudy.serve.content import admit, outputs_of
from understudy.serve.errors import ApiError
from understudy.serve.events import event
from understudy.serve.generate import encode_text, prepare_text
from understudy.serve.pool import LoadedModel
from understudy.serve.server import (
    RequestContext,
    json_response,
    read_body,
    respond,
    server_of,
    with_model,
)
from understudy.serve.tokens import chat_logprobs, shown_logprobs
from understudy.text import Tokenizer

TOLERATED: dict[str, tuple[Any, ...]] = {
    "typical_p": (1,),
    "typical": (1,),
    "tfs": (1,),
    "tfs_z": (1,),
    "top_a": (0,),
    "mirostat": (0,),
    "mirostat_mode": (0,),
    "mirostat_tau": (),
    "mirostat_eta": (),
    "top_n_sigma": (0, -1),
    "nsigma": (0, -1),
    "min_keep": (0,),
    "adaptive_target": (-1,),
    "adaptive_decay": (),
    "dynatemp_range": (0,),
    "dynatemp_exponent": (),
    "dynatemp_min": (),
    "dynatemp_max": (),
    "dynatemp_low": (),
    "dynatemp_high": (),
    "dynatemp_mode": (0,),
    "dynamic_temperature": (False,),
    "smoothing_factor": (0,),
    "smoothing_curve": (),
    "sampler_order": (),
    "sampler_priority": (),
    "samplers": (),
    "samplers_priorities": (),
    "sampler_seed": (),
    "temperature_last": (),
    "rep_pen_slope": (),
    "rep_pen_size": (),
    "encoder_repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "penalty_alpha": (0,),
    "penalize_nl": (False,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "guidance_scale": (1,),
    "negative_prompt": ("",),
    "num_beams": (1,),
    "length_penalty": (),
    "early_stopping": (False,),
    "do_sample": (True,),
    "use_default_badwordsids": (),
    "use_mancer": (),
    "api_type": (),
    "api_server": (),
    "legacy_api": (),
    "add_bos_token": (True,),
    "ban_eos_token": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "include_reasoning": (),
    "speculative_ngram": (False,),
    "custom_token_bans": ("",),
    "banned_strings": ([],),
    "banned_tokens": ([], ""),
    "bans": ([],),
    "proxy_password": ("",),
    "proxy_preset": (),
    "reverse_proxy": (),
    "truncation_length": (),
    "num_ctx": (),
    "max_context_length": (),
    "min_length": (0,),
    "min_tokens": (0,),
    "sampler": (),
    "id_slot": (-1,),
    "n_keep": (),
    "n_discard": (),
    "t_max_predict_ms": (-1,),
    "return_tokens": (False,),
    "post_sampling_probs": (False,),
    "timings_per_token": (False,),
    "image_data": ([],),
    "cfg_scale": (1,),
    "extra_body": (),
}


_LOW_INT = Annotated[int, Field(ge=-1, le=1 << 30)]


class LlamaCompletionBody(RepetitionSamplers, AdapterBody):
    """llama-server's `/completion`. Aliases are read in the order in which they stand here; the
    first that is given counts.
    """

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    prompt: str | list[int] = ""
    model: str | None = None
    n_predict: _LOW_INT | None = None
    max_tokens: _LOW_INT | None = None
    max_new_tokens: _LOW_INT | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_k: _LOW_INT | None = None
    top_p: Probability | None = None
    min_p: Probability | None = None
    repeat_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    rep_pen: Annotated[float, Field(ge=0.01, le=100)] | None = None
    repeat_last_n: _LOW_INT | None = None
    repetition_penalty_range: _LOW_INT | None = None
    rep_pen_range: _LOW_INT | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Seed | None = None
    stop: str | list[str] | None = None
    stopping_strings: list[str] | None = None
    stop_sequence: list[str] | None = None
    logit_bias: list[list[int | float | bool | str]] | dict[str, float] | None = None
    grammar: str | None = None
    grammar_string: str | None = None
    json_schema: JsonObject | None = None
    n_probs: Annotated[int, Field(ge=0, le=100)] | None = None
    n: Literal[1] | None = None
    cache_prompt: bool | None = None
    ignore_eos: bool | None = None
    stream: bool | None = None

    def first(self, *names: str) -> Any:
        """The value of the first of some aliases that is given."""
        return next(
            (getattr(self, name) for name in names if getattr(self, name) is not None), None
        )


class SlotBody(Body):
    """`filename` without a folder; `prompt` says what to save: a text, or the ids of its tokens."""

    filename: str | None = None
    prompt: str | list[int] | None = None
    model: str | None = None


_FILE = re.compile(r"[\w-][\w.-]{0,127}\Z")


async def props(request: Request) -> Response:
    """Template and context, which SillyTavern asks when it connects."""
    async with server_of(request).pool.lease(None) as served:
        tokenizer, driver = served.model.tokenizer, served.driver
        generation = {
            "n_ctx": served.model.engine.context,
            "id": 0,
            "is_processing": driver.num_running > 0,
            "params": {},
        }
        return json_response(
            {
                "default_generation_settings": generation,
                "total_slots": driver.dispatcher.admission.max_running,
                "model_path": served.name,
                "model_alias": served.name,
                "chat_template": tokenizer.chat_template or "",
                "bos_token": _marker(tokenizer, tokenizer.bos_id),
                "eos_token": _marker(
                    tokenizer, tokenizer.eos_ids[0] if tokenizer.eos_ids else None
                ),
                "modalities": {"vision": False, "audio": False},
                "build_info": "understudy",
            }
        )


def _marker(tokenizer: Tokenizer, token: int | None) -> str:
    return "" if token is None else tokenizer.id_to_piece(token)


@with_model(LlamaCompletionBody)
async def completion(context: RequestContext, body: LlamaCompletionBody) -> Response:
    ignored = ignored_fields(body)
    prepared = await asyncio.to_thread(_prepare, context, body)
    text = (
        body.prompt
        if isinstance(body.prompt, str)
        else context.model.tokenizer.decode(body.prompt, skip_special=True)
    )
    writer = _Completion(context, body, prepared, await admit(context, prepared, [text]))
    answer = await (
        respond(context, events=writer.events())
        if body.stream
        else respond(context, whole=writer.whole())
    )
    if ignored:
        answer.headers["X-Understudy-Ignored"] = ", ".join(ignored)
    return answer


def ignored_fields(body: LlamaCompletionBody) -> list[str]:
    """Tolerated fields that asked for something.

    Raises:
        ApiError: a field that is not tolerated either.
    """
    extra = body.model_extra or {}
    if unknown := sorted(set(extra) - set(TOLERATED)):
        raise ApiError(
            400,
            f"{unknown[0][:80]}: unknown parameter",
            param=unknown[0][:80],
            code="unknown_parameter",
        )
    return sorted(
        name
        for name, value in extra.items()
        if TOLERATED[name] and value is not None and value not in TOLERATED[name]
    )


def _prepare(context: RequestContext, body: LlamaCompletionBody) -> PreparedRequest:
    model = context.model
    tokens = encode_text(model, body.prompt) if isinstance(body.prompt, str) else body.prompt
    num = body.first("n_predict", "max_tokens", "max_new_tokens")
    grammar = body.first("grammar", "grammar_string") or None
    if grammar is not None and body.json_schema is not None:
        raise ApiError(
            400, "grammar: not together with json_schema", param="grammar", code="invalid_value"
        )
    stops = dict.fromkeys(
        (*stops_of(body.stop), *(body.stopping_strings or ()), *(body.stop_sequence or ()))
    )
    top_k = body.top_k if body.top_k is not None and body.top_k > 0 else None
    sampling = body.repetition_sampling() | {
        "max_tokens": None if num is None or num < 0 else max(1, num),
        "temperature": body.temperature,
        "top_k": top_k,
        "top_p": body.top_p,
        "min_p": body.min_p,
        "repetition_penalty": body.first("repeat_penalty", "repetition_penalty", "rep_pen"),
        "penalty_last_n": body.first("repeat_last_n", "repetition_penalty_range", "rep_pen_range"),
        "penalize_prompt": True,
        "frequency_penalty": body.frequency_penalty,
        "presence_penalty": body.presence_penalty,
        "ignore_eos": body.ignore_eos,
        "seed": body.seed if body.seed is None or body.seed >= 0 else None,
        "stop": tuple(stop for stop in stops if stop),
        "logit_bias": _bias(model.tokenizer, body.logit_bias),
        "logprobs": body.n_probs or None,
    }
    mask = answer_mask(model.tokenizer, AnswerForm(json_schema=body.json_schema, lark=grammar))
    return prepare_text(model, tokens, sampling, context.server.settings, make_mask=mask)


def _bias(
    tokenizer: Tokenizer, bias: list[list[Any]] | dict[str, float] | None
) -> dict[int, float] | None:
    """`[[id or text, number or false], …]`; false forbids a token."""
    if bias is None or isinstance(bias, dict):
        return bias_of(bias)
    result: dict[int, float] = {}
    for entry in bias:
        if (
            len(entry) != 2
            or isinstance(entry[0], (bool, float))
            or isinstance(entry[1], str)
            or entry[1] is True
        ):
            raise ApiError(
                400,
                "logit_bias: entries are [token, number or false]",
                param="logit_bias",
                code="invalid_value",
            )
        tokens = tokenizer.encode(entry[0]) if isinstance(entry[0], str) else [entry[0]]
        result |= dict.fromkeys(tokens, -1e9 if entry[1] is False else float(entry[1]))
    return result


class _Completion:
    def __init__(
        self,
        context: RequestContext,
        body: LlamaCompletionBody,
        prepared: PreparedRequest,
        outputs: AsyncOutputs | None,
    ) -> None:
        self.context, self.body = context, body
        form = AnswerForm(json_schema=body.json_schema)
        self.outputs = checked_texts(context, prepared, outputs_of(context, outputs), form)

    def _stopped(self) -> dict[str, Any]:
        head = {
            "content": "",
            "tokens": [],
            "stop": True,
            "index": 0,
            "id_slot": 0,
            "model": self.context.name,
        }
        return {
            **head,
            "stop_type": "content_filter",
            "stopping_word": "",
            "guard": self.context.stops[0].to_document(),
        }

    def _document(self, output: Output) -> dict[str, Any]:
        document: dict[str, Any] = {
            "content": output.text,
            "tokens": list(output.new_tokens),
            "stop": output.finish_reason is not None,
            "index": 0,
            "id_slot": 0,
        }
        if self.body.n_probs:
            entries = chat_logprobs(
                self.context.model.tokenizer, shown_logprobs(output), self.body.n_probs
            )
            document["completion_probabilities"] = entries
        if output.finish_reason is not None and output.usage is not None:
            self.context.note(output.usage)
            kind = (
                "limit"
                if output.finish_reason == "length"
                else "word"
                if isinstance(output.stop, str)
                else "eos"
            )
            document |= {
                "model": self.context.name,
                "stop_type": kind,
                "stopping_word": output.stop if isinstance(output.stop, str) else "",
                "truncated": False,
                "tokens_evaluated": output.usage.prompt_tokens,
                "tokens_cached": output.usage.cached_tokens,
                "tokens_predicted": output.usage.completion_tokens,
                "timings": timings([output.usage]),
            }
        return document

    async def events(self) -> AsyncIterator[bytes]:
        async for output, is_stopped in self.outputs:
            yield event(self._stopped() if is_stopped else self._document(output))

    async def whole(self) -> dict[str, Any]:
        text, probabilities, tokens = "", [], []
        document: dict[str, Any] = {}
        async for output, is_stopped in self.outputs:
            if is_stopped:
                self.context.note(output.usage)
                return self._stopped()
            document = self._document(output)
            text += document["content"]
            tokens += document["tokens"]
            probabilities += document.get("completion_probabilities", [])
        document |= {"content": text, "tokens": tokens}
        return document | ({"completion_probabilities": probabilities} if self.body.n_probs else {})


# ---- slots ----


async def slots(request: Request) -> Response:
    """As many slots as `/props` says, the first ones busy: clients read their number and who is
    free.
    """
    async with server_of(request).pool.lease(None) as served:
        driver, context = served.driver, served.model.engine.context
        return json_response(
            [
                {"id": slot, "n_ctx": context, "is_processing": slot < driver.num_running}
                for slot in range(driver.dispatcher.admission.max_running)
            ]
        )


async def slot_action(request: Request) -> Response:
    """`?action=save`, `restore` or `erase`. The cache is found by text, so a slot's number is only
    repeated; what is saved is `prompt`'s.
    """
    body = await read_body(request, SlotBody)
    action = request.query_params.get("action", "")
    slot = request.path_params["id"]
    if not slot.isascii() or not slot.isdigit() or len(slot) > 6:
        raise ApiError(404, "there is no such slot", param="id", code="not_found")
    if action not in ("save", "restore", "erase"):
        raise ApiError(
            400, "action: is save, restore or erase", param="action", code="invalid_value"
        )
    async with server_of(request).pool.lease(body.model) as served:
        if action == "erase":
            erased = served.model.engine.pool.num_free
            await asyncio.to_thread(served.driver.call, lambda engine: engine.pool.forget_all())
            return json_response(
                {"id_slot": int(slot), "n_erased": erased * served.model.engine.pool.page_size}
            )
        path = slot_path(server_of(request).settings.state_folder, body.filename)
        if action == "save":
            return await _save(served, int(slot), path, body)
        if not path.is_file():
            raise ApiError(404, "there is no such file", param="filename", code="not_found")
        tokens = await asyncio.to_thread(served.model.load_state, path)
        return json_response(
            {
                "id_slot": int(slot),
                "filename": path.name,
                "n_restored": len(tokens),
                "n_read": path.stat().st_size,
            }
        )


async def _save(served: LoadedModel, slot: int, path: Path, body: SlotBody) -> Response:
    if body.prompt is None:
        raise ApiError(
            400, "prompt: says what to save", param="prompt", code="missing_required_parameter"
        )
    tokens = served.model.encode_prompt(body.prompt)
    path.parent.mkdir(parents=True, exist_ok=True)
    count = await asyncio.to_thread(served.model.save_state, path, tokens)
    return json_response(
        {"id_slot": slot, "filename": path.name, "n_saved": count, "n_written": path.stat().st_size}
    )


def slot_path(folder: Path | None, filename: str | None) -> Path:
    """A file directly in the folder for slots.

    Raises:
        ApiError: no folder, or a name that could lead out of it.
    """
    if folder is None:
        raise ApiError(
            400,
            "slots cannot be saved; start the server with --state FOLDER",
            code="no_state_folder",
        )
    if filename is None or not _FILE.match(filename):
        raise ApiError(
            400,
            "filename: letters, digits and _ . -, without folders",
            param="filename",
            code="invalid_value",
        )
    return folder / "slots" / filename
