"""Freed memory stays with the process: tensors of one size, one after the other, do not fault all
their pages in anew. What is computed again, or rests in a file, takes no memory and changes
nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.checkpoints import SPECS
from tests.torch.compress.support import random_rows, tiny_teacher
from understudy.compress.distill import DistillSettings, distill
from understudy.compress.memory import activation_bytes, num_recomputed, rest
from understudy.compress.network import Network, initialise
from understudy.compress.teacher import Labels, LiveTeacher
from understudy.errors import UsageError

ROOT = Path(__file__).parents[3]

MEASURE = """
import resource, sys, torch
from understudy.compress.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(24):
    torch.ones(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    return int(
        subprocess.run(
            [sys.executable, "-c", MEASURE, how], check=True, capture_output=True, text=True
        ).stdout
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_a_tensor_of_a_freed_size_finds_its_pages() -> None:
    assert _faults("keep") < _faults("leave") / 2


def test_activations_that_are_computed_again_change_nothing(tmp_path) -> None:
    teacher, found = tiny_teacher(seed=1), []
    rows = random_rows(teacher.spec, count=16)
    for megabytes in (None, 0):
        student = tiny_teacher(seed=2)
        settings = DistillSettings(3 * 8 * 24, 8, 1, activation_megabytes=megabytes)
        seen = []
        forward = student.model.layers[0].forward

        def counted(*given, forward=forward, seen=seen):
            seen.append(len(given))
            return forward(*given)

        student.model.layers[0].forward = counted  # type: ignore[method-assign]
        report = distill(student, LiveTeacher(teacher), rows, settings, tmp_path / str(megabytes))
        found.append((report.losses, student.state_dict(), len(seen), student.num_recomputed))
    (losses, kept, passes, _), (others, again, more, left) = found
    assert losses == others
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    assert (more, left) == (2 * passes, 0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["nemotron", "llama"])
def test_what_a_layer_keeps_is_about_what_is_said(name: str, precision: str) -> None:
    spec = SPECS[name].replace(hidden_size=128, intermediate_size=256, num_layers=1)
    network = Network(spec)
    initialise(network, seed=1)
    weights = {value.data_ptr() for value in network.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor):
        if tensor.data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x, rotation = torch.randn(8, 256, 128, requires_grad=True), network.rotation(256)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        kept = network.model.layers[0](x, rotation)
    assert activation_bytes(spec, 2048, precision) == pytest.approx(sum(saved.values()), rel=0.25)
    del kept


def test_a_budget_lowers_how_many_sequences_are_in_memory() -> None:
    spec = SPECS["llama"].replace(num_layers=6, hidden_size=1024, intermediate_size=4096)
    one = -(-6 * activation_bytes(spec, 100, "float32") >> 20)  # megabytes, rounded up
    found = [
        DistillSettings(1, 8, 4, activation_megabytes=megabytes).num_at_once(spec, 100, "cpu")
        for megabytes in (0, one, 3 * one, 90 * one)
    ]
    assert found == [1, 1, 3, 4]
    assert DistillSettings(1, 8, 4).num_at_once(spec, 100, "cuda") == 4
    assert DistillSettings(1, 8, 4).activation_budget("cuda") is None
    with pytest.raises(UsageError, match="must not be negative"):
        distill(
            tiny_teacher(),
            Labels(),
            random_rows(spec),
            DistillSettings(1, activation_megabytes=-1),
            Path(),
        )


def test_a_budget_says_how_many_layers_are_computed_again() -> None:
    spec = SPECS["llama"].replace(num_layers=6)
    layer = activation_bytes(spec, 100, "float32")
    assert [num_recomputed(spec, 100, "float32", n * layer) for n in (0, 1, 4, 6, 9)] == [
        5,
        5,
        2,
        0,
        0,
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_weights_that_rest_take_no_memory_and_stay_as_they_were(tmp_path) -> None:
    spec = SPECS["llama"].replace(vocab_size=20_000, hidden_size=512)
    network = Network(spec)
    initialise(network, seed=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    held, resident = 4 * 20_000 * 512, _resident()
    rest(network, tmp_path)
    assert _resident() < resident - held / 2
    assert not list(tmp_path.iterdir())
    assert all(value.requires_grad for value in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


PEAK = """
import sys
from tests.torch.compress.support import random_rows
from tests.support.checkpoints import SPECS
from pathlib import Path
from understudy.compress.distill import DistillSettings, distill
from understudy.compress.network import Network, initialise
from understudy.compress.teacher import Labels
spec = SPECS["llama"].replace(hidden_size=256, intermediate_size=1024, num_layers=8)
student = Network(spec)
initialise(student, seed=1)
rows = random_rows(spec, count=4, length=256)
settings = DistillSettings(2 * 4 * 256, 4, 4, activation_megabytes=int(sys.argv[1]))
distill(student, Labels(), rows, settings, Path(sys.argv[2]))
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(int(peak.split()[1]) << 10)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_peak_of_a_run_follows_its_budget(tmp_path) -> None:
    spec = SPECS["llama"].replace(hidden_size=256, intermediate_size=1024, num_layers=8)
    layer = activation_bytes(spec, 4 * 256, "float32")
    peaks = [_peak(megabytes, tmp_path) for megabytes in (0, 1 << 20)]
    assert peaks[1] - peaks[0] > 0.4 * 7 * layer  # the optimizer has a peak of its own


def _peak(megabytes: int, folder: Path) -> int:
    words = [sys.executable, "-c", PEAK, str(megabytes), str(folder / str(megabytes))]
    run = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT)
    return int(run.stdout)
