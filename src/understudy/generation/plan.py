"""A prompt planned in blocks: who each text belongs to, what is dropped first, and a ledger that
sums to the prompt exactly.

What stays stands first (system text, persona, tools), then the history, and what changes with every
turn goes into the newest message: so a warm turn computes only its tail, in chat templates too that
move every system message to the top.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from understudy.errors import ContextError
from understudy.text import Tokenizer
from understudy.text.templates import ChatTemplate, Prompt, PromptPart
from understudy.text.templates.base import ORIGINS, Origin
from understudy.text.toolcalls import ParsedCall

Rule = Literal["history", "lore", "memories", "documents", "examples", "summary"]
DROP_ORDER: tuple[Rule, ...] = ("history", "lore", "memories", "documents", "examples", "summary")
"""What goes first; never the system text, the persona, the tools or the newest message."""
# tokens of history dropped beyond need, so that the next turns find the same beginning in the cache
DROP_SLACK = 256


@dataclass(slots=True)
class Block:
    """A text with its owner. With a `rule` it may be dropped, the lowest `rank` of its rule first;
    with `items` one by one.
    """

    origin: Origin
    text: str
    rule: Rule | None = None
    rank: Any = 0
    label: str = ""
    items: list[str] | None = None

    @property
    def whole(self) -> str:
        return (self.text if self.items is None else f"{self.text}{' '.join(self.items)}").strip()


@dataclass(slots=True)
class Turn:
    """One message: its blocks, the tool calls that an assistant's message holds with their ids, or
    the id of the call that a tool's message answers; and what was thought before it, which goes
    into a prompt where the chat template says so.
    """

    role: str
    blocks: list[Block]
    calls: tuple[ParsedCall, ...] = ()
    ids: tuple[str, ...] = ()
    reasoning: str = ""

    @property
    def text(self) -> str:
        return "\n\n".join(block.whole for block in self.blocks if block.whole)

    def to_message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": self.role, "content": self.text}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.calls:
            ids = self.ids or ("",) * len(self.calls)
            message["tool_calls"] = [
                {
                    "type": "function",
                    **({"id": id} if id else {}),
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for id, call in zip(ids, self.calls, strict=True)
            ]
        elif self.role == "tool" and self.ids:
            message["tool_call_id"] = self.ids[0]
        if self.blocks:
            message["origin"] = self.blocks[0].origin
        return message


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where the tokens of a prompt went; they sum to the prompt's length exactly. `reserve` is kept
    free for the answer.
    """

    tokens: dict[Origin, int]
    reserve: int
    context: int
    dropped: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.tokens.values())

    @property
    def free(self) -> int:
        return self.context - self.total - self.reserve

    def to_document(self) -> dict[str, Any]:
        tokens: dict[str, Any] = {str(origin): count for origin, count in self.tokens.items()}
        return {
            **tokens,
            "reserve": self.reserve,
            "free": self.free,
            "total": self.total,
            "context": self.context,
            "dropped": list(self.dropped),
        }

    def __str__(self) -> str:
        parts = [f"{origin} {count}" for origin, count in self.tokens.items() if count]
        dropped = "".join(f"; dropped {line}" for line in self.dropped)
        return (
            f"{' + '.join(parts)} = {self.total}, reserve {self.reserve}, free {self.free} "
            f"of {self.context}{dropped}"
        )


@dataclass(slots=True)
class Plan:
    """Everything a prompt is made of, in the order in which it stands; `fit` takes out what does
    not fit and notes it.
    """

    standing: list[Block]
    history: list[Turn]
    newest: list[Turn]  # the player's message, and the calls and results that followed it
    inserts: list[tuple[int, str, Block]] = field(
        default_factory=list
    )  # (messages from the end, role, text)
    tools: Sequence[Mapping[str, Any]] = ()
    contexts: list[str] = field(default_factory=list)
    num_fixed: int = 0  # of the contexts that may not be dropped
    dropped: list[str] = field(default_factory=list)
    dropped_turns: list[Turn] = field(default_factory=list)

    def render(self, chat_template: ChatTemplate) -> Prompt:
        turns = [
            Turn("system", self.standing),
            *(dataclasses.replace(turn, blocks=[*turn.blocks]) for turn in self.history),
        ]
        newest = [dataclasses.replace(turn, blocks=[*turn.blocks]) for turn in self.newest]
        turns += newest
        for depth, role, block in self.inserts:
            _insert(turns, depth + len(newest) - 1, role, block)
        turns = [turn for turn in turns if turn.calls or turn.role == "tool" or turn.text]
        return with_origins(chat_template, turns, tools=self.tools, contexts=self.contexts)

    def drop(self, excess: int) -> bool:
        """Takes out what goes first; False when nothing is left that may go."""
        if self._drop_history(excess, kept=1):
            return True
        for rule in DROP_ORDER[1:]:
            if self._drop_block(rule):
                return True
        return self._drop_history(excess, kept=0)

    def _drop_history(self, excess: int, kept: int) -> bool:
        exchanges = _exchanges(self.history)
        if len(exchanges) <= kept:
            return False
        excess += DROP_SLACK if kept else 0
        count = 0
        while len(exchanges) - count > kept and excess > 0:
            excess -= sum(max(4, len(turn.text) // 5) for turn in exchanges[count])
            count += 1
        number = sum(len(exchange) for exchange in exchanges[:count])
        self.dropped_turns += self.history[:number]
        del self.history[:number]
        said = [line for line in self.dropped if not line.startswith("history:")]
        self.dropped[:] = [*said, f"history: {len(self.dropped_turns)} oldest messages"]
        return True

    def _drop_block(self, rule: Rule) -> bool:
        places = [self.standing, *(turn.blocks for turn in self.newest)]
        found = [(block, place) for place in places for block in place if block.rule == rule]
        inserted = [entry for entry in self.inserts if entry[2].rule == rule]
        if rule == "documents" and not found and len(self.contexts) > self.num_fixed:
            self.contexts.pop()
            self.dropped.append(f"documents: passage {len(self.contexts) - self.num_fixed + 1}")
            return True
        if not found and not inserted:
            return False
        worst = min(
            [block for block, _ in found] + [block for _, _, block in inserted],
            key=lambda block: block.rank,
        )
        if worst.items is not None and worst.items:
            self.dropped.append(f"{rule}: {worst.items.pop(0)[:40]}")
            if worst.items:
                return True
        else:
            self.dropped.append(f"{rule}: {worst.label}" if worst.label else rule)
        for block, place in found:
            if block is worst:
                place.remove(block)
        self.inserts[:] = [entry for entry in self.inserts if entry[2] is not worst]
        return True


def _exchanges(turns: Sequence[Turn]) -> list[list[Turn]]:
    """Messages in groups that begin with the user's: calls and their results are never torn
    apart.
    """
    groups: list[list[Turn]] = []
    for turn in turns:
        if turn.role == "user" or not groups:
            groups.append([])
        groups[-1].append(turn)
    return groups


def _insert(turns: list[Turn], depth: int, role: str, block: Block) -> None:
    """A text that counts from the newest message; `assistant` as a message of its own, the rest
    inside the player's.
    """
    at = max(1, len(turns) - depth)
    if role == "assistant" and depth > 0:
        turns.insert(at, Turn("assistant", [block]))
    elif at >= len(turns):
        turns[-1].blocks.append(block)
    elif turns[at].role == "user":
        turns[at].blocks.insert(0, block)
    elif turns[at - 1].role in ("user", "system"):
        turns[at - 1].blocks.append(block)
    else:
        turns.insert(at, Turn("user", [block]))


def fit(
    plan: Plan,
    chat_template: ChatTemplate,
    tokenizer: Tokenizer,
    *,
    context: int,
    reserve: int,
    where: str,
) -> tuple[Prompt, Ledger]:
    """The prompt, made to fit by dropping in `DROP_ORDER`; every drop is written into the ledger.

    Raises:
        ContextError: what may not be dropped does not fit.
    """
    room = context - reserve
    while True:
        prompt = plan.render(chat_template)
        num_tokens = len(prompt.encode(tokenizer))
        if num_tokens <= room:
            return prompt, Ledger(
                count_origins(prompt, tokenizer), reserve, context, tuple(plan.dropped)
            )
        if not plan.drop(num_tokens - room):
            raise ContextError(
                "what must be said does not fit the context",
                where=where,
                expected=f"at most {room} tokens beside {reserve} for the answer",
                found=num_tokens,
                do="shorten the message or what stands before it, or give more context",
            )


def with_origins(
    chat_template: ChatTemplate,
    turns: Sequence[Turn],
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    contexts: Sequence[str] = (),
) -> Prompt:
    """Renders turns of several blocks each, and gives every block's text its own part again, so
    that it can be counted.
    """
    prompt = chat_template.render(
        [turn.to_message() for turn in turns], tools=tools or None, contexts=contexts or None
    )
    pending = [turn for turn in turns if len(turn.blocks) > 1]
    parts: list[PromptPart] = []
    for part in prompt.parts:
        index = next(
            (i for i, turn in enumerate(pending) if not part.is_markup and part.text == turn.text),
            None,
        )
        if index is None:
            parts.append(part)
            continue
        kept = [block for block in pending.pop(index).blocks if block.whole]
        parts += [
            PromptPart(("\n\n" if i else "") + block.whole, origin=block.origin)
            for i, block in enumerate(kept)
        ]
    return dataclasses.replace(prompt, parts=tuple(parts))


def count_origins(
    prompt: Prompt, tokenizer: Tokenizer, first: int = 0, last: int | None = None
) -> dict[Origin, int]:
    """Tokens by origin, of the prompt's tokens from `first` to before `last`; default all.

    A token across two parts counts for the later one, so that the sum is exact.
    """
    counts: dict[Origin, int] = dict.fromkeys(ORIGINS, 0)
    before = 0
    for i, part in enumerate(prompt.parts, 1):
        if (
            i < len(prompt.parts)
            and prompt.parts[i].origin == part.origin
            and prompt.parts[i].is_markup == part.is_markup
        ):
            continue  # counted with its neighbour
        after = len(Prompt(prompt.parts[:i]).encode(tokenizer))
        end = after if last is None else min(after, last)
        counts[part.origin] += max(0, end - max(before, first))
        before = after
    return counts


def count_passages(plan: Plan) -> int:
    """Passages of documents that a plan still holds, wherever they stand."""
    in_message = sum(block.rule == "documents" for block in plan.newest[0].blocks)
    return in_message or max(0, len(plan.contexts) - plan.num_fixed)
