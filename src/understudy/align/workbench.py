"""A model opened for tuning: its tokenizer and chat template, the torch network, what it costs.

bench = Workbench.open("smollm2-135m-instruct")
network = bench.network("bfloat16")
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from understudy.align.lora import Adapters, LoraSettings, attach
from understudy.align.rows import Batching, RowTensors, Trained, row_loss
from understudy.align.terms import LoraHead
from understudy.align.whole import WholeWeights
from understudy.checkpoint.checkpoint import Checkpoint, open_checkpoint
from understudy.compress import parallel
from understudy.compress.network import Network, network_from_weights
from understudy.data.encode import ConversationEncoder
from understudy.data.trees import Tree
from understudy.errors import UsageError
from understudy.hub import resolve
from understudy.report.provenance import file_sha256
from understudy.spec import ModelSpec, parameter_counts
from understudy.text import Tokenizer, open_tokenizer
from understudy.text.templates import ChatTemplate, chat_template_for

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
HEAD_BYTES = 12  # of a value of the head that learns: its sum, its gradient, one of them narrow
BYTES_PER_TOKEN = 40  # activations that a token keeps, in units of hidden + intermediate sizes


@dataclass(frozen=True)
class Workbench:
    """See the module's docstring."""

    name: str
    path: Path
    checkpoint: Checkpoint
    tokenizer: Tokenizer
    chat_template: ChatTemplate

    @classmethod
    def open(cls, model: str) -> Workbench:
        """Opens a model by path, hub id or name.

        Raises:
            UsageError: it has no tokenizer.
        """
        path = resolve(model)
        checkpoint = open_checkpoint(path)
        if checkpoint.tokenizer_source is None:
            raise UsageError("a model without a tokenizer cannot be tuned", where=path)
        tokenizer = open_tokenizer(checkpoint.tokenizer_source)
        template = chat_template_for(checkpoint.spec.architecture, tokenizer)
        return cls(model, path, checkpoint, tokenizer, template)

    @property
    def spec(self) -> ModelSpec:
        return self.checkpoint.spec

    @property
    def sha256(self) -> str:
        """Of the model's file; empty for a folder."""
        return file_sha256(self.path) if self.path.is_file() else ""

    def encoder(self, *, is_even: bool = False) -> ConversationEncoder:
        return ConversationEncoder.of(self.tokenizer, self.chat_template, is_even=is_even)

    def network(self, precision: str, device: str = "auto") -> Network:
        """The network with the values that run: 4-bit weights decoded, as the engine sees them."""
        weights = self.checkpoint.weights
        decoded = {name: weights[name].to_float32() for name in weights}
        network = network_from_weights(self.spec, decoded, DTYPES[precision])
        return network.to(parallel.choose_device(device)).requires_grad_(False)

    def adapted(
        self, precision: str, settings: LoraSettings, device: str = "auto"
    ) -> tuple[Network, Adapters]:
        """The network with low-rank terms.

        Raises:
            UsageError: a row of `token_rows` is no token of the model.
        """
        rows = tuple(self._token(row) for row in settings.token_rows)
        network = self.network(precision, device)
        return network, attach(network, replace(settings, token_rows=rows))

    def _token(self, row: int | str) -> int:
        if isinstance(row, int):
            return row
        marker = self.tokenizer.marker_id(row)
        ids = self.tokenizer.encode(row) if marker is None else [marker]
        if len(ids) != 1:
            raise UsageError(
                "is not one token of the model",
                where="token_rows",
                found=f"{row!r}: {len(ids)} tokens",
                do="give a token that its vocabulary has, by text or number",
            )
        return ids[0]

    def whole(self, device: str = "auto") -> tuple[Network, WholeWeights]:
        """The network with all of its weights to be tuned, in float32."""
        network = self.network("float32", device)
        return network, WholeWeights(network)


@dataclass(frozen=True)
class Outlook:
    """What a run will take, said before it begins."""

    num_trees: int
    num_steps: int
    num_tokens: int
    trained_parameters: int
    memory_bytes: int
    seconds: float

    def lines(self) -> list[str]:
        minutes, speed = self.seconds / 60, self.num_tokens / max(self.seconds, 1e-9)
        tokens = f"{self.num_tokens:,} tokens in {self.num_steps} steps"
        return [
            f"data      {self.num_trees:,} trees, {tokens}",
            f"trained   {self.trained_parameters / 1e6:.2f}M parameters",
            f"memory    about {self.memory_bytes / 1e9:.1f} GB",
            f"time      about {minutes:.0f} minutes at {speed:.0f} tokens/s",
        ]


def outlook(
    network: Network,
    adapters: Trained,
    trees: list[Tree],
    steps: list[list[list[int]]],
    batching: Batching,
) -> Outlook:
    """Times one row forward and backward, and reckons from there."""
    num_tokens = sum(len(trees[i]) for step in steps for row in step for i in row)
    numbers = steps[0][0]
    row = RowTensors.of(
        [trees[i] for i in numbers], network.device, network.model.norm.weight.dtype
    )
    started = time.monotonic()
    row_loss(network, row).backward()
    took = time.monotonic() - started
    for parameter in adapters.parameters():
        parameter.grad = None
    spec, trained = network.spec, sum(p.numel() for p in adapters.parameters())
    width = spec.hidden_size + spec.intermediate_size
    per_token = BYTES_PER_TOKEN * width * spec.num_layers // 8
    size = network.model.norm.weight.element_size()
    longest = max(batching.row_tokens, *(len(tree) for tree in trees))
    scores = spec.num_layers * spec.num_heads * longest * longest
    has_own_head = isinstance(network.lm_head, LoraHead)
    memory = (
        parameter_counts(spec)["total"] * size
        + 16 * trained
        + size * (longest * per_token + scores)
        + (HEAD_BYTES * spec.vocab_size * spec.hidden_size if has_own_head else 0)
    )
    seconds = took / len(row.positions) * num_tokens
    return Outlook(len(trees), len(steps), num_tokens, trained, int(memory), seconds)
