"""Random conversations with edits on small made-up models whose layers remember: does every answer
equal that of a run which reads all, and how much is read again?

    python bench/conversations.py mamba2 out.jsonl [--count 1000] [--seconds 3000]

KIND is `mamba2` (blocks of Nemotron 3), `gated_delta` (of Qwen3.5) or `window` (of Gemma 3). A
conversation begins with one of eight personas; then come turns, edits of what was said before,
answers anew, interrupted answers and restarts from a saved file. A line of the file is one
conversation; those that are there already are not run again. At the end the sums are printed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import understudy
from understudy.checkpoint.checkpoint import Checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.engine.engine import Engine
from understudy.engine.params import SamplingParams
from understudy.engine.request import Request
from understudy.gated_delta import GatedDelta
from understudy.judge.benchmark.synthetic import SyntheticWeights
from understudy.model import Model
from understudy.spec import BlockSpec, Mamba2, ModelSpec, QuantSpec

CONTEXT, VOCABULARY = 4096, 512
_BASE = ModelSpec(
    architecture="nemotron_h",
    num_layers=6,
    hidden_size=64,
    intermediate_size=128,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
    vocab_size=VOCABULARY,
    max_positions=CONTEXT,
    norm="rms_norm",
    norm_eps=1e-5,
    activation="relu2",
    gated=False,
    rotary_dim=0,
    rope_theta=1e4,
)
_MAMBA, _MLP = BlockSpec("mamba2", has_mlp=False), BlockSpec("none")
_STRAIGHT = BlockSpec(has_mlp=False, rotation="none")
_TURNED = {"activation": "silu", "gated": True, "norm": "rms_norm_1p", "qk_norm": True}
_LOCAL = BlockSpec(window=64, rotation="local")
KINDS: dict[str, ModelSpec] = {
    "mamba2": _BASE.replace(
        blocks=(_MAMBA, _MLP, _MAMBA, _STRAIGHT, _MLP, _MAMBA),
        mamba2=Mamba2(4, 32, 16, 2, 2, 4, min_time_step=0.001),
    ),
    "gated_delta": _BASE.replace(
        architecture="qwen3_5_text",
        **_TURNED,
        rotary_dim=8,
        output_gate=True,
        blocks=(*(BlockSpec("gated_delta"),) * 3, BlockSpec(), *(BlockSpec("gated_delta"),) * 2),
        gated_delta=GatedDelta(4, 2, 32, 32, 4),
    ),
    "window": _BASE.replace(
        architecture="gemma3_text",
        **(_TURNED | {"activation": "gelu_tanh"}),
        post_norms=True,
        rotary_dim=32,
        embedding_scale=8.0,
        blocks=(*(_LOCAL,) * 5, BlockSpec()),
    ),
}


@dataclass(slots=True)
class Told:
    """What one conversation showed."""

    index: int
    answers: int = 0
    different: int = 0  # answers that are not those of a run that reads all
    new: int = 0  # tokens of prompts that nobody had read
    read: int = 0  # tokens of prompts that were read
    most_again: int = 0  # of one prompt, beyond those that are new


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1e9)
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.seconds
    done = {told.index for told in told_in(arguments.out)}
    with tempfile.TemporaryDirectory() as folder:
        model = made_model(KINDS[arguments.kind], Path(folder))
        for index in range(arguments.count):
            if index not in done and time.monotonic() < end:
                told = Conversation(model, index, Path(folder)).run()
                with arguments.out.open("a") as lines:
                    lines.write(json.dumps(asdict(told)) + "\n")
    print(json.dumps(summary(list(told_in(arguments.out)))))


def made_model(spec: ModelSpec, folder: Path) -> Model:
    path = folder / "model.gguf"
    quant = QuantSpec("q4")
    weights = SyntheticWeights(spec, quant)
    save_checkpoint(Checkpoint(spec, weights, None, path), path, quant)
    return understudy.load(path, context=CONTEXT, num_threads=1, use_cache=False)


def told_in(path: Path) -> Iterator[Told]:
    if path.exists():
        yield from (Told(**json.loads(line)) for line in path.read_text().splitlines())


def summary(told: list[Told]) -> dict[str, int]:
    return {
        "conversations": len(told),
        "answers": sum(one.answers for one in told),
        "different": sum(one.different for one in told),
        "new": sum(one.new for one in told),
        "read": sum(one.read for one in told),
        "most_again": max((one.most_again for one in told), default=0),
    }


class Conversation:
    """One conversation of random tokens, the same for the same index."""

    def __init__(self, model: Model, index: int, folder: Path) -> None:
        self.model, self.file, self.told = model, folder / "session", Told(index)
        self.random = np.random.default_rng(index)
        persona = np.random.default_rng([7, index % 8])
        self.text = persona.integers(0, VOCABULARY, int(persona.integers(50, 700))).tolist()
        self.known: list[list[int]] = []  # what the model has read of this conversation

    def run(self) -> Told:
        for _ in range(int(self.random.integers(3, 9))):
            self._change()
            if len(self.text) > CONTEXT - 200:
                break
            self._answer()
        return self.told

    def _change(self) -> None:
        match self.random.choice(["turn", "turn", "turn", "edit", "again", "restart"]):
            case "edit" if self.known:
                self.text = self.text[: int(self.random.integers(1, len(self.text)))]
            case "again" if self.known:
                return
            case "restart" if self.known:
                self._restart()
        self.text += self.random.integers(0, VOCABULARY, int(self.random.integers(1, 300))).tolist()

    def _restart(self) -> None:
        """Saved, and read into a cache that has forgotten everything."""
        count = self.model.save_state(self.file, self.text)
        self.model.driver.call(forget)
        self.model.load_state(self.file)
        self.known = [self.text[:count]]

    def _answer(self) -> None:
        prompt, told = self.text, self.told
        length = int(self.random.integers(4, 40))
        stop = length if self.random.random() < 0.8 else int(self.random.integers(1, length + 1))
        params = SamplingParams(max_tokens=length, temperature=0.0, ignore_eos=True)
        answer: list[int] = []
        cached = 0
        outputs = self.model.driver.outputs(Request(prompt, params))
        for output in outputs:
            cached = output.usage.cached_tokens if output.usage else cached
            answer += output.new_tokens
            if len(answer) >= stop and stop < length:  # the user begins to speak
                outputs.close()
                break
        rows = self.model.logits(prompt + answer)[len(prompt) - 1 : -1]
        told.answers += 1
        told.different += rows.argmax(axis=-1).tolist() != answer
        if stop == length:
            agreed = max((common(one, prompt) for one in self.known), default=0)
            told.new += len(prompt) - agreed
            told.read += len(prompt) - cached
            told.most_again = max(told.most_again, agreed - cached if self.known else 0)
        self.text = prompt + answer
        self.known.append(self.text[:-1])


def forget(engine: Engine) -> None:
    """Nothing of the cache is known any more."""
    engine.pool.forget_all()


def common(one: list[int], other: list[int]) -> int:
    """The length of the beginning that two texts share."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


if __name__ == "__main__":
    main()
