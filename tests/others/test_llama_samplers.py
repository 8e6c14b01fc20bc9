"""Penalties, DRY and XTC against llama.cpp's own samplers (PyPI xllamacpp) on random texts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.others.support import python_of
from understudy import core
from understudy.core import SampleSettings
from understudy.engine.breakers import breaker_tokens
from understudy.model import load

VERSION = "2026.10.11549"
SCRIPT = Path(__file__).with_name("in_llama_samplers.py")
BREAKERS = ([], ["\n", ":", '"', "*"], ["Hello world", "ing the"])

LOGITS = np.random.default_rng(1).normal(0, 4, 49152).astype(np.float32)

pytestmark = pytest.mark.others


@pytest.fixture(scope="module")
def python() -> Path:
    return python_of("xllamacpp", [f"xllamacpp=={VERSION}"])


@pytest.fixture(scope="module")
def model():
    with load("smollm2-135m-instruct", context=256, num_threads=1) as opened:
        yield opened


def random_text(random: np.random.Generator, tokenizer: Any) -> list[int]:
    """Some of few words, so that sequences come again, with breakers in between."""
    words = [" the", " a", "Hello", " world", "\n", ": ", "ing", ' "quoted"', "*", " x:y"]
    return tokenizer.encode("".join(random.choice(words, int(random.integers(1, 60)))))


def run(python: Path, asked: dict[str, Any]) -> list[Any]:
    done = subprocess.run(
        [python, SCRIPT], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[Any] = json.loads(done.stdout)
    return answers


def ask(python: Path, model_path: Path, cases: list[dict[str, Any]]) -> list[np.ndarray]:
    asked = json.dumps({"model": str(model_path), "logits": LOGITS.tolist(), "cases": cases})
    done = subprocess.run(
        [python, SCRIPT], input=asked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = []
    for changes in json.loads(done.stdout):
        row = LOGITS.copy()
        for token, logit in changes:
            row[token] = logit
        answers.append(row)
    return answers


def shape(settings: SampleSettings, case: dict[str, Any]) -> np.ndarray:
    history = np.asarray(case["history"], np.int32)
    return settings.sampler.shape(LOGITS, history, len(history) // 2)


def test_penalties_and_dry_are_those_of_llama_cpp(python: Path, model) -> None:
    random, tokenizer = np.random.default_rng(5), model.tokenizer
    tokens = {tuple(texts): breaker_tokens(tokenizer, texts) for texts in BREAKERS}
    cases: list[dict[str, Any]] = []
    ours: list[np.ndarray] = []
    for index in range(60):
        case: dict[str, Any] = {"history": random_text(random, tokenizer)}
        last_n = int(random.choice([0, 5, 20, 64]))
        if index % 3 == 0:
            values = {
                name: float(random.uniform(0.5, 1.5))
                for name in ("repeat", "frequency", "presence")
            }
            case["penalties"] = {"last_n": last_n, **values}
            settings = SampleSettings(
                repetition_penalty=values["repeat"],
                frequency_penalty=values["frequency"],
                presence_penalty=values["presence"],
                penalty_last_n=last_n,
                penalize_prompt=True,
            )
        else:
            texts = BREAKERS[index % len(BREAKERS)]
            dry = {
                "multiplier": float(random.uniform(0.1, 2)),
                "base": float(random.uniform(1, 3)),
                "allowed_length": int(random.integers(1, 4)),
                "last_n": int(random.choice([-1, 20])),
            }
            case["dry"] = dry | {"breakers": texts}
            settings = SampleSettings(
                **{f"dry_{n if n != 'last_n' else 'penalty_last_n'}": v for n, v in dry.items()},
                dry_breakers=tokens[tuple(texts)],
            )
        cases.append(case)
        ours.append(shape(settings, case))
    changed = 0
    for case, found, expected in zip(cases, ours, ask(python, model.path, cases), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-5, err_msg=str(case))
        changed += not np.array_equal(found, LOGITS)
    assert changed > 30


def test_xtc_leaves_what_llama_cpp_leaves(python: Path) -> None:
    random = np.random.default_rng(8)
    cases = [
        (float(random.uniform(0.02, 0.6)), random.normal(0, 2, 30).astype(np.float32))
        for _ in range(60)
    ]
    left = run(python, {"xtc": [(threshold, logits.tolist()) for threshold, logits in cases]})
    for (threshold, logits), tokens in zip(cases, left, strict=True):
        settings = SampleSettings(xtc_probability=1.0, xtc_threshold=threshold)
        likeliest = max(tokens, key=lambda token: logits[token])
        assert core.sample(logits, settings)[0] == likeliest, (threshold, logits)
    assert sum(len(tokens) < 30 for tokens in left) > 10
