"""Compression: a big checkpoint goes in, a small one comes out. Needs `understudy[compress]`
(torch).

Pipeline(read_recipe(Path("recipe.toml"))).run() -> Result(folder, gguf, reports)

    recipe       a TOML file -> settings
    pipeline     the stages in order, kept and resumed
    stages/      prune, training, search, quantize, export: a class or function each
    context      what the stages share
    checks       what can be said before any work
    network      the torch module of a ModelSpec
    data         sequences with loss masks, from `records`
    calibrate    one streamed pass of statistics
    importance   statistics -> a score per unit
    prune        trim any axis by those scores
    reconstruct  closed form, of what was trimmed
    distill      train the student on its teacher (losses, teacher cache, schedules, resume)
    quantize     4 and 8 bits: grids (scales, GPTQ, coordinate descent), equalise, qad (tuning)
    shapes       which shapes a search tries; `shape_search` which of them, by successive halving
    costs        parameters, bytes, seconds a token
    report       the pages of a stage; `card` the model's card
    stage_folder what is finished, what is kept

Nothing here is imported by what runs models; importing this package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.shown import shown

if TYPE_CHECKING:
    from understudy.compress.pipeline import Pipeline
    from understudy.compress.recipe import Recipe, read_recipe

__all__ = ["Pipeline", "Recipe", "read_recipe"]
__getattr__ = shown(__name__, __all__)
