"""lm-evaluation-harness through our URL and in its own process: the same task, the same items, the
same scores.

    python bench/lm_eval_server.py FOLDER --lm-eval ENVIRONMENT/bin/lm_eval
        [--output bench/results/lm-eval-server.json]

FOLDER is a Hugging Face checkpoint; lm-eval (0.4.13, with `api` and `hf`) lives in an environment
of its own. The task is the ARC sample of the package. `local-completions` reads the tokenizer from
the server (`/tokenizer_info`), sends token ids and reads the prompt's log-probabilities back; `hf`
is transformers in float32.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from serve import ours

import understudy

SAMPLE = Path(understudy.__file__).parent / "measure/evaluate/data/arc_easy.jsonl"
TASK = """task: understudy_sample
dataset_path: json
dataset_kwargs: {{data_files: {{test: {sample}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{choices.label.index(answerKey)}}}}"
doc_to_choice: "{{{{choices.text}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""


def score(
    program: Path, folder: Path, model: str, arguments: str
) -> tuple[dict[str, float], list[list[float]]]:
    """The task's figures, and per item the log-likelihoods of its choices."""
    out = folder / model
    command = [
        program,
        "--model",
        model,
        "--model_args",
        arguments,
        "--tasks",
        "understudy_sample",
        "--include_path",
        folder,
        "--output_path",
        out,
        "--log_samples",
        "--batch_size",
        "1",
        "--device",
        "cpu",
    ]
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, timeout=600
    )
    if done.returncode:
        raise SystemExit(f"lm-eval failed with {model}:\n{done.stderr[-2000:]}")
    (result,), (samples,) = out.rglob("results_*.json"), out.rglob("samples_*.jsonl")
    figures: dict[str, Any] = json.loads(result.read_text())["results"]["understudy_sample"]
    items = sorted(
        (json.loads(line) for line in samples.read_text().splitlines()),
        key=lambda item: item["doc_id"],
    )
    likelihoods = [
        [
            float(answer[0][0] if isinstance(answer[0], list) else answer[0])
            for answer in item["resps"]
        ]
        for item in items
    ]
    return {name: figures[f"{name},none"] for name in ("acc", "acc_norm")}, likelihoods


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lm-eval", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "task.yaml").write_text(TASK.format(sample=SAMPLE))
        with ours(str(options.folder), 2, 256, 4096, "--weights", "f32", "--kv", "f32") as (
            port,
            _,
        ):
            url = f"model={options.folder.name},base_url=http://127.0.0.1:{port}/v1/completions,num_concurrent=1"
            served, through = score(
                options.lm_eval,
                work,
                "local-completions",
                f"{url},tokenizer={options.folder.resolve()},max_length=256",
            )
        known, directly = score(
            options.lm_eval,
            work,
            "hf",
            f"pretrained={options.folder.resolve()},dtype=float32,max_length=256,prefix_token_id=1",
        )
    gap = max(
        abs(a - b)
        for ours_, theirs in zip(through, directly, strict=True)
        for a, b in zip(ours_, theirs, strict=True)
    )
    found = {
        "command": f"python bench/lm_eval_server.py {options.folder} --lm-eval lm_eval",
        "items": len(through),
        "through_url": served,
        "in_process": known,
        "largest_difference_nats": gap,
    }
    print(json.dumps(found, indent=1))
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
