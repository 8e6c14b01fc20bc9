"""Where a student's targets come from: a live teacher, a cache on disk, or the labels themselves.

    LiveTeacher(network)             the full distribution, computed at every step
    CachedTeacher(folder, sequences) what `capture` wrote once: at most 64 bytes a token, many
                                     students
    Labels()                         cross-entropy: for correcting a teacher on the data, or as a
                                     baseline

A cached token holds the teacher's top-k with their log-probabilities, and m samples of the rest.
With p the teacher, K its top-k and r = 1 - Σ_K p, each sample weighs r / m, so that E[Σ_K p log q +
r/m Σ_j log q_j] = Σ_v p_v log q_v: plain top-k is biased, this is not (2503.16870). The samples are
stratified (one per m-th of the tail's mass), which keeps the mean and lowers the variance. The
teacher's entropy is kept too, so that the loss reads as a KL.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from understudy.compress import losses
from understudy.compress.data import Progress, Sequences, check_vocabulary, quiet
from understudy.compress.losses import LiveTarget, SparseTarget, Target
from understudy.compress.network import Network
from understudy.errors import MissingError, UsageError
from understudy.report.write import write_json

Records = np.memmap[Any, np.dtype[np.uint8]]


class Teacher(Protocol):
    """Gives the targets of some sequences, flattened: entry i of the batch's (sequences ·
    tokens)."""

    def target(self, numbers: NDArray[np.int64], tokens: Tensor) -> Target: ...

    def states(self, tokens: Tensor) -> list[Tensor] | None:
        """Residual streams for state losses, or None if this teacher has none."""
        ...


@dataclass(frozen=True)
class LiveTeacher:
    network: Network

    @torch.no_grad()
    def target(self, numbers: NDArray[np.int64], tokens: Tensor) -> Target:
        del numbers
        return LiveTarget(
            self.network.hidden(tokens[:, :-1]).flatten(0, 1), self.network.head_weight
        )

    @torch.no_grad()
    def states(self, tokens: Tensor) -> list[Tensor] | None:
        return self.network.states(tokens[:, :-1])


@dataclass(frozen=True)
class Labels:
    def target(self, numbers: NDArray[np.int64], tokens: Tensor) -> Target:
        del numbers
        labels = tokens[:, 1:].reshape(-1, 1)
        return SparseTarget(
            labels,
            torch.ones_like(labels, dtype=torch.float32),
            torch.zeros(len(labels)).to(labels.device),
        )

    def states(self, tokens: Tensor) -> list[Tensor] | None:
        del tokens
        return None


@dataclass(frozen=True)
class CacheFormat:
    """The record of one token: ids in 2 bytes (3 above 65,536 pieces), probabilities as float16
    logarithms."""

    vocab_size: int
    top_k: int
    num_samples: int

    @property
    def id_bytes(self) -> int:
        return 2 if self.vocab_size <= 1 << 16 else 3

    @property
    def bytes_per_token(self) -> int:
        return self.id_bytes * (self.top_k + self.num_samples) + 2 * self.top_k + 2

    @staticmethod
    def within(budget: int, vocab_size: int, top_k: int = 8) -> CacheFormat:
        """As many samples as fit beside `top_k` entries in `budget` bytes a token. Raises
        UsageError if none does."""
        id_bytes = 2 if vocab_size <= 1 << 16 else 3
        num_samples = (budget - 2 - top_k * (id_bytes + 2)) // id_bytes
        if num_samples < 1:
            raise UsageError(
                "budget leaves no samples of the tail: the cache would be biased",
                found=f"{budget} bytes",
            )
        return CacheFormat(vocab_size, min(top_k, vocab_size - 1), num_samples)

    def encode(self, ids: Tensor, log_probs: Tensor, entropy: Tensor) -> NDArray[np.uint8]:
        """ids (tokens, k + m), log_probs (tokens, k), entropy (tokens,) -> (tokens,
        bytes_per_token)."""
        wide = ids.to(torch.int32).cpu().numpy().astype("<u4")
        narrow = (
            wide.view(np.uint8).reshape(*wide.shape, 4)[..., : self.id_bytes].reshape(len(wide), -1)
        )
        halves = torch.cat([log_probs, entropy[:, None]], 1).to(torch.float16).cpu().numpy()
        return np.concatenate([narrow, halves.view(np.uint8).reshape(len(wide), -1)], axis=1)

    def decode(self, records: NDArray[np.uint8]) -> SparseTarget:
        split = self.id_bytes * (self.top_k + self.num_samples)
        narrow = records[:, :split].reshape(len(records), -1, self.id_bytes)
        wide = np.zeros((*narrow.shape[:2], 4), np.uint8)
        wide[..., : self.id_bytes] = narrow
        ids = torch.from_numpy(wide.view("<u4")[..., 0].astype(np.int64))
        halves = np.ascontiguousarray(records[:, split:]).view(np.float16).astype(np.float32)
        top = torch.from_numpy(np.exp(halves[:, :-1]))
        rest = (1 - top.sum(1, keepdim=True)).clamp_min(0)
        weights = torch.cat([top, (rest / self.num_samples).expand(-1, self.num_samples)], 1)
        return SparseTarget(ids, weights, torch.from_numpy(halves[:, -1].copy()))


@torch.no_grad()
def sparse_target(
    logits: Tensor, form: CacheFormat, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (tokens, vocab) -> ids (tokens, k + m), log-probabilities of the top k, entropy."""
    log_p = logits.float().log_softmax(-1)
    p = log_p.exp()
    entropy = -(p * log_p).sum(-1)
    top_log, top_ids = log_p.topk(form.top_k, dim=-1)
    mass = p.scatter(-1, top_ids, 0.0).cumsum(-1, dtype=torch.float64)
    strata = torch.arange(form.num_samples, dtype=torch.float64)
    drawn = (
        strata + torch.rand(len(p), form.num_samples, generator=generator, dtype=torch.float64)
    ) / form.num_samples
    sampled = torch.searchsorted(mass, drawn.to(mass.device) * mass[:, -1:], right=True)
    ids = torch.cat([top_ids, sampled.clamp_max(logits.shape[-1] - 1)], 1)
    return ids, top_log.float(), entropy.float()


@torch.no_grad()
def capture(
    network: Network,
    sequences: Sequences,
    folder: Path,
    *,
    budget: int = 64,
    batch_size: int = 4,
    seed: int = 0,
    precision: str = "float32",
    progress: Progress = quiet,
) -> CachedTeacher:
    """Run the teacher over all sequences once and keep its targets in `folder`. A second call on
    the folder goes on.

    precision: of the teacher's products, float32 or bfloat16.

    Raises:
        UsageError: the folder holds the cache of other sequences, or the budget is too small.
    """
    check_vocabulary(sequences, network.spec.vocab_size, "cached sequences")
    form = CacheFormat.within(budget, network.spec.vocab_size)
    folder.mkdir(parents=True, exist_ok=True)
    known = {
        "format": asdict(form),
        "sequences": _digest(sequences),
        "num_sequences": len(sequences),
        "length": sequences.mask.shape[1],
    }
    about = folder / "cache.json"
    if (
        about.exists()
        and {k: v for k, v in json.loads(about.read_text()).items() if k in known} != known
    ):
        raise UsageError(
            "folder holds the teacher cache of other data", where=folder, do="name a new folder"
        )
    finished = json.loads(about.read_text())["finished"] if about.exists() else 0
    records = _records(folder, form, sequences, "r+" if finished else "w+")
    for start in range(finished, len(sequences), batch_size):
        tokens = torch.from_numpy(
            sequences.tokens[start : start + batch_size, :-1].astype(np.int64)
        ).to(network.device)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
        with torch.autocast(network.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            records[start : start + batch_size] = _capture_batch(network, tokens, form, generator)
        records.flush()
        write_json(about, known | {"finished": min(start + batch_size, len(sequences))})
        progress(min(start + batch_size, len(sequences)), len(sequences), "asking the teacher")
    return CachedTeacher(folder, sequences)


def _capture_batch(
    network: Network, tokens: Tensor, form: CacheFormat, generator: torch.Generator
) -> NDArray[np.uint8]:
    hidden = network.hidden(tokens).flatten(0, 1)
    records = encoded_answers(hidden, network.head_weight, form, generator)
    return records.reshape(*tokens.shape, form.bytes_per_token)


def encoded_answers(
    hidden: Tensor, head: Tensor, form: CacheFormat, generator: torch.Generator
) -> NDArray[np.uint8]:
    """The records (tokens, bytes of a token) of what a teacher answers from its `hidden` (tokens,
    width) by its `head` (vocab, width), the logits in chunks.
    """
    parts = [np.zeros((0, form.bytes_per_token), np.uint8)]
    for tokens_of_chunk in losses.chunks(hidden, head):
        logits = functional.linear(hidden[tokens_of_chunk], head)
        parts += [
            form.encode(*sparse_target(logits[block], form, generator))
            for block, _ in losses.blocks(tokens_of_chunk, logits)
        ]
    return np.concatenate(parts)


class CachedTeacher:
    """Opens what `capture` wrote. Raises MissingError if it is unfinished, UsageError if the
    sequences are others."""

    def __init__(self, folder: Path, sequences: Sequences) -> None:
        about = folder / "cache.json"
        if not about.exists():
            raise MissingError(
                "no teacher cache in this folder", where=folder, do="run capture first"
            )
        known = json.loads(about.read_text())
        if known["sequences"] != _digest(sequences):
            raise UsageError(
                "teacher cache was made for other sequences", where=folder, do="capture again"
            )
        if known["finished"] < known["num_sequences"]:
            raise MissingError(
                "teacher cache is unfinished",
                where=folder,
                expected=known["num_sequences"],
                found=known["finished"],
            )
        self.form = CacheFormat(**known["format"])
        self.records = _records(folder, self.form, sequences, "r")

    def target(self, numbers: NDArray[np.int64], tokens: Tensor) -> Target:
        records = np.asarray(self.records[numbers]).reshape(-1, self.form.bytes_per_token)
        return self.form.decode(records).to(tokens.device)

    def states(self, tokens: Tensor) -> list[Tensor] | None:
        del tokens
        return None


def _records(folder: Path, form: CacheFormat, sequences: Sequences, mode: Any) -> Records:
    shape = (*sequences.mask.shape, form.bytes_per_token)
    return np.memmap(folder / "targets.bin", np.uint8, mode, shape=shape)


def _digest(sequences: Sequences) -> str:
    return hashlib.sha256(sequences.tokens.tobytes()).hexdigest()
