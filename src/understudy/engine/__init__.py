"""Tokens in, tokens out, many requests at once.

engine = Engine(Runner(core_model, num_pages=128), tokenizer)
id = engine.add(Request(prompt_ids, SamplingParams(max_tokens=64)))
while engine.has_work:
    for output in engine.step(): ...

Whoever shares an engine asks its `driver.Driver`, which owns it.
"""

from understudy.engine.adapters import ActiveAdapters, AdapterTable
from understudy.engine.driver import Driver
from understudy.engine.engine import Engine
from understudy.engine.limits import as_ids
from understudy.engine.output import Output, TokenLogprob, Usage
from understudy.engine.params import AdapterAsked, SamplingParams, adapter_choice
from understudy.engine.request import Mask, Overflow, Request
from understudy.engine.runner import Runner
from understudy.engine.scoring import Score

__all__ = [
    "ActiveAdapters",
    "AdapterAsked",
    "AdapterTable",
    "Driver",
    "Engine",
    "Mask",
    "Output",
    "Overflow",
    "Request",
    "Runner",
    "SamplingParams",
    "Score",
    "TokenLogprob",
    "Usage",
    "adapter_choice",
    "as_ids",
]
