"""What a tuning run leaves: the adapter in both forms or the model, its card and the report."""

from __future__ import annotations

import warnings
from pathlib import Path

from understudy.adapters import Adapter, gguf, peft
from understudy.align.lora import Adapters
from understudy.align.recipe import AlignRecipe
from understudy.align.report import Findings, card_text, document
from understudy.align.whole import WholeWeights
from understudy.align.workbench import Workbench
from understudy.compress.folder import save_network
from understudy.errors import CheckpointWarning, UnsupportedError
from understudy.report.write import write_page, write_text


def write_findings(findings: Findings, out: Path) -> None:
    """Adapter in both forms (a model is there already), card and report."""
    if isinstance(findings.made, Adapter):
        write_adapter(findings.made, findings.bench, out, findings.recipe.format)
    write_text(out / "card.md", card_text(findings))
    write_page(document(findings), out)


def made_of(
    trained: Adapters | WholeWeights, recipe: AlignRecipe, bench: Workbench, out: Path
) -> Adapter | Path:
    """What was trained: an adapter, or the folder of a model, which is written here."""
    if isinstance(trained, Adapters):
        return adapter_of(trained, recipe, bench)
    out.mkdir(parents=True, exist_ok=True)
    return save_network(trained.network, bench.checkpoint, out / "model")


def write_adapter(adapter: Adapter, bench: Workbench, out: Path, format: str = "F32") -> None:
    """As PEFT's folder, its values in `format`, and as llama.cpp's file where that can hold it: a
    tied embedding or head it cannot change, which is said in a warning.
    """
    out.mkdir(parents=True, exist_ok=True)
    base = bench.path.name
    peft.write(adapter, out / "adapter", base=base, format=format)
    try:
        gguf.write(adapter, out / "adapter.gguf", bench.spec, base=base)
    except UnsupportedError as error:
        warnings.warn(f"no adapter.gguf: {error}", CheckpointWarning, stacklevel=2)


def adapter_of(
    adapters: Adapters, recipe: AlignRecipe, bench: Workbench, name: str = ""
) -> Adapter:
    """What was trained as an adapter that says where it comes from."""
    settings = recipe.adapter
    lineage = {
        "base": bench.name,
        "base_sha256": bench.sha256,
        "recipe": recipe.where.name,
        "seed": recipe.seed,
    }
    return Adapter(
        name or recipe.where.stem,
        settings.rank,
        settings.alpha,
        settings.rslora,
        adapters.tensors(),
        adapters.alphas(),
        metadata={"base": bench.name, "lineage": lineage},
    )
