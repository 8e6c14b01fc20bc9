"""Log-likelihoods per request: ours beside lm-evaluation-harness's with its `hf` backend, over the samples in the package.

    python bench/lm_eval_agreement.py FOLDER --python LM_EVAL_ENVIRONMENT/bin/python [--output docs/results/eval-agreement.json]

FOLDER is a Hugging Face checkpoint; lm-eval (0.4.13 was used) lives in an environment of its own, whose interpreter is named.
The requests are the same strings on both sides: what is compared is tokenization, splitting and arithmetic.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from understudy import load
from understudy.measure.evaluate import TASKS
from understudy.measure.evaluate.datasets import load_rows
from understudy.measure.evaluate.likelihood import ModelScorer, Score

NAMES = ("hellaswag", "arc_easy", "arc_challenge", "piqa", "winogrande", "mmlu", "lambada")
THEIRS = """
import json, sys
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
config = json.load(open(sys.argv[1] + "/config.json"))
prefix = config.get("bos_token_id") or config["eos_token_id"]  # a folder whose tokenizer names neither
model = HFLM(pretrained=sys.argv[1], dtype="float32", device="cpu", batch_size=8, prefix_token_id=prefix)
requests = [tuple(pair) for pair in json.load(open(sys.argv[2]))]
instances = [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0) for pair in requests]
json.dump(model.loglikelihood(instances, disable_tqdm=True), open(sys.argv[3], "w"))
"""


class _Recorder:
    """Our scorer, keeping what was asked and answered."""

    def __init__(self, scorer: ModelScorer) -> None:
        self._inner, self.scorer = scorer, self
        self.requests: list[tuple[str, str]] = []
        self.answers: list[Score] = []

    def scores(self, requests: Sequence[tuple[str, str]]) -> list[Score]:
        answers = self._inner.scores(requests)
        self.requests += requests
        self.answers += answers
        return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", required=True)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("docs/results/eval-agreement.json"))
    arguments = parser.parse_args()
    recorder = _Recorder(ModelScorer(load(str(arguments.folder), weights="f32", kv="f32", activations="fine")))
    counts = {}
    for name in NAMES:
        before = len(recorder.requests)
        for row in load_rows(name)[: arguments.rows]:
            TASKS[name].score(recorder, row)  # type: ignore[arg-type]
        counts[name] = len(recorder.requests) - before
    theirs = _theirs(arguments.python, arguments.folder, recorder.requests)
    gaps = [abs(ours.logprob - other[0]) for ours, other in zip(recorder.answers, theirs, strict=True)]
    greedy = sum(ours.is_greedy == bool(other[1]) for ours, other in zip(recorder.answers, theirs, strict=True))
    result = {"model": arguments.folder.name, "harness": "lm-eval, hf backend, float32", "requests": counts,
              "largest_difference_nats": max(gaps), "mean_difference_nats": sum(gaps) / len(gaps),
              "same_greedy": greedy, "all": len(gaps)}  # fmt: skip
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def _theirs(python: str, folder: Path, requests: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch, "asked.json"), Path(scratch, "answered.json")
        asked.write_text(json.dumps(requests), encoding="utf-8")
        subprocess.run([python, "-c", THEIRS, str(folder), str(asked), str(answered)], check=True)
        answers: list[tuple[float, bool]] = json.loads(answered.read_text("utf-8"))
        return answers


if __name__ == "__main__":
    main()
