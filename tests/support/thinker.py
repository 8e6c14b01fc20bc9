"""A small random model whose chat template knows thoughts and calls in XML: it babbles."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers

import understudy
from tests.support.checkpoints import SPECS, random_weights, write_folder

MARKERS = ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>"]
TEMPLATE = """{%- if tools -%}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}Call so: <tool_call>
<function=NAME>
<parameter=KEY>
VALUE
</parameter>
</function>
</tool_call><|im_end|>
{% endif -%}
{%- for m in messages -%}
<|im_start|>{{ m.role }}
{% if m.role == 'assistant' and m.reasoning_content and (loop.last or m.tool_calls) -%}
<think>
{{ m.reasoning_content }}
</think>

{% endif -%}
{{ m.content }}{% for call in m.tool_calls or [] %}<tool_call>
<function={{ call.function.name }}>
{% for name, value in call.function.arguments.items() %}<parameter={{ name }}>
{{ value if value is string else value | tojson }}
</parameter>
{% endfor %}</function>
</tool_call>{% endfor %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking -%}
<think>

</think>

{% elif opens is defined and opens -%}
<think>
{% endif -%}
{%- endif -%}"""


def write_thinker(folder: Path, *, is_special: bool = True, template: str = TEMPLATE) -> Path:
    """The folder of the model. `is_special`: its marks are control tokens, which decoders skip."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    fast = FastTokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens(MARKERS[:2])
    (fast.add_special_tokens if is_special else fast.add_tokens)(MARKERS[2:])
    spec = SPECS["llama"].replace(vocab_size=fast.get_vocab_size(), max_positions=2048)
    write_folder(spec, random_weights(spec, seed=5), folder)
    fast.save(str(folder / "tokenizer.json"))
    settings = {"chat_template": template, "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def thinker(folder: Path, **options) -> understudy.Model:
    return understudy.load(write_thinker(folder, **options), context=2048, use_cache=False)
