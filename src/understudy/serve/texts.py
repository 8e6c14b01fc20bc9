"""Texts that are continued without a chat template: their requests, and their outputs checked.

    prepared = prepare_text(context, tokens, sampling, make_mask=mask)
    outputs = checked_texts(context, prepared, await answers.admit(context, prepared, [text]), form)

Conversations have `answers.Answers`.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.engine import Output
from understudy.generation import prepare
from understudy.generation.chat_request import AnswerForm, in_other_words
from understudy.generation.prepare import PreparedRequest
from understudy.generation.schemas.contract import Contract
from understudy.generation.sizes import check_size
from understudy.model import Model
from understudy.serve.answers import contract_to_check, fault_of_answer, submit
from understudy.serve.content import Outputs
from understudy.serve.errors import ApiError
from understudy.serve.server import RequestContext


def encode_text(model: Model, prompt: str | list[int]) -> list[int]:
    """Ids of a text to continue, refused first where no context of this size could hold it."""
    check_size(prompt, model.tokenizer, model.engine.context)
    return model.encode_prompt(prompt)


def encode_parts(model: Model, parts: Sequence[int | str]) -> list[int]:
    """Ids of texts and ids in a row, as llama-server mixes them: what the tokenizer puts in front
    of a text stands before the first alone."""
    if len(parts) == 1 and isinstance(parts[0], str):
        return encode_text(model, parts[0])
    tokenizer, tokens = model.tokenizer, list[int]()
    for place, part in enumerate(parts):
        if isinstance(part, int):
            tokens.append(part)
            continue
        check_size(part, tokenizer, model.engine.context)
        tokens += tokenizer.encode_segments(tokenizer.split(part), add_opening=place == 0)
    return tokens


def shown_text(model: Model, prompt: str | Sequence[int | str]) -> str:
    """What a content guard sees of such a prompt."""
    if isinstance(prompt, str):
        return prompt
    shown: list[str] = []
    for is_text, parts in itertools.groupby(prompt, lambda part: isinstance(part, str)):
        run: list[Any] = list(parts)
        shown += run if is_text else [model.tokenizer.decode(run, skip_special=True)]
    return "".join(shown)


def prepare_text(
    context: RequestContext, tokens: Sequence[int], sampling: Mapping[str, Any], **options: Any
) -> PreparedRequest:
    """A text to continue; `options` are those of `prepare.make_request`."""
    params = prepare.sampling_params(sampling, context.limits)
    return PreparedRequest(prepare.make_request(tokens, params, context.limits, **options))


async def checked_texts(
    context: RequestContext, prepared: PreparedRequest, outputs: Outputs, answer: AnswerForm
) -> Outputs:
    """The outputs of a text prompt; an answer of a form that its grammar does not hold whole waits
    for its check, and is written once more where it fails.

    Raises:
        ApiError: 422, an answer broke its schema twice.
    """
    contract = contract_to_check(answer)
    held: dict[int, list[Output]] = {}
    async for output, is_stopped in outputs:
        mine = held.setdefault(output.index, [])
        mine.append(output)
        if contract is not None and output.finish_reason is None and not is_stopped:
            continue
        fault = None if contract is None or is_stopped else _text_fault(contract, mine)
        if fault is None:
            for earlier in mine[:-1]:
                yield earlier, False
            yield output, is_stopped
            mine.clear()
            continue
        assert contract is not None
        async for again in _another_text(context, prepared, output.index, contract, fault):
            yield again


async def _another_text(
    context: RequestContext, prepared: PreparedRequest, index: int, contract: Contract, fault: str
) -> Outputs:
    context.request.state.record["retried"] = fault
    params = prepared.request.params
    changed = in_other_words({"seed": params.seed, "temperature": params.temperature})
    request = dataclasses.replace(
        prepared.request, params=dataclasses.replace(params, n=1, **changed)
    )
    second = dataclasses.replace(prepared, request=request)
    found: list[tuple[Output, bool]] = []
    async for output, is_stopped in submit(context, second, index):
        found.append((dataclasses.replace(output, index=index), is_stopped))
    is_stopped = any(stopped for _, stopped in found)
    fault_now = None if is_stopped else _text_fault(contract, [output for output, _ in found])
    if fault_now is not None:
        raise ApiError(422, f"written twice against its schema: {fault_now}", code="schema_broken")
    for pair in found:
        yield pair


def _text_fault(contract: Contract, outputs: Sequence[Output]) -> str | None:
    """Where a whole answer breaks its schema."""
    if not outputs or outputs[-1].finish_reason == "length":
        return None
    try:
        broken = contract.fault(json.loads("".join(output.text for output in outputs)))
    except ValueError as error:
        return f"response format: {error}"
    return None if broken is None else fault_of_answer(str(broken))
