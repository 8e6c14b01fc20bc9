"""Closed-form reconstruction of a trimmed network: every linear is reconstructed, once, in one pass
over the calibration sequences.

Layer by layer the teacher and the student run side by side. Each student linear W is solved for

    min_W  Σ ‖ t - W a ‖² + λ ‖ W - W₀ ‖²
    W = W₀ + (C - W₀ G)(G + λ I)⁻¹,   G = Σ a aᵀ,  C = Σ t aᵀ

where a is what the *student's* linear reads (errors of earlier layers included), W₀ the trimmed
weight, t what should come out: for q, k, v, up and gate the teacher's own output at the kept units;
for o_proj and down_proj the teacher's stream minus the student's, so that a writer also takes over
what earlier layers (or dropped layers) left undone. λ is chosen per output by the error on
sequences held out of the sums, and W₀ stays where nothing beats it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from understudy.compress.calibrate import Stream, embed_sequences, gram, open_stream, parts_of
from understudy.compress.data import Progress, Sequences, quiet
from understudy.compress.network import Layer, Network
from understudy.compress.prune import Selection, spread

READERS = ("q_proj", "k_proj", "v_proj", "up_proj", "gate_proj")
WRITERS = ("o_proj", "down_proj")
RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # times the mean diagonal of G
HELD_OUT_EVERY = 8  # every eighth row chooses λ and is not fitted


@dataclass(frozen=True)
class Reconstruction:
    """What one linear gained: error on held-out sequences before and after, relative to the
    target's energy."""

    name: str
    reconstructed: float  # share of its outputs for which a reconstruction beat the trimmed weights
    before: float
    after: float


class LeastSquares:
    """The sums of one linear, or of several on the same inputs: inputs a (n, in), targets t (n,
    out).

    Apart for fitting and for choosing λ, which every output (row of W) does for itself: rows are
    independent problems.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        out, into = weight.shape
        self.gram = [torch.zeros(into, into, device=weight.device) for _ in range(2)]
        self.cross = [torch.zeros(out, into, device=weight.device) for _ in range(2)]
        self.energy = [
            torch.zeros(out, dtype=torch.float64, device=weight.device) for _ in range(2)
        ]

    def add(self, inputs: Tensor, targets: Tensor, first_row: int) -> None:
        """(sequences, tokens, in) and (sequences, tokens, out); `first_row` tells which sequences
        are held out."""
        held_out = (
            torch.arange(first_row, first_row + len(inputs)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        )
        for side, mask in enumerate((~held_out, held_out)):
            if mask.any():
                a, t = inputs[mask].flatten(0, 1), targets[mask].flatten(0, 1)
                self.gram[side] += a.T @ a
                self.cross[side] += t.T @ a
                self.energy[side] += t.square().sum(0)

    def solve(self, names: dict[str, int]) -> tuple[Tensor, list[Reconstruction]]:
        """The best row of W over `RIDGES` and W₀ itself. `names` says how many rows belong to which
        linear."""
        fit, choose = 0, 1 if self.energy[1].sum() > 0 else 0
        start, seen = self.weight.double(), self.gram[fit].double()
        residual = self.cross[fit].double() - start @ seen
        diagonal = seen.diagonal().mean().clamp_min(1e-30) * torch.eye(
            len(seen), dtype=seen.dtype, device=seen.device
        )
        before = self.errors(start, choose)
        best, errors = start.clone(), before.clone()
        for ridge in RIDGES:
            factor, is_singular = torch.linalg.cholesky_ex(seen + ridge * diagonal)
            if is_singular:
                continue
            candidate = start + torch.cholesky_solve(residual.T, factor).T
            found = self.errors(candidate, choose)
            is_better = found < errors
            best[is_better], errors[is_better] = candidate[is_better], found[is_better]
        report, first = [], 0
        for name, count in names.items():
            rows = slice(first, first + count)
            total = self.energy[choose][rows].sum().item() + 1e-30
            share = (errors[rows] < before[rows]).double().mean().item()
            report.append(
                Reconstruction(
                    name,
                    share,
                    before[rows].sum().item() / total,
                    errors[rows].sum().item() / total,
                )
            )
            first += count
        return best.to(self.weight.dtype), report

    def inputs(self) -> Tensor:
        """Σ a aᵀ over all sequences, those that were held out too: (in, in)."""
        return self.gram[0] + self.gram[1]

    def errors(self, weight: Tensor, side: int) -> Tensor:
        """Σ (t - W a)² of every output, from the sums alone: (out,) float64."""
        wide = weight.double()
        fitted = ((wide @ self.gram[side].double()) * wide).sum(1) - 2 * (
            wide * self.cross[side].double()
        ).sum(1)
        return self.energy[side] + fitted


@torch.no_grad()
def reconstruct(
    teacher: Network,
    student: Network,
    selection: Selection,
    sequences: Sequences,
    *,
    parts: Collection[str] = (*READERS, *WRITERS),
    batch_size: int = 8,
    progress: Progress = quiet,
) -> list[Reconstruction]:
    """Reconstruction these parts of the student in place against its teacher, in float32. Returns
    what each linear gained."""
    with tempfile.TemporaryDirectory() as folder:
        side = SideBySide(teacher, student, selection, sequences, Path(folder), batch_size)
        report: list[Reconstruction] = []
        for target in range(student.spec.num_layers):
            progress(
                target,
                student.spec.num_layers,
                f"reconstructing layer {target + 1} of {student.spec.num_layers}",
            )
            report += side.reconstruct_layer(target, parts)
        side.reconstruct_last_norm()
    progress(student.spec.num_layers, student.spec.num_layers, "reconstructed")
    return report


class TwoStreams:
    """The residual streams of teacher and student as files, each also as it is in the middle of a
    layer, after the attention.
    """

    def __init__(
        self,
        teacher: Network,
        student: Network,
        sequences: Sequences,
        folder: Path,
        batch_size: int,
    ) -> None:
        self._teacher = teacher
        length = sequences.mask.shape[1]
        self.rotation = teacher.rotation(length), student.rotation(length)
        self.parts = list(parts_of(len(sequences), batch_size))
        networks = {"teacher": teacher, "student": student}
        self._files: dict[str, Stream] = {
            who + place: open_stream(folder / (who + place), sequences, network.spec.hidden_size)
            for who, network in networks.items()
            for place in ("", "-middle")
        }
        for who, network in networks.items():
            embed_sequences(network, sequences, self._files[who], batch_size)

    def read(self, name: str, part: slice) -> Tensor:
        """Sequences of `teacher`, `student`, `teacher-middle` or `student-middle`, float32
        (sequences, tokens, hidden).
        """
        return torch.from_numpy(np.array(self._files[name][part])).to(self._teacher.device)

    def _write(self, name: str, part: slice, values: Tensor) -> None:
        self._files[name][part] = values.cpu().numpy()

    def through_attention(self, who: str, layer: Layer) -> None:
        rotation = self.rotation[who == "student"]
        for part in self.parts:
            x = self.read(who, part)
            after = x + layer.self_attn(layer.input_layernorm(x), rotation)
            self._write(f"{who}-middle", part, after)

    def through_mlp(self, who: str, layer: Layer) -> None:
        for part in self.parts:
            x = self.read(f"{who}-middle", part)
            self._write(who, part, x + layer.mlp(layer.post_attention_layernorm(x)))

    def through_layers(self, layers: Iterable[int]) -> None:
        """The teacher alone, through layers that the student lacks."""
        for index in layers:
            for part in self.parts:
                x = self.read("teacher", part)
                self._write("teacher", part, self._teacher.model.layers[index](x, self.rotation[0]))


class SideBySide:
    """Teacher and student moved forward together, layer by layer.

    `settle` is called of every linear of the student in the order of the pass, reconstructed or
    not, before anything goes through it: whoever changes it there has the change seen by all that
    follows.
    """

    def __init__(
        self,
        teacher: Network,
        student: Network,
        selection: Selection,
        sequences: Sequences,
        folder: Path,
        batch_size: int,
    ) -> None:
        self.teacher, self.student, self.selection = teacher, student, selection
        self.streams = TwoStreams(teacher, student, sequences, folder, batch_size)
        self.parts, self.rotation = self.streams.parts, self.streams.rotation
        self.read = self.streams.read
        self.streams.through_layers(range(selection.layers[0]))

    def settle(self, name: str, linear: nn.Linear, inputs: Callable[[], Tensor]) -> None:
        """`name` is that of its tensor without ".weight"; `inputs` gives the Gram matrix of what it
        reads as things stand."""

    def reconstruct_layer(self, target: int, parts: Collection[str]) -> list[Reconstruction]:
        index = self.selection.layers[target]
        self.theirs: Layer = self.teacher.model.layers[index]
        self.ours: Layer = self.student.model.layers[target]
        queries = spread(self.selection.heads[target], self.teacher.spec.head_dim)
        values = spread(self.selection.groups[target], self.teacher.spec.head_dim)
        inner = self.selection.inner[target]
        name = f"model.layers.{target}."
        report: list[Reconstruction] = []
        kept = {"q_proj": queries, "k_proj": values, "v_proj": values}
        report += self._reconstruct_readers(
            f"{name}self_attn.", "self_attn", "input_layernorm", kept, parts, ""
        )
        self.streams.through_attention("teacher", self.theirs)
        report += self._reconstruct(
            f"{name}self_attn.o_proj", self.ours.self_attn.o_proj, parts, self._attention_pairs
        )
        self.streams.through_attention("student", self.ours)
        kept = {
            part: inner
            for part in ("up_proj", "gate_proj")
            if getattr(self.ours.mlp, part) is not None
        }
        report += self._reconstruct_readers(
            f"{name}mlp.", "mlp", "post_attention_layernorm", kept, parts, "-middle"
        )
        self.streams.through_mlp("teacher", self.theirs)
        layers = (*self.selection.layers, self.teacher.spec.num_layers)
        self.streams.through_layers(range(index + 1, layers[target + 1]))
        report += self._reconstruct(
            f"{name}mlp.down_proj", self.ours.mlp.down_proj, parts, self._mlp_pairs
        )
        self.streams.through_mlp("student", self.ours)
        return report

    def reconstruct_last_norm(self) -> None:
        """The last norm's gain, channel by channel, so that the head reads what it was trained
        on."""
        if self.student.spec.hidden_size == self.teacher.spec.hidden_size:
            return
        hidden, norm = self.selection.hidden, self.student.model.norm
        products, squares = (torch.zeros(len(hidden), device=norm.weight.device) for _ in range(2))
        for part in self.parts:
            ours = norm(self.read("student", part))
            theirs = self.teacher.model.norm(self.read("teacher", part))[..., hidden]
            if norm.bias is not None:
                ours, theirs = ours - norm.bias, theirs - norm.bias
            products += (ours * theirs).sum((0, 1))
            squares += ours.square().sum((0, 1))
        gain = products / squares.clamp_min(1e-30)
        norm.weight.copy_(
            (norm.weight + 1) * gain - 1 if norm.bias is not None else norm.weight * gain
        )

    def _reconstruct(
        self,
        name: str,
        linear: nn.Linear,
        parts: Collection[str],
        pairs: Callable[[], Iterator[tuple[Tensor, Tensor, int]]],
    ) -> list[Reconstruction]:
        if name.rsplit(".", 1)[1] not in parts:
            self.settle(
                name, linear, lambda: sum((gram(read) for read, _, _ in pairs()), torch.zeros(()))
            )
            return []
        sums = LeastSquares(linear.weight.detach())
        for read, targets, first_row in pairs():
            sums.add(read, targets if linear.bias is None else targets - linear.bias, first_row)
        weight, report = sums.solve({name: len(linear.weight)})
        linear.weight.copy_(weight)
        self.settle(name, linear, sums.inputs)
        return report

    def _reconstruct_readers(
        self,
        prefix: str,
        module: str,
        norm: str,
        kept: dict[str, Tensor],
        parts: Collection[str],
        stage: str,
    ) -> list[Reconstruction]:
        """All linears behind one norm at once: they read the same. Biases stay as they were
        trimmed."""
        ours = {part: getattr(getattr(self.ours, module), part) for part in kept}
        chosen = {part: linear for part, linear in ours.items() if part in parts}
        report: list[Reconstruction] = []
        if chosen:
            wanted = torch.cat(
                [getattr(getattr(self.theirs, module), part).weight[kept[part]] for part in chosen]
            )
            sums = LeastSquares(torch.cat([linear.weight.detach() for linear in chosen.values()]))
            for batch in self.parts:
                target = nn.functional.linear(
                    getattr(self.theirs, norm)(self.read(f"teacher{stage}", batch)), wanted
                )
                sums.add(
                    getattr(self.ours, norm)(self.read(f"student{stage}", batch)),
                    target,
                    batch.start,
                )
            weight, report = sums.solve(
                {f"{prefix}{part}": len(linear.weight) for part, linear in chosen.items()}
            )
            for linear, found in zip(
                chosen.values(), weight.split([len(m.weight) for m in chosen.values()]), strict=True
            ):
                linear.weight.copy_(found)

        @cache
        def inputs() -> Tensor:
            read = (
                getattr(self.ours, norm)(self.read(f"student{stage}", batch))
                for batch in self.parts
            )
            return sum((gram(x) for x in read), torch.zeros(()))

        for part, linear in ours.items():
            self.settle(f"{prefix}{part}", linear, inputs)
        return report

    def _attention_pairs(self) -> Iterator[tuple[Tensor, Tensor, int]]:
        for part in self.parts:
            ours = self.read("student", part)
            mixed = self.ours.self_attn.mix(self.ours.input_layernorm(ours), self.rotation[1])
            yield (
                mixed,
                self.read("teacher-middle", part)[..., self.selection.hidden] - ours,
                part.start,
            )

    def _mlp_pairs(self) -> Iterator[tuple[Tensor, Tensor, int]]:
        for part in self.parts:
            ours = self.read("student-middle", part)
            inner = self.ours.mlp.inner(self.ours.post_attention_layernorm(ours))
            yield inner, self.read("teacher", part)[..., self.selection.hidden] - ours, part.start
