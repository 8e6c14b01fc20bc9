"""The game as a character sees it, what it may do there, and the reducer that alone changes it.

The model proposes actions; their names, targets and numbers are enumerated from the state.
`Reducer.commit` holds each proposal against the state once more and applies the game's own rules,
in order: the same state and actions give the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from understudy.errors import UsageError
from understudy.roleplay import conditions


@dataclass(frozen=True, slots=True)
class ActionKind:
    """Something a character may do now.

    Attributes:
        name, description: as the model reads them.
        targets: whom or what it may be done to.
        arguments: maps a name to its possible values, or to (least, most) for whole numbers.
        when: a condition over arguments and facts, as `price <= silver`: see `conditions`.
        cues: words by which players ask for it, beside its name and its targets.
    """

    name: str
    description: str = ""
    targets: tuple[str, ...] = ()
    arguments: Mapping[str, tuple[str, ...] | tuple[int, int]] = field(default_factory=dict)
    when: str = ""
    cues: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.when:
            conditions.parse(self.when)

    def may_happen(self, facts: Mapping[str, Any]) -> bool:
        """Whether the condition may hold as the game stands; True where it depends on what is
        chosen.

        Args:
            facts: of the game, by name.
        """
        try:
            return not self.when or conditions.holds(self.when, facts)
        except conditions.Unknown:
            return True

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of such an action, which a model's proposal is held to."""
        properties: dict[str, Any] = {"name": {"const": self.name}}
        if self.targets:
            properties["target"] = {"enum": list(self.targets)}
        for name, values in self.arguments.items():
            properties[name] = _value_schema(values)
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def fault(self, action: Action, facts: Mapping[str, Any] | None = None) -> str | None:
        """Why a proposal cannot be, in words; None if it can.

        Args:
            action: the proposal.
            facts: of the game, by name: with them the condition is checked too.
        """
        if self.targets and action.target not in self.targets:
            return f"{action.target!r} is not there"
        for name, values in self.arguments.items():
            value = action.arguments.get(name)
            if _is_range(values):
                if (
                    not isinstance(value, int)
                    or isinstance(value, bool)
                    or not values[0] <= value <= values[1]  # type: ignore[operator]
                ):
                    return f"{name} must be {values[0]} to {values[1]}, is {value!r}"
            elif value not in values:
                return f"{name} cannot be {value!r}"
        return self._broken_condition(action, facts) if self.when and facts is not None else None

    def _broken_condition(self, action: Action, facts: Mapping[str, Any]) -> str | None:
        try:
            if conditions.holds(self.when, {**facts, "target": action.target, **action.arguments}):
                return None
        except conditions.Unknown as name:
            return f"{self.when}: {name} is not known"
        return f"not {self.when}"


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    target: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GameState:
    """What the character may see.

    Attributes:
        scene: where it is, in words.
        facts: values by name, which conditions of actions look at.
        actions: what can be done now.
    """

    scene: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    actions: tuple[ActionKind, ...] = ()

    def in_words(self) -> str:
        """The state as a model is told it: the scene, facts and what can be done, a line each."""
        lines = [self.scene, *(f"{name}: {value}" for name, value in self.facts.items())]
        lines += [
            f"You can {kind.name}: {kind.description}" for kind in self.actions if kind.description
        ]
        return "\n".join(line for line in lines if line)


class Refused(Exception):
    """Raised by a rule that does not let an action happen; the text says why."""


Rule = Callable[[GameState, Action], GameState]


@dataclass(frozen=True, slots=True)
class Committed:
    state: GameState
    done: tuple[Action, ...]
    refused: tuple[tuple[Action, str], ...]


class Reducer:
    """The game's rules by action name: (state, action) -> state, or `Refused`. Without a rule an
    action changes nothing.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.rules = dict(rules)

    def commit(self, state: GameState, actions: Sequence[Action]) -> Committed:
        """Applies proposals one after another; each is checked against the state that those before
        it left.

        Args:
            state: of the game before them; it is not changed.
            actions: what a turn proposed.

        Returns:
            The state afterwards, what was done, and what was refused with the reason.
        """
        done, refused = [], []
        for action in actions:
            kind = next((kind for kind in state.actions if kind.name == action.name), None)
            fault = "not possible now" if kind is None else kind.fault(action, state.facts)
            if fault is None:
                try:
                    state = self.rules.get(action.name, _unchanged)(state, action)
                    done.append(action)
                    continue
                except Refused as reason:
                    fault = str(reason)
            refused.append((action, fault))
        return Committed(state, tuple(done), tuple(refused))


def _unchanged(state: GameState, action: Action) -> GameState:
    return state


def _is_range(values: Sequence[Any]) -> bool:
    return len(values) == 2 and all(
        isinstance(value, int) and not isinstance(value, bool) for value in values
    )


def _value_schema(values: Sequence[Any]) -> dict[str, Any]:
    if _is_range(values):
        return {"type": "integer", "minimum": values[0], "maximum": values[1]}
    if not values:
        raise UsageError(
            "an argument of an action has no values",
            do="leave the action out while it is not possible",
        )
    return {"enum": list(values)}


def turn_schema(
    state: GameState, emotions: Sequence[str], *, max_say: int, max_actions: int, max_memory: int
) -> dict[str, Any]:
    """The JSON Schema of one turn: `say` first, so that it can be spoken while the rest is still
    being written.
    """
    properties: dict[str, Any] = {
        "say": {"type": "string", "minLength": 1, "maxLength": max_say},
        "emotion": {"enum": list(emotions)},
    }
    kinds = [kind.schema() for kind in state.actions]
    most = max_actions if kinds else 0
    properties["actions"] = {
        "type": "array",
        "maxItems": most,
        "items": {"anyOf": kinds} if kinds else {"const": 0},
    }
    properties["memory"] = {
        "type": "array",
        "maxItems": max_memory,
        "items": {"type": "string", "minLength": 1, "maxLength": 80},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
