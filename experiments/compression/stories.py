"""Distil stories15M into a small Nemotron-shaped model: LayerNorm1P, relu², grouped heads, half rotary.

    python experiments/compression/stories.py FOLDER OUT --minutes 8          # a GPU, or --device cpu with patience

FOLDER is what `experiments/compression/stories_teacher.py` wrote. The teacher writes its own stories first (a quarter of the
time), then the student learns its full distribution over them (forward KL, τ = 1, live logits). OUT receives
`config.json`, `model.safetensors` (bfloat16), the tokenizer, `result.json` (held-out KL and losses, zero rates, curve,
command) and `stories.txt`; everything is rewritten each minute, and a run that finds the file --state goes on from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from stories_start import warm_start  # the neighbours of this script
from stories_teacher import generate
from torch import Tensor

from understudy.compress import losses
from understudy.compress.losses import LiveTarget, forward_kl, token_statistics
from understudy.compress.network import Network, initialise, network_from_weights
from understudy.spec import ModelSpec, parameter_counts


def main() -> None:
    options = parse()
    run = Run(options)
    run.prepare_stories()
    run.train()
    run.save(is_final=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="for everything, saving included"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rows", type=int, default=128, help="stories a step")
    parser.add_argument("--sample-rows", type=int, default=4096, help="stories written at a time")
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--inner", type=int, default=768)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument(
        "--state", type=Path, default=None, help="a file to resume from and to write each minute"
    )
    parser.add_argument("--head-dim", type=int, default=32)
    parser.add_argument("--start", choices=["nothing", "teacher"], default="nothing")
    parser.add_argument(
        "--start-steps", type=int, default=300, help="of regression a layer, with --start teacher"
    )
    parser.add_argument(
        "--stories", type=Path, default=None, help="a file to keep the teacher's stories in"
    )
    parser.add_argument(
        "--story-share", type=float, default=0.25, help="of the time, for the teacher's stories"
    )
    parser.add_argument("--save-minutes", type=float, default=1.0)
    parser.add_argument("--held-out", type=int, default=512, help="stories to measure on")
    parser.add_argument("--no-compile", action="store_true")
    return parser.parse_args()


def student_spec(options: argparse.Namespace, vocab_size: int, max_positions: int) -> ModelSpec:
    return ModelSpec(
        architecture="nemotron",
        num_layers=options.layers,
        hidden_size=options.hidden,
        intermediate_size=options.inner,
        num_heads=options.heads,
        num_kv_heads=options.kv_heads,
        head_dim=options.head_dim,
        vocab_size=vocab_size,
        max_positions=max_positions,
        norm="layer_norm_1p",
        norm_eps=1e-5,
        activation="relu2",
        gated=False,
        rotary_dim=options.head_dim // 2,
        rope_theta=1e4,
    )


class Run:
    """The teacher, its stories, the student and the clock."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.started = options, time.monotonic()
        self.device = torch.device(options.device)
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        torch.backends.cuda.matmul.allow_tf32 = True
        if self.device.type == "cuda":
            losses.CHUNK_ELEMENTS = 1 << 28
        spec = ModelSpec(**json.loads((options.folder / "teacher.json").read_text()))
        weights = load_file(options.folder / "teacher.safetensors")
        self.teacher = (
            network_from_weights(spec, weights, self.dtype).to(self.device).requires_grad_(False)
        )
        self.kept = torch.tensor(
            json.loads((options.folder / "kept.json").read_text()), device=self.device
        )
        self.head = self.teacher.head_weight[
            self.kept
        ]  # the teacher's distribution over the kept pieces alone
        self.student = Network(student_spec(options, len(self.kept), spec.max_positions))
        initialise(self.student, seed=1)
        self.student.to(self.device)
        self.curve: list[dict[str, float]] = []
        self.step, self.tokens_seen = 0, 0

    def share(self) -> float:
        """How much of the time is used, 0 to 1; the last 25 seconds are kept for saving."""
        return (time.monotonic() - self.started) / max(self.options.minutes * 60 - 25, 1)

    def prepare_stories(self) -> None:
        """Stories until their share of the time is used: half at temperature 1, half at 0.7; the first are held out."""
        options, n = self.options, self.options.sample_rows
        generator = torch.Generator(self.device).manual_seed(0)
        temperature = torch.where(torch.arange(n, device=self.device) % 2 == 0, 1.0, 0.7)[:, None]
        parts = []
        if options.stories is not None and options.stories.exists():
            parts.append(load_file(options.stories)["stories"].to(self.device))
        while not parts or (
            self.share() < options.story_share
            and (options.stories is None or not options.stories.exists())
        ):
            parts.append(generate(self.teacher, self.kept, n, temperature, generator).short())
            print(f"{sum(map(len, parts))} stories, {self.clock():.0f} s", flush=True)
        stories = torch.cat(parts)
        if options.stories is not None and not options.stories.exists():
            save_file({"stories": stories.cpu()}, options.stories)
        held_out = min(options.held_out, len(stories) // 2)
        self.held_out, self.stories = stories[:held_out].long(), stories[held_out:]
        print(
            f"{len(stories)} stories, {(stories > 2).sum().item()} tokens, {self.clock():.0f} s",
            flush=True,
        )
        has_state = options.state is not None and options.state.exists()
        if options.start == "teacher" and not has_state:
            rows = self.stories[:256].long()[:, :-1]
            warm_start(self.teacher, self.student, self.kept, rows, steps=options.start_steps)

    def clock(self) -> float:
        return time.monotonic() - self.started

    def answer(
        self, rows: Tensor, teacher_hidden: Callable[[Tensor], Tensor]
    ) -> tuple[LiveTarget, Tensor]:
        """The teacher's states of these rows, and the mask that ends with the </s>."""
        ids = rows[:, :-1]
        with torch.no_grad():
            hidden = teacher_hidden(self.kept[ids]).flatten(0, 1)
        return LiveTarget(hidden, self.head), (ids != 2).float().flatten()

    def train(self) -> None:
        self.teacher_hidden, self.student_hidden = self.compiled()
        optimizer = torch.optim.AdamW(groups(self.student), lr=0.0, betas=(0.9, 0.95), eps=1e-8)
        self.restore(optimizer)
        picker = torch.Generator().manual_seed(self.step)
        begun, saved, losses_seen = self.share(), time.monotonic(), []
        while self.share() < 1:
            progress = (self.share() - begun) / (1 - begun)
            rate = self.options.rate * min(
                1.0, progress / 0.02 + 1e-3, max(0.5 * (1 + math.cos(math.pi * progress)), 0.01)
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            picked = torch.randint(len(self.stories), (self.options.rows,), generator=picker)
            losses_seen.append(
                self.train_step(optimizer, self.stories[picked.to(self.device)].long())
            )
            if self.step % (200 if self.device.type == "cuda" else 20) == 0:
                self.note(rate, torch.stack(losses_seen).mean().item())
                losses_seen = []
            if time.monotonic() - saved > 60 * self.options.save_minutes:
                self.save()
                self.keep(optimizer)
                saved = time.monotonic()

    def train_step(self, optimizer: torch.optim.Optimizer, rows: Tensor) -> Tensor:
        target, mask = self.answer(rows, self.teacher_hidden)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            hidden = self.student_hidden(rows[:, :-1].contiguous()).flatten(0, 1)
            loss = (
                forward_kl(
                    hidden.to(self.dtype), self.student.head_weight.to(self.dtype), target, mask
                )
                / mask.sum()
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens_seen += mask.numel()
        return loss.detach()

    def note(self, rate: float, loss: float) -> None:
        self.curve.append(
            {"step": self.step, "tokens": self.tokens_seen, "kl": loss, "seconds": self.clock()}
        )
        if not math.isfinite(loss):
            raise SystemExit(f"the loss became {loss} at step {self.step}; lower --rate")
        millions = self.tokens_seen / 1e6
        print(
            f"step {self.step}  kl {loss:.4f}  rate {rate:.1e}  {millions:.1f}M tokens  {self.clock():.0f} s",
            flush=True,
        )

    def compiled(self) -> tuple[object, object]:
        plain = self.teacher.hidden, self.student.hidden
        if self.options.no_compile or self.device.type != "cuda":
            return plain
        try:
            pair = torch.compile(self.teacher.hidden), torch.compile(self.student.hidden)
            rows = self.stories[: self.options.rows, :-1].long()
            plain[0](rows[:1]), plain[1](rows[:1])  # so that the rotation tables are there
            with torch.no_grad():
                pair[0](self.kept[rows])
            with torch.autocast("cuda", self.dtype):
                pair[1](rows).float().mean().backward()
            self.student.zero_grad(set_to_none=True)
        except Exception as error:  # any failure of the compiler: eager is slower and as right
            print(f"not compiled: {type(error).__name__}: {str(error)[:300]}", flush=True)
            return plain
        print(f"compiled, {self.clock():.0f} s", flush=True)
        return pair

    def restore(self, optimizer: torch.optim.Optimizer) -> None:
        if self.options.state is None or not self.options.state.exists():
            return
        state = torch.load(self.options.state, map_location=self.device)
        self.student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        self.step, self.tokens_seen, self.curve = (
            state["step"],
            state["tokens_seen"],
            state["curve"],
        )

    def keep(self, optimizer: torch.optim.Optimizer) -> None:
        if self.options.state is None:
            return
        aside = self.options.state.with_suffix(".tmp")
        kept = {"step": self.step, "tokens_seen": self.tokens_seen, "curve": self.curve}
        torch.save(
            kept | {"student": self.student.state_dict(), "optimizer": optimizer.state_dict()},
            aside,
        )
        aside.rename(self.options.state)

    @torch.no_grad()
    def evaluate(self) -> dict[str, object]:
        """On held-out stories, in float32: KL, losses in nats per token, agreement, zeros after relu² by layer."""
        sums, zeros, count = (
            {"kl": 0.0, "nll": 0.0, "teacher_nll": 0.0, "agree": 0.0},
            [0.0] * self.options.layers,
            0.0,
        )
        seen: dict[int, Tensor] = {}
        hooks = [
            layer.mlp.down_proj.register_forward_pre_hook(
                lambda _, x, i=i: seen.__setitem__(i, x[0])
            )
            for i, layer in enumerate(self.student.model.layers)
        ]
        for rows in self.held_out.split(64):
            target, mask = self.answer(rows, self.teacher.hidden)
            hidden = self.student.hidden(rows[:, :-1]).flatten(0, 1)
            target = LiveTarget(target.hidden.float(), target.head.float())
            found = token_statistics(
                hidden, self.student.head_weight, target, rows[:, 1:].flatten()
            )
            for name in sums:
                sums[name] += (found[name] * mask).sum().item()
            for index, inner in seen.items():
                zeros[index] += ((inner.flatten(0, 1) == 0).float().mean(-1) * mask).sum().item()
            count += mask.sum().item()
        for hook in hooks:
            hook.remove()
        return {name: value / count for name, value in sums.items()} | {
            "zero_rate": [z / count for z in zeros]
        }

    @torch.no_grad()
    def tell(self, number: int = 8, temperature: float = 0.7) -> list[list[int]]:
        """Stories of the student's own, as ids; whole sequences again for each token, which is slow and simple."""
        rows = torch.full((number, 1), 1, device=self.device)
        for _ in range(min(200, self.student.spec.max_positions - 1)):
            logits = torch.nn.functional.linear(
                self.student.hidden(rows)[:, -1], self.student.head_weight
            )
            chosen = torch.multinomial((logits.float() / temperature).softmax(-1), 1)
            rows = torch.cat([rows, chosen], dim=1)
        return [row[: row.index(2)] if 2 in row else row for row in rows.tolist()]

    def save(self, is_final: bool = False) -> None:
        out, spec = self.options.out, self.student.spec
        out.mkdir(parents=True, exist_ok=True)
        state = {
            n: p.detach().to("cpu", torch.bfloat16).contiguous()
            for n, p in self.student.state_dict().items()
        }
        save_file(state, out / "model.safetensors", metadata={"format": "pt"})
        (out / "config.json").write_text(json.dumps(config_of(spec), indent=2) + "\n")
        for name in ("tokenizer.model", "tokenizer.json"):
            shutil.copy(self.options.folder / name, out / name)
        result = {
            "command": " ".join(sys.argv),
            "device": device_name(self.device),
            "spec": dataclasses.asdict(spec),
            "parameters": parameter_counts(spec),
            "steps": self.step,
            "tokens_trained": self.tokens_seen,
            "stories": len(self.stories),
            "seconds": self.clock(),
            "held_out": self.evaluate(),
            "curve": self.curve,
        }
        (out / "result.json").write_text(json.dumps(result, indent=1))
        print(json.dumps(result["held_out"]), flush=True)
        if is_final:
            (out / "stories.txt").write_text(self.read_stories(), encoding="utf-8")

    def read_stories(self) -> str:
        rows = self.tell()
        try:
            from tokenizers import Tokenizer
        except ImportError:
            return json.dumps(rows)
        tokenizer = Tokenizer.from_file(str(self.options.folder / "tokenizer.json"))
        return "\n\n".join(tokenizer.decode(row) for row in rows) + "\n"


def groups(student: Network) -> list[dict[str, object]]:
    matrices = [p for p in student.parameters() if p.dim() == 2]
    vectors = [p for p in student.parameters() if p.dim() == 1]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def config_of(spec: ModelSpec) -> dict[str, object]:
    """What stock transformers reads (`NemotronConfig`)."""
    return {
        "architectures": ["NemotronForCausalLM"],
        "model_type": "nemotron",
        "torch_dtype": "bfloat16",
        "vocab_size": spec.vocab_size,
        "hidden_size": spec.hidden_size,
        "intermediate_size": spec.intermediate_size,
        "num_hidden_layers": spec.num_layers,
        "num_attention_heads": spec.num_heads,
        "num_key_value_heads": spec.num_kv_heads,
        "head_dim": spec.head_dim,
        "hidden_act": "relu2",
        "max_position_embeddings": spec.max_positions,
        "norm_eps": spec.norm_eps,
        "rope_theta": spec.rope_theta,
        "partial_rotary_factor": spec.rotary_dim / spec.head_dim,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.02,
        "use_cache": True,
    }


if __name__ == "__main__":
    main()
