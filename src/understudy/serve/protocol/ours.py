"""Bodies of characters, sessions and collections."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from understudy.roleplay.state import ActionKind, GameState
from understudy.serve.protocol.common import Body, JsonObject, Probability, Seed

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


Values = (
    Annotated[list[str], Field(min_length=1)]
    | Annotated[list[int], Field(min_length=2, max_length=2)]
)


class SessionRequest(Body):
    character: str
    model: str | None = None
    user: Annotated[str, Field(min_length=1, max_length=80)] = "Traveller"
    seed: Annotated[int, Field(ge=0, le=1 << 31)] = 0
    greeting: Annotated[int, Field(ge=0, le=1000)] = 0
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7


class ActionBody(Body):
    """Something the character may do now; an argument's values are texts, or the least and most of a whole number."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str = ""
    targets: list[str] = Field(default_factory=list)
    arguments: dict[str, Values] = Field(default_factory=dict)


class TurnRequest(Body):
    text: Annotated[str, Field(min_length=1, max_length=20_000)]
    scene: str = ""
    facts: JsonObject = Field(default_factory=dict)
    actions: list[ActionBody] = Field(default_factory=list, max_length=64)
    stream: bool = False

    def state(self) -> GameState:
        kinds = []
        for action in self.actions:
            arguments: dict[str, Any] = {
                name: tuple(values) for name, values in action.arguments.items()
            }
            kinds.append(
                ActionKind(action.name, action.description, tuple(action.targets), arguments)
            )
        return GameState(self.scene, self.facts, tuple(kinds))


class InterruptRequest(Body):
    heard_chars: Annotated[int, Field(ge=0, le=1 << 30)]


class CollectionRequest(Body):
    name: Name


class DocumentRequest(Body):
    """A document as text; files come as multipart/form-data."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    text: Annotated[str, Field(min_length=1)]


class SearchRequest(Body):
    query: Annotated[str, Field(min_length=1, max_length=4000)]
    k: Annotated[int, Field(ge=1, le=100)] = 8
    mode: Literal["fused", "words", "vectors"] = "fused"


class AskRequest(Body):
    question: Annotated[str, Field(min_length=1, max_length=4000)]
    model: str | None = None
    k: Annotated[int, Field(ge=1, le=32)] = 8
    threshold: Probability | None = None
    max_tokens: Annotated[int, Field(ge=16, le=4096)] = 384
    temperature: Probability | None = None
    seed: Seed | None = None
