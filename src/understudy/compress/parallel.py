"""The few places where one process and many differ: the world, sharding (FSDP2), and gathering
weights back.

Under `torchrun --nproc-per-node N -m understudy distill …` each process finds RANK and WORLD_SIZE;
alone there is nothing to start and nothing is wrapped, so that one process needs no process
group."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import distributed, nn

from understudy.errors import UsageError


@dataclass(frozen=True)
class World:
    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, value: float) -> float:
        """Σ over processes, in float64."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(total)
        return float(total)

    def wait(self) -> None:
        if self.size > 1:
            distributed.barrier()


def world() -> World:
    """The processes of this run; starts the process group the first time under torchrun."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not distributed.is_initialized():
        if has_gpu():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("cpu:gloo,cuda:nccl" if has_gpu() else "gloo")
        atexit.register(
            distributed.destroy_process_group
        )  # its threads, left to the end of the process, can abort it
    return World(distributed.get_rank(), size)


def has_gpu() -> bool:
    """Whether every process of this machine finds a GPU of its own."""
    return torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def choose_device(name: str = "auto") -> str:
    """Where to compute: "cpu", "cuda", "cuda:1", …; "auto" is this process's GPU where torch finds
    one.

    Raises:
        UsageError: torch knows no such device, or the machine has none.
    """
    if name == "auto":
        name = "cuda" if has_gpu() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            "unknown device", found=name, expected="auto, cpu, cuda or cuda:N"
        ) from error
    if device.index is not None and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "several processes cannot share one GPU",
            found=name,
            do="name cuda: each process takes its own",
        )
    found = {"cpu": 1, "cuda": torch.cuda.device_count()}.get(device.type, 0)
    if (device.index or 0) >= found:
        raise UsageError(
            "torch finds no such device",
            found=name,
            expected="cpu" if not torch.cuda.is_available() else "cpu or cuda",
            do="leave out --device, or install the torch build of your GPU",
        )
    return name


def shard(objective: nn.Module, world: World) -> nn.Module:
    """FSDP2 over all processes: each layer of the student is a unit of its own, the rest one more.
    Alone: unchanged."""
    if world.size == 1:
        return objective
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(next(objective.parameters()).device.type, (world.size,))
    for layer in objective.student.model.layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(objective, mesh=mesh)


def shard_frozen(layers: Iterable[nn.Module], world: World) -> None:
    """FSDP2 of the weights that do not learn, each layer a unit of its own; those that learn stay
    whole in every process. Alone: unchanged. From then on every process has to run the layers
    equally often.
    """
    if world.size == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    layers = list(layers)
    mesh = init_device_mesh(next(layers[0].parameters()).device.type, (world.size,))
    for layer in layers:
        learnt = {parameter for parameter in layer.parameters() if parameter.requires_grad}
        fully_shard(layer, mesh=mesh, ignored_params=learnt)


def gather_into(objective: nn.Module, student: nn.Module, world: World) -> None:
    """After training: whole weights in `student` on every process. Alone they are there already."""
    if world.size == 1:
        return
    for module in student.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            whole = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
            module._parameters[name] = nn.Parameter(whole.detach().clone())
    del objective
