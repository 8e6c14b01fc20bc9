"""Evaluation without a hub: likelihood tasks, perplexity, instructions, calls, answers from
documents, characters."""

from understudy.judge.evaluate.run import RunSettings, evaluate, figures_of
from understudy.judge.evaluate.tasks import SUITES, TASKS, Task

__all__ = ["SUITES", "TASKS", "RunSettings", "Task", "evaluate", "figures_of"]
