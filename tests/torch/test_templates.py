"""Chat templates against transformers: the embedded model's, and templates that treat their data in
many ways.
"""

from __future__ import annotations

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from tests.unit.text.test_templates import CHATML, tokenizer_with
from understudy import hub
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.text import open_tokenizer
from understudy.text.templates import CHAT_TEMPLATES, chat_template_for
from understudy.text.templates.jinja import JinjaChatTemplate

CONVERSATIONS = [
    [{"role": "user", "content": "Who are you?"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " hi \n"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b\n"},
        {"role": "user", "content": "漢字 👩‍🚀"},
    ],
]


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("add", [True, False])
def test_the_embedded_template(messages, add):
    tokenizer = open_tokenizer(open_checkpoint(hub.resolve(hub.DEFAULT_MODEL)).tokenizer_source)
    theirs, _ = render_jinja_template(
        [messages], chat_template=tokenizer.chat_template, add_generation_prompt=add
    )
    assert chat_template_for("llama", tokenizer).name == "chatml"
    for name in ("chatml", "jinja"):
        ours = CHAT_TEMPLATES[name](tokenizer).render(messages, add_generation_prompt=add)
        assert ours.text == theirs[0]
        assert ours.encode(tokenizer) == tokenizer.encode(theirs[0], markers=True)


@pytest.mark.parametrize(
    "body",
    [
        "{{ m.content }}",
        "{{ m.content | trim }}",
        "{{ m.content[:5] }}",
        "{{ m['content'] | length }}:{{ m.content }}",
        "{{ m.content.strip() }}",
        "{{ m.content + '!' }}",
        "{{ 'x' ~ m.content ~ '!' }}",
        "{{ m.content.split(' ') | join('|') }}",
        "{{ m | tojson }}",
        "{% set c = m.content %}{{ c }}{{ c }}",
        "{{ m.content | tojson(indent=2) }}",
        "{{ m.role | upper }}{{ m.content | e }}",
        "{% generation %}{{ m.content }}{% endgeneration %}",
    ],
)
def test_the_text_is_what_jinja_alone_makes(body):
    template = "{% for m in messages %}<|im_start|>" + body + "<|im_end|>{% endfor %}"
    messages = [{"role": "user", "content": "  a b\n"}, {"role": "assistant", "content": "漢字 c"}]
    theirs, _ = render_jinja_template([messages], chat_template=template)
    made = JinjaChatTemplate(tokenizer_with(CHATML, template))
    assert made.render(messages).text == theirs[0]
