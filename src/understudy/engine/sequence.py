"""One answer in the making: its tokens, how many of them the cache holds, and its pages."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy.checkpoint.token_bias import NO_BIAS, TokenBias
from understudy.core import SampleSettings
from understudy.engine.adapters import NO_ADAPTERS, ActiveAdapters
from understudy.engine.output import Timing, TokenLogprob
from understudy.engine.pages import ROOTS, Digest
from understudy.engine.params import SamplingParams
from understudy.engine.request import Mask
from understudy.engine.speculation import Drafter
from understudy.engine.stops import StopFilter
from understudy.text import StreamDecoder


@dataclass(eq=False, slots=True)
class Sequence:
    """`tokens` are prompt and answer; the first `num_computed` of them have keys and values in
    `pages`.

    `num_scheduled` and `drafts` belong to the step under way: how many tokens it computes, and
    guesses that follow them.
    """

    id: int
    index: int
    tokens: list[int]
    num_prompt: int
    params: SamplingParams
    sample_settings: SampleSettings
    decoder: StreamDecoder
    stops: StopFilter
    stop_token_ids: frozenset[int]
    max_total: int
    mask: Mask | None = None
    priority: int = 0
    num_dropped: int = 0
    leader: Sequence | None = None
    frequency_set: int = 0  # of the model's, which its keys and queries turn by
    num_computed: int = 0
    num_cached: int | None = None  # tokens of the prompt that were there when it was first admitted
    pages: list[int] = field(default_factory=list)
    num_left: int = 0  # pages of these behind the window, which layers with one have given back
    digests: list[Digest] = field(default_factory=list)
    state: int = -1  # of recurrent layers: its own, what the next step goes on from (-1: nothing),
    state_source: int = -1
    state_saves: dict[int, int] = field(default_factory=dict)  # and copies, by how much was read
    num_scheduled: int = 0
    drafts: list[int] = field(default_factory=list)
    num_drafted: int = 0
    num_accepted: int = 0
    prompt_logprobs: list[TokenLogprob | None] = field(default_factory=list)
    has_posted_prompt: bool = False
    drafter: Drafter = field(default_factory=Drafter)
    timing: Timing = field(default_factory=Timing)
    is_finished: bool = False
    adapters: ActiveAdapters = NO_ADAPTERS
    token_bias: TokenBias = NO_BIAS

    def turn_by(self, frequency_set: int) -> None:
        """Takes the rotary frequencies of this set; what is cached under others is not its own."""
        if frequency_set != self.frequency_set:
            self.frequency_set, self.digests = frequency_set, []

    @property
    def root(self) -> Digest:
        return ROOTS[self.frequency_set] + self.adapters.root

    @property
    def generated(self) -> list[int]:
        return self.tokens[self.num_prompt :]

    @property
    def num_generated(self) -> int:
        return len(self.tokens) - self.num_prompt

    @property
    def is_prefilling(self) -> bool:
        """Whether more than the newest token waits to be computed."""
        return len(self.tokens) - self.num_computed > 1

    @property
    def wants_prompt_logprobs(self) -> bool:
        return (
            self.params.prompt_logprobs is not None and len(self.prompt_logprobs) < self.num_prompt
        )

    def order(self) -> tuple[int, int, int]:
        """Who comes first: lower priority numbers, then earlier requests."""
        return (self.priority, self.id, self.index)
