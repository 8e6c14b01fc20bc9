"""From messages or tokens to a request that the engine will take: the one place where it is built.

prepared = prepare_chat(chat_template, tokenizer, limits, ChatRequest(messages, tools=...))
outputs = driver.outputs(prepared.request)

Whatever is wrong with a request is said here, before anything runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.engine import Request, SamplingParams
from understudy.engine.limits import as_ids, check_prompt
from understudy.engine.request import MaskFactory, Overflow
from understudy.errors import ContextError, UsageError
from understudy.generation.chat_request import ChatRequest
from understudy.generation.intent import CallPolicy, CallSettings, Intent
from understudy.generation.reply_mask import answer_mask, reply_mask
from understudy.generation.results import ResultCheck
from understudy.generation.signatures import SHORTENED, signature
from understudy.generation.sizes import check_num_messages, check_size
from understudy.generation.thinking import (
    NO_THOUGHTS,
    Thinking,
    closed,
    starts_inside,
    thinking_mask,
)
from understudy.generation.tools import Tool
from understudy.text import Tokenizer
from understudy.text.templates import ChatTemplate, Prompt, Stops


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What requests are held to: the engine's sizes, and what its operator allows.

    Attributes:
        max_tokens: most tokens of one answer, whatever is asked.
        temperature: where a request names none.
        caps_answers: `max_tokens` of a request means "at most": what is not free is cut off.
        calls: decides before the model whether a message wants a tool; None: the model alone does.
        job_adapter: acts on requests that choose no adapter, where a tool may be called or has just
            said something; None: none does.
    """

    context: int
    vocab_size: int
    max_tokens: int | None = None
    temperature: float | None = None
    caps_answers: bool = False
    calls: CallPolicy | None = None
    job_adapter: str | None = None

    def with_job_adapter(self, sampling: Mapping[str, Any], job: object = True) -> dict[str, Any]:
        """The settings of a request, with the adapter of jobs where it is one and chose none."""
        is_chosen = self.job_adapter is None or sampling.get("adapter") is not None or not job
        return dict(sampling) if is_chosen else {**sampling, "adapter": self.job_adapter}

    def with_calls(self, settings: CallSettings | None) -> CallPolicy | None:
        """How calls are decided under other settings; None: under those of the model."""
        if self.calls is None or settings is None:
            return self.calls
        return dataclasses.replace(self.calls, settings=settings)


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request that the engine will take.

    Attributes:
        prompt: of a conversation, for its ledger.
        tools: what its answer may call.
        notes: what was left out or cut off, in a line each.
        is_capped: less than was asked for is free.
        continues: the answer goes on a text.
        chat: what was asked for, for another try.
        late: what is to be told that turned out only while the answer was written.
        check: what the answer is held against, where it tells results of tools.
    """

    request: Request
    prompt: Prompt | None = None
    tools: tuple[Tool, ...] = ()
    notes: tuple[str, ...] = ()
    is_capped: bool = False
    continues: bool = False
    chat: ChatRequest | None = None
    late: list[str] = field(default_factory=list)
    check: ResultCheck | None = None

    @property
    def num_prompt(self) -> int:
        """Tokens of the prompt."""
        return len(self.request.prompt)

    @property
    def num_answers(self) -> int:
        return self.request.params.n


def prepare_chat(
    chat_template: ChatTemplate, tokenizer: Tokenizer, limits: RequestLimits, chat: ChatRequest
) -> PreparedRequest:
    """Renders, encodes and compiles; a schema can take a while.

    Raises:
        UnderstudyError: what is wrong with the request, in a line.
    """
    chat = chat.with_tools_read()
    check_num_messages(len(chat.messages), limits.context)
    shown = [tool.to_openai() for tool in chat.tools if chat.choice != "none"]
    check_size([chat.messages, chat.prefill, shown], tokenizer, limits.context)
    thinking = NO_THOUGHTS if chat.prefill else chat.thinking
    template = thinking.template_of(chat_template)
    policy = limits.calls.switched(chat.calls) if limits.calls is not None else None
    intent = _intent_of(chat, policy)
    tools = [] if intent.hides_tools else shown
    prompt, brief = _prompt_in_room(template, chat, tools, thinking, tokenizer, limits)
    options: Any = {"is_parallel": chat.is_parallel, "answer": chat.answer}
    mask = reply_mask(template, tokenizer, chat.tools, intent, **options)
    mask = thinking_mask(template, prompt, mask, thinking)
    request = make_request(
        prompt.encode(tokenizer),
        _sampling_of(chat, intent, limits),
        limits,
        stops=template.stops,
        overflow=chat.overflow,
        make_mask=mask,
        shown=template.shown_tokens(may_call=bool(chat.tools)),
        thinks=starts_inside(template, prompt),
    )
    capped = _capped(request, chat.sampling.get("max_tokens"))
    if chat.prefill:
        request = dataclasses.replace(request, continues=True)
    return PreparedRequest(
        request,
        prompt,
        chat.tools if intent.callable_tools else (),
        (*chat.notes, *intent.notes, *brief, *capped, *chat.thinking.notes_of(chat_template)),
        is_capped=bool(capped),
        continues=bool(chat.prefill),
        chat=chat,
        check=_check_of(chat, policy),
    )


def _prompt_in_room(
    template: ChatTemplate,
    chat: ChatRequest,
    shown: Sequence[Mapping[str, Any]],
    thinking: Thinking,
    tokenizer: Tokenizer,
    limits: RequestLimits,
) -> tuple[Prompt, tuple[str, ...]]:
    """The prompt, with brief tools where whole ones have no room, and a note that says so."""
    prompt = _prompt_of(template, chat, shown, thinking)
    if not shown or len(prompt.encode(tokenizer)) < limits.context:
        return prompt, ()
    briefly = [signature(tool) for tool in chat.tools]
    return _prompt_of(template, chat, briefly, thinking), (SHORTENED,)


def _prompt_of(
    template: ChatTemplate,
    chat: ChatRequest,
    shown: Sequence[Mapping[str, Any]],
    thinking: Thinking,
) -> Prompt:
    prompt = template.render(
        chat.messages, tools=shown or None, add_generation_prompt=chat.opens_turn
    )
    prompt = closed(template, prompt, thinking) if chat.opens_turn else prompt
    return _with_prefill(prompt, chat) if chat.prefill else prompt


def _check_of(chat: ChatRequest, policy: CallPolicy | None) -> ResultCheck | None:
    """What an answer to results is held against; a form of its own has its own check, and a request
    without tools goes on a conversation that somebody else leads.
    """
    level = "off" if policy is None else policy.settings.check_results
    if level == "off" or not chat.tools or chat.prefill or chat.answer.is_given:
        return None
    return ResultCheck.of_messages(chat.messages, is_complete=level == "complete")


def _intent_of(chat: ChatRequest, policy: CallPolicy | None) -> Intent:
    """What calls the newest message should lead to."""
    if policy is None or not chat.tools or chat.prefill:
        return Intent(chat.choice, chat.tools)
    texts = [(str(m.get("role")), str(m.get("content") or "")) for m in chat.messages]
    newest = next((text for role, text in reversed(texts) if role == "user"), "")
    return policy.intent(
        newest,
        "\n".join(text for _, text in texts),
        chat.tools,
        chat.choice,
        after_results=bool(texts) and texts[-1][0] == "tool",
    )


def _with_prefill(prompt: Prompt, chat: ChatRequest) -> Prompt:
    """The prompt with the beginning of the answer behind it, which is data like every message."""
    if chat.answer.is_given:
        raise UsageError(
            "an answer that is held to a form cannot go on a text",
            where="messages",
            do="end with the user's message",
        )
    return prompt.going_on(chat.prefill)


def _capped(request: Request, asked: int | None) -> tuple[str, ...]:
    """A line where less than was asked for is free."""
    given = request.params.max_tokens
    if asked is None or given is None or given >= asked:
        return ()
    return (f"answer: at most {given} tokens of the {asked} that were asked for",)


def make_request(
    tokens: Sequence[int],
    params: SamplingParams,
    limits: RequestLimits,
    *,
    stops: Stops | None = None,
    overflow: Overflow = "refuse",
    make_mask: MaskFactory | None = None,
    priority: int = 0,
    **told: Any,
) -> Request:
    """A request, with all that the engine would refuse refused here.

    Args:
        stops: what ends the answers of a chat template; None: a text is continued.
        told: `shown` and `thinks` of the request.
    """
    ids = as_ids(tokens)
    params = params if stops is None else with_stops(params, stops)
    if limits.caps_answers and overflow == "refuse":
        params = _fitting(params, len(ids), limits.context)
    request = Request(ids, params, overflow, make_mask, priority, continues=stops is None, **told)
    check_prompt(ids, params, overflow, context=limits.context, vocab_size=limits.vocab_size)
    return request


def _sampling_of(chat: ChatRequest, intent: Intent, limits: RequestLimits) -> SamplingParams:
    """How tokens are drawn: as the request says, and as its job needs."""
    sampling = intent.sampling(chat.sampling)
    return sampling_params(limits.with_job_adapter(sampling, _is_job(chat, intent)), limits)


def _is_job(chat: ChatRequest, intent: Intent) -> bool:
    """Whether a tool may be called, or has just said something; else the model answers as it is."""
    is_after_result = bool(chat.messages) and chat.messages[-1]["role"] == "tool"
    return bool(intent.callable_tools) or is_after_result


def _fitting(params: SamplingParams, num_prompt: int, context: int) -> SamplingParams:
    """The settings with as many tokens of the answer as are free.

    Raises:
        ContextError: not one is; in the words by which clients of both big protocols know it.
    """
    asked = params.max_tokens or 1
    if num_prompt >= context:
        raise ContextError(
            f"prompt is too long: {num_prompt} tokens + {asked} for the answer > {context} maximum",
            do="shorten the prompt, or start the server with a larger --context",
        )
    if params.max_tokens is None:
        return params
    return dataclasses.replace(params, max_tokens=min(asked, context - num_prompt))


def with_stops(params: SamplingParams, stops: Stops) -> SamplingParams:
    """The settings, ended by a chat template's stops too; by its tokens only if ends count."""
    token_ids = () if params.ignore_eos else stops.token_ids
    return dataclasses.replace(
        params,
        stop=tuple(dict.fromkeys((*params.stop, *stops.strings))),
        stop_token_ids=tuple(dict.fromkeys((*params.stop_token_ids, *token_ids))),
    )


def sampling_params(sampling: Mapping[str, Any], limits: RequestLimits) -> SamplingParams:
    """Settings by name, None for what was not given, with the operator's defaults and caps.

    Raises:
        UsageError: an unknown name, or a value out of range.
    """
    given = {name: value for name, value in sampling.items() if value is not None}
    known = {field.name for field in dataclasses.fields(SamplingParams)}
    if unknown := sorted(set(given) - known):
        expected = ", ".join(sorted(known))
        raise UsageError("unknown option", where=", ".join(unknown), expected=expected)
    if limits.temperature is not None:
        given.setdefault("temperature", limits.temperature)
    if limits.max_tokens is not None:
        given["max_tokens"] = min(given.get("max_tokens", limits.max_tokens), limits.max_tokens)
    if given.get("top_p") == 0:
        given["top_p"] = 1e-6
    return SamplingParams(**given)


__all__ = [
    "MaskFactory",
    "PreparedRequest",
    "RequestLimits",
    "answer_mask",
    "make_request",
    "prepare_chat",
    "sampling_params",
]
