"""The few places where one process and many differ: the world, sharding (FSDP2), and gathering weights back.

Under `torchrun --nproc-per-node N -m understudy distill …` each process finds RANK and WORLD_SIZE; alone there is
nothing to start and nothing is wrapped, so that one process needs no process group."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass

import torch
from torch import distributed, nn


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
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        total = torch.tensor(value, dtype=torch.float64, device=device)
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
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(distributed.destroy_process_group)  # its threads, left to the end of the process, can abort it
    return World(distributed.get_rank(), size)


def shard(objective: nn.Module, world: World) -> nn.Module:
    """FSDP2 over all processes: each layer of the student is a unit of its own, the rest one more. Alone: unchanged."""
    if world.size == 1:
        return objective
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (world.size,))
    for layer in objective.student.model.layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(objective, mesh=mesh)


def gather_into(objective: nn.Module, student: nn.Module, world: World) -> None:
    """After training: whole weights in `student` on every process. Alone they are there already."""
    if world.size == 1:
        return
    for module in student.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            whole = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
            module._parameters[name] = nn.Parameter(whole.detach().clone())
    del objective
