"""Tokens in, tokens out, many requests at once.

engine = Engine(Runner(core_model, num_pages=128), tokenizer)
id = engine.add(Request(prompt_ids, SamplingParams(max_tokens=64)))
while engine.has_work:
    for output in engine.step(): ...
"""

from understudy.engine.engine import Engine
from understudy.engine.output import Output, TokenLogprob, Usage
from understudy.engine.params import SamplingParams
from understudy.engine.request import Mask, Overflow, Request
from understudy.engine.runner import Runner

__all__ = [
    "Engine",
    "Mask",
    "Output",
    "Overflow",
    "Request",
    "Runner",
    "SamplingParams",
    "TokenLogprob",
    "Usage",
]
