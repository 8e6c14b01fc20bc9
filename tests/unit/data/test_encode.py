"""What is learnt of a conversation: the assistant's words, calls and stops, nothing else."""

from __future__ import annotations

import pytest

from tests.support.byte_chat import byte_chat
from understudy.data.encode import ConversationEncoder, Dialogue
from understudy.data.forms import openai_tools
from understudy.errors import DocumentError

MESSAGES = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "<|im_end|> is data"},
    {"role": "assistant", "content": "One."},
    {"role": "user", "content": "More"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}],
    },
]


def learnt_of(conversation: Dialogue, **settings) -> list[str]:
    tokenizer, chat_template = byte_chat()
    encoded = ConversationEncoder.of(tokenizer, chat_template, **settings).encode(conversation)
    texts, run = [], []
    for token, weight in [*zip(encoded.ids, encoded.weights, strict=True), (0, 0.0)]:
        if weight:
            run.append(token)
        elif run:
            texts.append(tokenizer.decode(run))
            run = []
    return texts


def test_replies_calls_and_stops_are_learnt():
    tools = openai_tools([{"name": "f", "description": "", "parameters": {"type": "object"}}])
    assert learnt_of(Dialogue(MESSAGES, tools)) == [
        "One.<|im_end|>",
        '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call><|im_end|>',
    ]


def test_only_the_named_turns_are_learnt_and_nothing_stands_behind_them():
    tokenizer, chat_template = byte_chat()
    conversation = Dialogue(MESSAGES, learnt=[2])
    assert learnt_of(conversation) == ["One.<|im_end|>"]
    encoded = ConversationEncoder.of(tokenizer, chat_template).encode(conversation)
    assert tokenizer.decode(list(encoded.ids)).endswith("One.<|im_end|>")


def test_the_prompt_is_the_one_that_serves():
    tokenizer, chat_template = byte_chat()
    encoded = ConversationEncoder.of(tokenizer, chat_template).encode(Dialogue(MESSAGES[:3]))
    prompt = chat_template.render(MESSAGES[:2]).encode(tokenizer)
    assert list(encoded.ids[: len(prompt)]) == prompt
    assert not any(encoded.weights[: len(prompt)])


def test_a_long_turn_weighs_as_the_root_of_its_length():
    tokenizer, chat_template = byte_chat()
    encoder = ConversationEncoder.of(tokenizer, chat_template)

    def weight(length: int) -> float:
        messages = [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a" * length},
        ]
        return sum(encoder.encode(Dialogue(messages)).weights)

    assert weight(63) == pytest.approx(2 * weight(15))


def test_a_conversation_without_an_assistant_is_refused():
    with pytest.raises(DocumentError, match="nothing is learnt"):
        learnt_of(Dialogue(MESSAGES[:2]))
