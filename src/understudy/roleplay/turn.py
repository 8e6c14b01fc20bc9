"""A turn of a character in a game, and how turns are made."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.engine import AdapterAsked, SamplingParams, Usage, adapter_choice
from understudy.errors import UsageError
from understudy.generation.moderation import Verdict
from understudy.generation.plan import Ledger
from understudy.generation.presets import preset_of
from understudy.roleplay.card import Card
from understudy.roleplay.lorebook import Rules
from understudy.roleplay.state import Action
from understudy.spec import ModelSpec

EMOTIONS = ("neutral", "happy", "sad", "angry", "afraid", "surprised")
CARD_SAMPLING = "understudy/sampling"


@dataclass(frozen=True, slots=True)
class NpcTurn:
    """What a character says (`say`, with an `emotion`), wants to do (`actions`) and to remember
    (`memory`). `ledger` and `usage` count its tokens; `fault` says why a check cut in, `is_cut`
    that the answer outgrew its reserve.

    `verdict` is there where it was the content guard: what it found, and on which side. `refused`
    are proposed actions that a condition forbids, with the reason; `was_redrawn` says that the
    first words left the character, or had just been said, and were drawn again.
    """

    say: str
    emotion: str
    actions: tuple[Action, ...] = ()
    memory: tuple[str, ...] = ()
    ledger: Ledger | None = None
    usage: Usage | None = None
    fault: str | None = None
    is_cut: bool = False
    verdict: Verdict | None = None
    refused: tuple[tuple[Action, str], ...] = ()
    was_redrawn: bool = False


SAMPLERS: dict[str, Any] = {  # names of `SamplingParams`, and what a character speaks with
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.2,
    "presence_penalty": 0.0,
    "penalty_last_n": 64,
    "penalize_prompt": False,
    "dry_multiplier": 0.0,
    "dry_base": 1.75,
    "dry_allowed_length": 2,
    "dry_penalty_last_n": -1,
    "dry_sequence_breakers": ("\n", ":", '"', "*"),
    "xtc_probability": 0.0,
    "xtc_threshold": 0.1,
    "adapter": None,  # of the model's, as `SamplingParams` has it
}


@dataclass(frozen=True, slots=True)
class NpcSettings:
    """How turns are made.

    Samplers are named as in llama.cpp and `SamplingParams`. One that is None is taken from the card
    (`extensions["understudy/sampling"]`), else from the model's preset, else from `SAMPLERS`.
    Frequency and presence count the tokens of this speech alone; what the prompt says may be said
    again, unless `penalize_prompt`.

    Attributes:
        user: the player's name.
        emotions: those that a turn may have, the neutral one first.
        max_say: characters of what is said.
        max_actions, max_memory: most actions and facts to remember of one turn.
        reserve: tokens of the context that are kept for the answer.
        context: tokens of prompt and answer; default the model's.
        temperature, top_p, top_k, min_p: samplers, as in `SamplingParams`.
        repetition_penalty, frequency_penalty, presence_penalty, penalty_last_n: the same.
        dry_multiplier, dry_base, dry_allowed_length, dry_penalty_last_n: the same.
        dry_sequence_breakers, xtc_probability, xtc_threshold: the same.
        seed, greeting: of the sampling and of random macros; which greeting of the card.
        adapter: name of the adapter of the model that the character speaks with.
        persona: who the player is, for `{{persona}}`.
        rules: of the card's lorebook; default as its origin says.
        remembers: whether the model may write facts into memory; default the model's preset.
        stops_at_speakers: words end where somebody else's turn would begin.
        stays_in_character: a sentence that leaves the character's world, or says that it is a
            program, is not heard: the words are drawn again once.
        speaks_in_sentences: words end with a sentence, and are at least one.
        speaks_anew: a sentence of the player's message or of the character's last one is not said
            again (as the first one it is drawn once more), and of its card at most two are recited.

    Raises:
        UsageError: a sampler is out of its range.
    """

    user: str = "Traveller"
    emotions: tuple[str, ...] = EMOTIONS
    max_say: int = 240  # characters
    max_actions: int = 2
    max_memory: int = 1
    reserve: int = 320
    context: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    penalty_last_n: int | None = None
    penalize_prompt: bool | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    dry_sequence_breakers: Sequence[str] | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    adapter: AdapterAsked | None = None
    remembers: bool | None = None
    stops_at_speakers: bool = True
    stays_in_character: bool = True
    speaks_in_sentences: bool = True
    speaks_anew: bool = True
    seed: int = 0
    greeting: int = 0
    persona: str = ""
    rules: Rules | None = None

    def __post_init__(self) -> None:
        SamplingParams(**self.given_samplers)

    @property
    def given_samplers(self) -> dict[str, Any]:
        """Samplers that somebody set."""
        named = {name: getattr(self, name) for name in SAMPLERS}
        return {name: value for name, value in named.items() if value is not None}

    def draw(
        self, spec: ModelSpec, turn: int, again: int = 0, of_card: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Sampling of turn number `turn` by a model of this shape.

        Args:
            spec: of the model.
            again: how often these words were drawn before.
            of_card: samplers that the card asks for.
        """
        preset = {k: v for k, v in preset_of(spec).characters.items() if k in SAMPLERS}
        seed = self.seed * 1_000_003 + turn + again * 500_009
        return {**SAMPLERS, **preset, **(of_card or {}), **self.given_samplers, "seed": seed}

    def keeps_memory(self, spec: ModelSpec) -> bool:
        """Whether a model of the shape `spec` may write into memory."""
        value = self.remembers
        return bool(preset_of(spec).characters["remembers"] if value is None else value)


def samplers_of_card(card: Card) -> tuple[dict[str, Any], list[str]]:
    """What a card asks for in `extensions["understudy/sampling"]`, and what of it cannot be used,
    in words.
    """
    given = (card.data.get("extensions") or {}).get(CARD_SAMPLING)
    if given is None:
        return {}, []
    where = f"not used: extensions.{CARD_SAMPLING}"
    if not isinstance(given, dict):
        return {}, [f"{where}: settings by name are needed"]
    used: dict[str, Any] = {}
    warnings = []
    for name, value in given.items():
        try:
            if name not in SAMPLERS:
                raise UsageError("no such setting", expected=", ".join(SAMPLERS), found=name)
            SamplingParams(**{name: value})
            used[name] = value
        except UsageError as error:
            warnings.append(f"{where}: {error}")
    return used, warnings


def without_unloaded(
    samplers: dict[str, Any], loaded: Collection[str]
) -> tuple[dict[str, Any], list[str]]:
    """A card's samplers without an adapter that the model has not loaded, and a word for it."""
    names = [name for name, _ in adapter_choice(samplers.get("adapter") or "")]
    absent = [name for name in names if name not in loaded]
    if not absent:
        return samplers, []
    kept = {name: value for name, value in samplers.items() if name != "adapter"}
    where = f"not used: extensions.{CARD_SAMPLING}"
    return kept, [f"{where}: the adapter {', '.join(absent)} is not loaded"]
