"""Messages with the tools that they meet and the calls that they want: Seal-Tools and BFCL, in two
halves.

    cases = load_cases(["seal", "simple_python"], seal=FOLDER, bfcl=FOLDER, half="report")

Each message belongs to the half that the hash of its id names: whatever is fitted, chosen or looked
at while the library is written is taken from "fit", and figures from "report".

Seal-Tools' validation messages (Apache-2.0) meet their own tools among four others (`seal_one`,
`seal_several`), and six foreign tools (`seal_away`, where no call is right); BFCL's single-turn
questions (Apache-2.0, the wheel bfcl-eval 2026.3.23) meet the functions that stand with them.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from understudy.judge.benchmark import bfcl
from understudy.judge.benchmark.bfcl import RELEVANCE_CATEGORIES, BfclCase, call_name, tools_of
from understudy.judge.benchmark.bfcl_check import check
from understudy.text.toolcalls import ParsedCall

Half = Literal["fit", "report", "all"]
SEAL = ("seal_one", "seal_several", "seal_away")
NAMES = (*SEAL, *bfcl.CATEGORIES)
TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
NUM_OTHERS, NUM_AWAY = 4, 6  # foreign tools beside the own ones, and alone


@dataclass(frozen=True)
class CallCase:
    """One message. `wanted` are names and arguments, in order; of BFCL's the names alone, its
    checker knows the rest.
    """

    id: str
    source: str
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]  # OpenAI's dicts
    wanted: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    bfcl: BfclCase | None = None

    @property
    def message(self) -> str:
        said = [m["content"] for m in self.messages if m["role"] == "user"]
        return str(said[-1]) if said else ""

    @property
    def wants_call(self) -> bool:
        return bool(self.wanted) or self.source == "live_relevance"

    def figures(self, calls: Sequence[ParsedCall]) -> dict[str, float]:
        """What the calls of an answer are worth, from 0 to 1."""
        if not self.wants_call:
            return {"quiet": float(not calls)}
        names, got = [name for name, _ in self.wanted], [call.name for call in calls]
        left, num_found = list(got), 0
        for name in names:
            if name in left:
                left.remove(name)
                num_found += 1
        figures = {"called": float(bool(calls)), "count": float(len(got) == len(names))}
        if names:
            figures["names"] = num_found / len(names)
            figures["all_names"] = float(sorted(got) == sorted(names))
        return {**figures, "right": float(self.is_right(calls))}

    def is_right(self, calls: Sequence[ParsedCall]) -> bool:
        """BFCL's rule, or for Seal-Tools equal arguments without case and punctuation."""
        if self.bfcl is not None:
            return check(self.bfcl, calls).is_right
        made = sorted((call.name, _plain(call.arguments)) for call in calls)
        return made == sorted((name, _plain(arguments)) for name, arguments in self.wanted)


def load_cases(
    sources: Sequence[str],
    *,
    seal: Path | None = None,
    bfcl_folder: Path | None = None,
    half: Half = "all",
    limit: int | None = None,
) -> list[CallCase]:
    """The cases of some sources, drawn by the hash of their ids; the sources take turns."""
    found: list[CallCase] = []
    if seal is not None:
        found += of_seal(seal)
    if bfcl_folder is not None:
        found += of_bfcl(bfcl_folder, [name for name in sources if name not in SEAL])
    rows = []
    for source in sources:
        own = [case for case in found if case.source == source and half in ("all", half_of(case))]
        rows += list(enumerate(sorted(own, key=lambda case: _hash(case.id))[:limit]))
    return [case for _, case in sorted(rows, key=lambda row: row[0])]


def half_of(case: CallCase) -> Half:
    """Of a message, whatever tools it meets."""
    return half_of_text(case.id.removesuffix("-away"))


def half_of_text(text: str) -> Half:
    return "fit" if int(_hash("half " + text)[:8], 16) % 2 else "report"


def of_bfcl(folder: Path, categories: Sequence[str]) -> Iterator[CallCase]:
    for case in bfcl.load_cases(folder, categories):
        wanted = [(call_name(name), {}) for answer in case.answers for name in answer]
        if case.category in RELEVANCE_CATEGORIES:
            wanted = []
        tools = tuple(tools_of(case))
        yield CallCase(case.id, case.category, case.messages, tools, tuple(wanted), case)


def of_seal(folder: Path) -> Iterator[CallCase]:
    tools = seal_tools(folder)
    names = [name for name in tools if re.fullmatch(r"[\w.-]{1,64}", name)]
    for line in (folder / "sealtools_dev.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        wanted = tuple((call["api"], call["parameters"]) for call in entry["calling"])
        gold = list(dict.fromkeys(name for name, _ in wanted))
        if not set(gold) <= set(names):
            continue  # the set has names that no API allows
        chance = random.Random(entry["id"])
        others = [name for name in chance.sample(names, 12) if name not in gold]
        offered = gold + others[:NUM_OTHERS]
        chance.shuffle(offered)
        own, away = (
            tuple({"type": "function", "function": tools[name]} for name in group)
            for group in (offered, others[-NUM_AWAY:])
        )
        said = ({"role": "user", "content": entry["query"]},)
        source = "seal_one" if len(wanted) == 1 else "seal_several"
        yield CallCase(entry["id"], source, said, own, wanted)
        yield CallCase(entry["id"] + "-away", "seal_away", said, away)


def seal_tools(folder: Path) -> dict[str, dict[str, Any]]:
    """Seal-Tools' functions by name, as OpenAI writes them."""
    tools = {}
    for line in (folder / "sealtools_tool.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        properties = {
            name: {
                "type": TYPES.get(inner.get("type"), "string"),
                "description": inner.get("description", ""),
            }
            for name, inner in entry["parameters"].items()
        }
        required = [name for name in entry.get("required", []) if name in properties]
        schema = {"type": "object", "properties": properties, "required": required}
        tools[entry["api_name"]] = {
            "name": entry["api_name"],
            "description": entry["api_description"],
            "parameters": schema,
        }
    return tools


def _plain(arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Arguments without case and punctuation."""
    return sorted((name, re.sub(r"\W+", "", str(v)).lower()) for name, v in arguments.items())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
