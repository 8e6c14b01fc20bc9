"""What a trimmed model is shown to keep, and its report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy import __version__
from understudy.checkpoint.checkpoint import Checkpoint
from understudy.compress.data import TextEncoder
from understudy.compress.report import StageReport
from understudy.compress.trim.choose import Choice
from understudy.compress.trim.settings import VocabularySettings
from understudy.errors import FormatError
from understudy.report.provenance import model_bytes, model_sha256
from understudy.spec import parameter_counts
from understudy.text import open_tokenizer


@dataclass(frozen=True, slots=True)
class Proof:
    documents: int  # with kept pieces alone: they encode as before
    others: int
    tokens_before: int
    tokens_after: int


def prove(
    documents: Sequence[list[int]], choice: Choice, encoder: TextEncoder, made: Checkpoint
) -> Proof:
    """Encodes every text again.

    Raises:
        FormatError: a text of kept pieces became other pieces, or a text cannot be read back.
    """
    assert made.tokenizer_source is not None
    after = open_tokenizer(made.tokenizer_source)
    numbers = {old: new for new, old in enumerate(choice.kept)}
    same = before_count = after_count = 0
    for ids in documents:
        text = encoder.tokenizer.decode(ids)
        before, found = encoder.text(text), after.encode(text)
        before_count, after_count = before_count + len(before), after_count + len(found)
        is_whole = all(token in numbers for token in before)
        if is_whole and [numbers[token] for token in before] != found:
            raise FormatError("a text of kept pieces encodes to others", found=repr(text[:80]))
        if after.decode(found) != encoder.tokenizer.decode(before):
            raise FormatError("a text is not read back as it was", found=repr(text[:80]))
        same += is_whole
    return Proof(same, len(documents) - same, before_count, after_count)


def report_of(
    checkpoint: Checkpoint, made: Checkpoint, path: Path, choice: Choice, proof: Proof
) -> StageReport:
    before, after = (parameter_counts(one.spec)["total"] for one in (checkpoint, made))
    figures: dict[str, Any] = {
        "pieces": {"before": checkpoint.spec.vocab_size, "after": made.spec.vocab_size},
        "kept": dict(choice.reasons),
        "scripts": list(choice.scripts),
        "parameters": {"total": after},
        "teacher": {"parameters": before, "bytes": model_bytes(checkpoint.path)},
        "texts that encode as before": proof.documents,
        "texts with pieces that are gone": proof.others,
        "tokens of the texts": {"before": proof.tokens_before, "after": proof.tokens_after},
    }
    size = model_bytes(path)
    figures |= {"gguf": {"bytes": size}} if path.suffix == ".gguf" else {"folder_bytes": size}
    return StageReport("vocabulary", figures)


def lineage(checkpoint: Checkpoint, settings: VocabularySettings) -> dict[str, Any]:
    return {
        "teacher": checkpoint.path.name,
        "teacher_sha256": model_sha256(checkpoint.path),
        "stages": [{"stage": "vocabulary", "pieces": settings.size}],
        "version": __version__,
    }


def settings_table(settings: VocabularySettings) -> dict[str, Any]:
    def names(paths: Iterable[str]) -> list[str]:
        return [Path(path).name for path in paths]

    return {
        "size": settings.size,
        "texts": names(settings.texts),
        "tools": names(settings.tools),
        "scripts": list(settings.scripts),
    }
