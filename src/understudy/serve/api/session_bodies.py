"""Bodies of `/v1/sessions`: how one is opened, its turns, its saved form."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any, Literal

from pydantic import Field

from understudy.roleplay.lorebook import Lorebook, Rules
from understudy.roleplay.npc import EMOTIONS, NpcSettings
from understudy.roleplay.state import Action, ActionKind, GameState
from understudy.serve.api.bodies import Body, DrawSamplers, JsonObject, Several

Values = (
    Annotated[Several[str], Field(min_length=1)]
    | Annotated[Several[int], Field(min_length=2, max_length=2)]
)


Emotion = Annotated[str, Field(pattern=r"^[^\W\d_][\w -]{0,39}$")]


class SaidBody(Body):
    """A message of a history that a session is given."""

    role: Literal["user", "assistant"]
    text: Annotated[str, Field(min_length=1, max_length=20_000)]
    was_cut: bool = False


class SessionRequest(DrawSamplers):
    character: str
    model: str | None = None
    user: Annotated[str, Field(min_length=1, max_length=80)] = "Traveller"
    seed: Annotated[int, Field(ge=0, le=1 << 31)] = 0
    greeting: Annotated[int, Field(ge=0, le=1000)] = 0
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    stops_at_speakers: bool = True
    stays_in_character: bool = True
    speaks_in_sentences: bool = True
    speaks_anew: bool = True
    persona: Annotated[str, Field(max_length=20_000)] = ""
    emotions: Annotated[Several[Emotion], Field(min_length=1, max_length=64)] = Field(
        default_factory=lambda: list(EMOTIONS)
    )
    max_say: Annotated[int, Field(ge=20, le=2000)] = 240
    max_actions: Annotated[int, Field(ge=0, le=16)] = 2
    max_memory: Annotated[int, Field(ge=0, le=16)] = 1
    reserve: Annotated[int, Field(ge=64, le=1 << 20)] = 320
    context: Annotated[int | None, Field(ge=64, le=1 << 20)] = None
    rules: Rules | None = None
    remembers: bool | None = None
    lorebooks: Annotated[Several[JsonObject], Field(max_length=16)] = Field(default_factory=list)
    history: Annotated[Several[SaidBody], Field(max_length=2000)] | None = None

    def npc_settings(self) -> NpcSettings:
        # a server names its adapters by its models: none is a field here
        named = (field.name for field in dataclasses.fields(NpcSettings) if field.name != "adapter")
        given = {name: getattr(self, name) for name in named}
        return NpcSettings(**{**given, "emotions": tuple(self.emotions)})

    def books(self) -> list[Lorebook]:
        """Raises DocumentError for one that is none."""
        return [
            Lorebook.parse(json.dumps(book), f"lorebooks[{number}]", rules=self.rules)
            for number, book in enumerate(self.lorebooks)
        ]


class SavedSession(Body):
    """What `…/save` gave: how the session was opened, and how it stands."""

    object: Literal["saved_session"]
    opened: SessionRequest
    state: JsonObject


class ActionBody(Body):
    """Something the character may do now; an argument's values are texts, or the least and most of
    a whole number.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str = ""
    when: Annotated[str, Field(max_length=1000)] = ""
    cues: Annotated[Several[str], Field(max_length=64)] = Field(default_factory=list)
    targets: Several[str] = Field(default_factory=list)
    arguments: dict[str, Values] = Field(default_factory=dict)


class TurnRequest(Body):
    text: Annotated[str, Field(min_length=1, max_length=20_000)]
    scene: str = ""
    facts: JsonObject = Field(default_factory=dict)
    actions: Several[ActionBody] = Field(default_factory=list, max_length=64)
    stream: bool = False

    def state(self) -> GameState:
        kinds = []
        for action in self.actions:
            arguments: dict[str, Any] = {
                name: tuple(values) for name, values in action.arguments.items()
            }
            kinds.append(
                ActionKind(
                    action.name,
                    action.description,
                    tuple(action.targets),
                    arguments,
                    action.when,
                    tuple(action.cues),
                )
            )
        return GameState(self.scene, self.facts, tuple(kinds))


class InterruptRequest(Body):
    heard_chars: Annotated[int, Field(ge=0, le=1 << 30)]


def action_document(action: Action) -> JsonObject:
    """An action as answers tell it."""
    return {"name": action.name, "target": action.target, "arguments": dict(action.arguments)}
