"""Tuning of all weights, where an adapter is too little: the network itself is what is trained.

    whole = WholeWeights(network)      # in place; every parameter learns
    whole.set_enabled(False)           # the network answers as its base

The base's weights stand beside (one copy more), for measures and for the KL term.
"""

from __future__ import annotations

import torch
from torch import nn

from understudy.compress.network import Network
from understudy.errors import UsageError


class WholeWeights(nn.Module):
    """All parameters of a network; stands where `Adapters` stand.

    Raises:
        UsageError: the network is not in float32. Steps of a usual learning rate are lost in
            bfloat16's eight bits.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        if network.model.norm.weight.dtype != torch.float32:
            raise UsageError(
                "all weights are tuned in float32 only",
                where="precision",
                found=str(network.model.norm.weight.dtype).removeprefix("torch."),
                do='say precision = "float32", or tune an adapter',
            )
        self.network = network.requires_grad_(True)
        self._others = [parameter.detach().clone() for parameter in self.parameters()]
        self._is_enabled = True

    def set_enabled(self, is_enabled: bool) -> None:
        """Whether the network answers as tuned or as its base."""
        if is_enabled == self._is_enabled:
            return
        for number, parameter in enumerate(self.parameters()):
            parameter.data, self._others[number] = self._others[number], parameter.data
        self._is_enabled = is_enabled
