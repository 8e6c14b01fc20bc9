"""What all stages of a recipe share: the models, the data, where things go, who is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from understudy.compress import parallel
from understudy.compress.data import Progress, Sequences, check_vocabulary, mixed, read_sequences
from understudy.compress.evaluate import Quality, compare
from understudy.compress.folder import Source, open_source
from understudy.compress.network import Network
from understudy.compress.recipe import Recipe
from understudy.compress.report import StageReport
from understudy.compress.vocabulary import share_vocabulary

Say = Callable[[str], None]


@dataclass
class Context:
    """Everything is opened and read when it is first asked for.

    Attributes:
        say: told what the user should know while it happens, a line at a time.
        teacher: what the student learns from; the source, or the corrected one once that stage ran.
        reports: of the stages that are done, in their order.
    """

    recipe: Recipe
    progress: Progress
    device: str
    say: Say
    reports: list[StageReport] = field(default_factory=list)
    corrected: Network | None = None

    def __post_init__(self) -> None:
        self.out = Path(self.recipe.output.folder)
        self.world = parallel.world()

    @property
    def source(self) -> Source:
        """The model that the recipe names."""
        return self._sources[0]

    @property
    def start(self) -> Source:
        """What is made smaller: the source itself, or the student that the recipe names."""
        return self._sources[1]

    @cached_property
    def _sources(self) -> tuple[Source, Source]:
        source = self.open(self.recipe.model)
        if self.recipe.student is None:
            return source, source
        return share_vocabulary(source, self.open(self.recipe.student))

    @property
    def teacher(self) -> Network:
        return self.source.network if self.corrected is None else self.corrected

    def open(self, model: str | Path) -> Source:
        return open_source(model, device=self.device)

    # ---- data ---------------------------------------------------------------------------------

    @cached_property
    def train(self) -> Sequences:
        """All training sequences in which something is learnt, those that are held out too."""
        return self.read(self.recipe.data.train).learnt()

    @cached_property
    def held_out(self) -> Sequences:
        """Sequences of the held-out files, or the last of the training data, not trained on
        then."""
        data = self.recipe.data
        if data.held_out:
            return self.read(data.held_out, data.held_out_sequences).learnt()
        return self.train.take(data.held_out_sequences, len(self.train) - data.held_out_sequences)

    @cached_property
    def training_sequences(self) -> Sequences:
        data = self.recipe.data
        if data.held_out:
            return self.train
        return self.train.take(len(self.train) - data.held_out_sequences)

    @cached_property
    def calibration(self) -> Sequences:
        """Spread evenly over the training data, half over the auxiliary texts, where there are
        any."""
        data = self.recipe.data
        if not data.auxiliary:
            return self.training_sequences.spread(data.calibration_sequences)
        auxiliary = self.read(data.auxiliary)
        return mixed(self.training_sequences, auxiliary, data.calibration_sequences)

    def read(self, files: tuple[str, ...], max_sequences: int | None = None) -> Sequences:
        length = self.recipe.data.length
        sequences = read_sequences(map(Path, files), self.source.encoder, length, max_sequences)
        check_vocabulary(sequences, self.source.network.spec.vocab_size, files[0])
        return sequences

    # ---- places and measures --------------------------------------------------------------------

    def quality(self, student: Network) -> Quality:
        """Against the source, on the held-out sequences."""
        return compare(student, self.source.network, self.held_out)

    def scratch(self, name: str) -> Path:
        """An empty place for what nobody needs afterwards."""
        shutil.rmtree(self.out / name, ignore_errors=True)
        return self.out / name
