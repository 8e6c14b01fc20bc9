"""Understudy: a small language model out of a big one, run on the device.

    import understudy
    model = understudy.load("smollm2-135m-instruct")
    print(model.generate([{"role": "user", "content": "Hello"}]).text)

Everything that a program needs stands in `__all__`:

    run         load Model Reply SamplingParams Session SessionSettings Tool
    documents   Index ask
    characters  Card read_card Lorebook Npc NpcSettings GameState Reducer …
    serve       create_app ServeSettings Guard
    make        Pipeline Recipe read_recipe open_checkpoint save_checkpoint
    compatible  AutoTokenizer AutoModelForCausalLM pipeline TextStreamer
    errors      UnderstudyError and what is below it

Names are imported when they are first used, so `import understudy` is fast and light; type checkers
and editors see the imports below `TYPE_CHECKING`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.chat.session import Session
    from understudy.chat.settings import SessionSettings
    from understudy.checkpoint.checkpoint import Checkpoint, open_checkpoint
    from understudy.checkpoint.convert import save_checkpoint
    from understudy.compat.transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        TextStreamer,
        pipeline,
    )
    from understudy.compress.pipeline import Pipeline
    from understudy.compress.recipe import Recipe, read_recipe
    from understudy.engine.params import SamplingParams
    from understudy.errors import (
        Cancelled,
        CheckpointError,
        CheckpointWarning,
        ContextError,
        DocumentError,
        FormatError,
        InputError,
        MemoryBudgetError,
        MissingError,
        OfflineError,
        SchemaError,
        TemplateError,
        ToolError,
        UnderstudyError,
        UnsupportedError,
        UsageError,
    )
    from understudy.generation.reply import Reply
    from understudy.generation.tools import Tool
    from understudy.judge.safety.moderation import Guard
    from understudy.model import Model, load
    from understudy.rag.answering import ask
    from understudy.rag.index import Index
    from understudy.roleplay.card import Card
    from understudy.roleplay.card_files import read_card, write_card
    from understudy.roleplay.knowledge import Knowledge
    from understudy.roleplay.lorebook import Lorebook
    from understudy.roleplay.npc import Npc, NpcSettings, NpcTurn
    from understudy.roleplay.state import Action, ActionKind, GameState, Reducer, Refused
    from understudy.serve.app import create_app
    from understudy.serve.settings import Settings as ServeSettings
    from understudy.spec import ModelSpec, QuantSpec

__version__ = "0.1.0"

_PLACES = {
    "Action": "understudy.roleplay.state",
    "ActionKind": "understudy.roleplay.state",
    "AutoModelForCausalLM": "understudy.compat.transformers",
    "AutoTokenizer": "understudy.compat.transformers",
    "Cancelled": "understudy.errors",
    "Card": "understudy.roleplay.card",
    "Checkpoint": "understudy.checkpoint.checkpoint",
    "CheckpointError": "understudy.errors",
    "CheckpointWarning": "understudy.errors",
    "ContextError": "understudy.errors",
    "DocumentError": "understudy.errors",
    "FormatError": "understudy.errors",
    "GameState": "understudy.roleplay.state",
    "Guard": "understudy.judge.safety.moderation",
    "Index": "understudy.rag.index",
    "InputError": "understudy.errors",
    "Knowledge": "understudy.roleplay.knowledge",
    "Lorebook": "understudy.roleplay.lorebook",
    "MemoryBudgetError": "understudy.errors",
    "MissingError": "understudy.errors",
    "Model": "understudy.model",
    "ModelSpec": "understudy.spec",
    "Npc": "understudy.roleplay.npc",
    "NpcSettings": "understudy.roleplay.npc",
    "OfflineError": "understudy.errors",
    "Pipeline": "understudy.compress.pipeline",
    "QuantSpec": "understudy.spec",
    "Recipe": "understudy.compress.recipe",
    "Reducer": "understudy.roleplay.state",
    "Refused": "understudy.roleplay.state",
    "Reply": "understudy.generation.reply",
    "SamplingParams": "understudy.engine.params",
    "SchemaError": "understudy.errors",
    "ServeSettings": "understudy.serve.settings:Settings",
    "Session": "understudy.chat.session",
    "SessionSettings": "understudy.chat.settings",
    "TemplateError": "understudy.errors",
    "TextStreamer": "understudy.compat.transformers",
    "Tool": "understudy.generation.tools",
    "ToolError": "understudy.errors",
    "NpcTurn": "understudy.roleplay.npc",
    "UnderstudyError": "understudy.errors",
    "UnsupportedError": "understudy.errors",
    "UsageError": "understudy.errors",
    "ask": "understudy.rag.answering",
    "create_app": "understudy.serve.app",
    "load": "understudy.model",
    "open_checkpoint": "understudy.checkpoint.checkpoint",
    "pipeline": "understudy.compat.transformers",
    "read_card": "understudy.roleplay.card_files",
    "read_recipe": "understudy.compress.recipe",
    "save_checkpoint": "understudy.checkpoint.convert",
    "write_card": "understudy.roleplay.card_files",
}
__all__ = [
    "Action",
    "ActionKind",
    "AutoModelForCausalLM",
    "AutoTokenizer",
    "Cancelled",
    "Card",
    "Checkpoint",
    "CheckpointError",
    "CheckpointWarning",
    "ContextError",
    "DocumentError",
    "FormatError",
    "GameState",
    "Guard",
    "Index",
    "InputError",
    "Knowledge",
    "Lorebook",
    "MemoryBudgetError",
    "MissingError",
    "Model",
    "ModelSpec",
    "Npc",
    "NpcSettings",
    "NpcTurn",
    "OfflineError",
    "Pipeline",
    "QuantSpec",
    "Recipe",
    "Reducer",
    "Refused",
    "Reply",
    "SamplingParams",
    "SchemaError",
    "ServeSettings",
    "Session",
    "SessionSettings",
    "TemplateError",
    "TextStreamer",
    "Tool",
    "ToolError",
    "UnderstudyError",
    "UnsupportedError",
    "UsageError",
    "__version__",
    "ask",
    "create_app",
    "load",
    "open_checkpoint",
    "pipeline",
    "read_card",
    "read_recipe",
    "save_checkpoint",
    "write_card",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'understudy' has no attribute {name!r}")
    place, _, other = _PLACES[name].partition(":")
    value = getattr(importlib.import_module(place), other or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
