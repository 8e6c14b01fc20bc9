"""Prompts and log-likelihoods: ours beside lm-evaluation-harness's own task files and `hf` backend,
over the samples in the package.

    python bench/lm_eval_agreement.py FOLDER --python LM_EVAL_ENVIRONMENT/bin/python
        [--output bench/results/eval-agreement.json]

FOLDER is a Hugging Face checkpoint; lm-eval (0.4.13 was used) lives in an environment of its own,
whose interpreter is named. The harness loads its own `hellaswag.yaml`, `arc_easy.yaml` … with only
the data exchanged for the sample, so what is compared is everything: the prompt, cleaning,
splitting into context and continuation, tokenization, arithmetic, and acc and acc_norm.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from understudy import load
from understudy.judge.evaluate import TASKS
from understudy.judge.evaluate.datasets import load_rows
from understudy.judge.evaluate.likelihood import ModelScorer, Score

FILES = {
    "hellaswag": "hellaswag/hellaswag.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "piqa": "piqa/piqa.yaml",
    "winogrande": "winogrande/default.yaml",
    "mmlu": "mmlu/default/_default_template_yaml",
    "lambada": "lambada/lambada_openai.yaml",
}
THEIRS = """
import json, sys
from pathlib import Path
import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
folder, work = sys.argv[1:3]
config = json.load(open(folder + "/config.json"))
# a folder whose tokenizer names neither
prefix = config.get("bos_token_id") or config["eos_token_id"]
model = HFLM(pretrained=folder, dtype="float32", device="cpu", batch_size=8, prefix_token_id=prefix)
names = [path.stem for path in sorted(Path(work).glob("*.yaml"))]
found = lm_eval.simple_evaluate(model=model, tasks=names, num_fewshot=0, log_samples=True, bootstrap_iters=0,
                                task_manager=TaskManager(include_path=work))
answer = {}
for name in names:
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    pairs = [list(pair) if isinstance(pair, tuple) else pair for sample in samples for pair in sample["arguments"]]
    scores = [one[0] if isinstance(one[0], (list, tuple)) else one for sample in samples for one in sample["resps"]]
    figures = {key.split(",")[0]: value for key, value in found["results"][name].items() if isinstance(value, float)}
    answer[name] = {"pairs": pairs, "scores": scores, "figures": figures, "version": lm_eval.__version__}
json.dump(answer, open(work + "/answer.json", "w"))
"""


class Recorder:
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", required=True)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("bench/results/eval-agreement.json"))
    arguments = parser.parse_args()
    result = compare(arguments.folder, arguments.python, arguments.rows)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def compare(folder: Path, python: str, num_rows: int = 20) -> dict[str, Any]:
    """Both sides over the first rows of each sample; raises SystemExit if the harness fails."""
    rows = {name: load_rows(name).rows[:num_rows] for name in FILES}
    theirs = _theirs(python, folder, rows)
    tasks = {}
    with load(str(folder), weights="f32", kv="f32", activations="int12") as model:
        for name in FILES:
            recorder = Recorder(ModelScorer(model))
            parts = [theirs[key] for key in theirs if key.rpartition("_-_")[0] == name]
            ordered = [row for group in _groups(name, rows[name]).values() for row in group]
            lines = TASKS[name].score(recorder, ordered)  # type: ignore[arg-type]
            tasks[name] = _compared(recorder, lines, parts)
    return {
        "command": f"python bench/lm_eval_agreement.py {folder.name} --python LM_EVAL/bin/python",
        "model": folder.name,
        "harness": f"lm-eval {next(iter(theirs.values()))['version']}, its own task files, hf backend, float32",
        "requests": sum(task["requests"] for task in tasks.values()),
        "largest_difference_nats": max(task["largest_difference_nats"] for task in tasks.values()),
        "tasks": tasks,
    }


def _groups(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """MMLU has a task for each subject, with its own first line; they are read in the order of
    their names.
    """
    subjects = (
        sorted({str(row.get("subject", "all")) for row in rows}) if name == "mmlu" else ["all"]
    )
    return {
        one: [row for row in rows if name != "mmlu" or row["subject"] == one] for one in subjects
    }


def _compared(
    recorder: Recorder, lines: Sequence[dict[str, Any]], parts: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    pairs = [tuple(pair) for part in parts for pair in part["pairs"]]
    scores = [score for part in parts for score in part["scores"]]
    if len(pairs) != len(recorder.requests):
        raise SystemExit(f"{len(recorder.requests)} requests of ours, {len(pairs)} of the harness")
    gaps = [
        abs(ours.logprob - float(other[0]))
        for ours, other in zip(recorder.answers, scores, strict=True)
    ]
    weights = [len(part["pairs"]) for part in parts]
    both = {}
    for metric in ("acc", "acc_norm"):
        if metric in parts[0]["figures"] and metric in lines[0]:
            theirs = sum(
                part["figures"][metric] * weight
                for part, weight in zip(parts, weights, strict=True)
            ) / sum(weights)
            both[metric] = {
                "ours": sum(line[metric] for line in lines) / len(lines),
                "theirs": theirs,
            }
    return {
        "requests": len(gaps),
        "same_prompts": sum(a == b for a, b in zip(recorder.requests, pairs, strict=True)),
        "same_greedy": sum(
            ours.is_greedy == bool(other[1])
            for ours, other in zip(recorder.answers, scores, strict=True)
        ),
        "largest_difference_nats": max(gaps),
        "mean_difference_nats": sum(gaps) / len(gaps),
        "figures": both,
    }


def _theirs(python: str, folder: Path, rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    found = subprocess.run(
        [python, "-c", "import lm_eval; print(lm_eval.__path__[0])"],
        check=True,
        capture_output=True,
        text=True,
    )
    package = Path(found.stdout.strip())
    with tempfile.TemporaryDirectory() as scratch:
        for name, file in FILES.items():
            source = (package / "tasks" / file).read_text("utf-8")
            for group, part in _groups(name, rows[name]).items():
                _write_task(
                    Path(scratch), f"{name}_-_{group}", package / "tasks" / file, source, part
                )
        done = subprocess.run(
            [python, "-c", THEIRS, str(folder), scratch],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"lm-eval failed:\n{done.stderr[-3000:]}")
        answer: dict[str, Any] = json.loads(Path(scratch, "answer.json").read_text("utf-8"))
        return answer


def _write_task(
    work: Path, name: str, file: Path, source: str, rows: Sequence[dict[str, Any]]
) -> None:
    """A task that includes the harness's file and changes only where the rows come from."""
    data = work / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    split = re.search(r"(?m)^(test|validation)_split: (?!null)\S+", source)
    used = (
        "test"
        if re.search(r"(?m)^test_split: (?!null)\S+", source)
        else split[1]
        if split
        else "test"
    )
    lines = [
        f"include: {file}",
        f"task: {name}",
        "dataset_path: json",
        "dataset_name: null",
        f"dataset_kwargs: {{data_files: {{{used}: {data}}}}}",
        f"{used}_split: {used}",
        "training_split: null",
    ]
    lines += ["validation_split: null"] if used == "test" else []
    if name.startswith("mmlu"):
        subject = name.partition("_-_")[2].replace("_", " ")
        lines += [
            f'description: "The following are multiple choice questions (with answers) about {subject}.\\n\\n"',
            "fewshot_split: null",
            "fewshot_config: null",
        ]
    (work / f"{name}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
