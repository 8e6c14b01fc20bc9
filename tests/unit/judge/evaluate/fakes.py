"""Models that know every answer, or none, as the judge's counterpart."""

from __future__ import annotations

import itertools
import threading

from understudy.judge.benchmark.bfcl import call_name
from understudy.judge.benchmark.perplexity import Perplexity
from understudy.judge.evaluate import questions
from understudy.judge.evaluate.applications import case_of
from understudy.judge.evaluate.datasets import load_rows
from understudy.judge.evaluate.judge import Answered, Called
from understudy.judge.evaluate.likelihood import Score
from understudy.text.toolcalls import ParsedCall

CHOICES = ("hellaswag", "arc_easy", "arc_challenge", "piqa", "winogrande", "mmlu")


ASKED = [
    getattr(questions, name.partition("_")[0])(row)
    for name in CHOICES
    for row in load_rows(name).rows
]
RIGHT = {question.requests[question.answer] for question in ASKED}
WRONG = {request for question in ASKED for request in question.requests} - RIGHT
RAG = {(row["question"], row["documents"][0]["text"]): row for row in load_rows("rag").rows}
ROLE = {
    (row["card"]["data"]["name"], row["messages"][-1]["content"]): row
    for row in load_rows("roleplay").rows
}
SUMS = {row["question"]: row["answer"].split()[-1] for row in load_rows("gsm8k").rows}
CASES = {str(row["id"]): case_of(row) for row in load_rows("calls").rows}


class Oracle:
    """Says what is right."""

    is_right = True

    def __init__(self):
        self.scorer, self._lock, self._counter, self.count = (
            self,
            threading.Lock(),
            itertools.count(1),
            0,
        )

    def _counted(self):
        with self._lock:
            self.count = next(self._counter)

    def scores(self, requests):
        return [self._score(context, text) for context, text in requests]

    def _score(self, context, text):
        is_likely = self.is_right != ((context, text) in WRONG)
        return Score((-1e-3 if is_likely else -10.0) * len(text), self.is_right)

    def perplexity(self, text):
        return Perplexity(2.0, 0.1, 0.7, len(text), len(text) + 1, 512, 512, "window")

    def answer(self, messages, max_tokens=128):
        self._counted()
        text = messages[-1]["content"]
        return next(
            (f"5 and 7 make\n{answer}" for asked, answer in SUMS.items() if text.startswith(asked)),
            "",
        )

    def answer_logprobs(self, question, beginnings):
        return [-1.0 * (i + len(question) % 3) for i, _ in enumerate(beginnings)]

    def calls(self, case, choice):
        self._counted()
        if not case.answers:
            wants = case.category == "live_relevance"
            return (
                Called((ParsedCall(case.functions[0]["name"], {}),), True)
                if wants
                else Called((), False)
            )
        calls = []
        for answer in case.answers:
            name, arguments = next(iter(answer.items()))
            given = {key: values[0] for key, values in arguments.items() if values[0] != ""}
            calls.append(ParsedCall(call_name(name), given))
        return Called(tuple(calls), True)

    def ask(self, documents, question):
        row = RAG[question.partition(" (If a passage")[0], documents[0]["text"]]
        texts = {document["name"]: document["text"] for document in documents}
        found = (*row["support"], *(name for name in texts if name not in row["support"]))
        if row["kind"] == "rejection":
            return Answered(None, found)
        said = " ".join(part if isinstance(part, str) else part[0] for part in row["answers"])
        if row["kind"] == "counterfactual":
            said = f"That is wrong: {said}"
        quotes = tuple((name, texts[name].split(". ")[0]) for name in row["support"])
        return Answered(said, found, quotes)

    def play(self, card, messages):
        self._counted()
        return ROLE[card["data"]["name"], messages[-1]["content"]]["right"]


class Wrong(Oracle):
    """Says what is wrong."""

    is_right = False

    def answer(self, messages, max_tokens=128):
        return "-1"

    def calls(self, case, choice):
        wants_silence = "irrelevance" in case.category
        return Called((ParsedCall("nothing", {}),), False) if wants_silence else Called((), False)

    def ask(self, documents, question):
        row = RAG[question.partition(" (If a passage")[0], documents[0]["text"]]
        wrong = tuple(
            document["name"] for document in documents if document["name"] not in row["support"]
        )
        return Answered("Nobody but Zebulon", wrong[:1], ((wrong[0], "words that stand nowhere"),))

    def play(self, card, messages):
        return ROLE[card["data"]["name"], messages[-1]["content"]]["wrong"]
