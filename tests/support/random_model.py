"""A whole `Model` of random weights with the stand-in for Nemotron's vocabulary: it babbles, in the
right chat template.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import understudy
from tests.support.checkpoints import SPECS, random_weights, write_folder
from tests.support.nemotron_tokenizer import PATH, VOCAB_SIZE


def babbler(folder: Path, context: int = 1024) -> understudy.Model:
    """A loaded Nemotron-shaped model; every byte it writes is chance, so whatever holds of it holds
    of any model.
    """
    spec = SPECS["nemotron"].replace(vocab_size=VOCAB_SIZE, max_positions=4096)
    write_folder(spec, random_weights(spec, seed=3), folder)
    shutil.copy(PATH, folder / "tokenizer.model")
    return understudy.load(folder, context=context, use_cache=False)
