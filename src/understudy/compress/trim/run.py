"""`understudy prune MODEL FOLDER --vocabulary N`: count, choose, write, prove it on the texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from understudy import hub
from understudy.checkpoint.checkpoint import Checkpoint, open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.compress.data import Progress, TextEncoder, quiet, read_documents
from understudy.compress.report import StageReport
from understudy.compress.trim.checkpoint import trimmed_checkpoint
from understudy.compress.trim.choose import Wanted, choose
from understudy.compress.trim.needed import needed_ids
from understudy.compress.trim.pieces import pieces_of
from understudy.compress.trim.proof import lineage, prove, report_of, settings_table
from understudy.compress.trim.settings import VocabularySettings
from understudy.errors import FormatError, MissingError, UsageError
from understudy.text import open_tokenizer
from understudy.text.templates import chat_template_for
from understudy.text.tokenizer import Tokenizer


def trim_vocabulary(
    model: str | Path, folder: Path, settings: VocabularySettings, progress: Progress = quiet
) -> tuple[Path, StageReport]:
    """Writes the trimmed model (a GGUF of a GGUF, in its own formats; else a folder) and a report.

    Returns:
        The model's path, `folder/model.gguf` or `folder/model`, and the report beside it.

    Raises:
        UsageError: more pieces are indispensable than may stay, or nothing is to be cut.
        MissingError: a model without a tokenizer, or a file that is not there.
        FormatError: the proof failed: a text of kept pieces encodes to others.
    """
    checkpoint = open_checkpoint(hub.resolve(model))
    source = checkpoint.tokenizer_source
    if source is None:
        raise MissingError("no tokenizer: nothing says what the rows mean", where=checkpoint.path)
    if not 0 < settings.size < checkpoint.spec.vocab_size:
        raise UsageError(
            "nothing to trim: the vocabulary is not larger",
            expected=f"fewer than {checkpoint.spec.vocab_size:,}",
            found=f"{settings.size:,}",
        )
    encoder = _encoder(checkpoint, open_tokenizer(source))
    documents = list(_documents(settings, encoder, progress))
    counts: Counter[int] = Counter()
    for ids in documents:
        counts.update(ids)
    wanted = Wanted(settings.size, counts, needed_ids(source, encoder), settings.scripts)
    choice = choose(pieces_of(source), wanted)
    made = trimmed_checkpoint(checkpoint, choice.kept, lineage(checkpoint, settings))
    progress(0, 1, "writing the smaller model")
    path = folder / ("model.gguf" if checkpoint.path.suffix == ".gguf" else "model")
    folder.mkdir(parents=True, exist_ok=True)
    notes = save_checkpoint(made, path)
    report = report_of(checkpoint, made, path, choice, prove(documents, choice, encoder, made))
    report.warnings += notes
    report.recipe = {"source": {"model": str(model)}, "vocabulary": settings_table(settings)}
    report.write(folder)
    return path, report


def _encoder(checkpoint: Checkpoint, tokenizer: Tokenizer) -> TextEncoder:
    return TextEncoder(tokenizer, chat_template_for(checkpoint.spec.architecture, tokenizer))


def _documents(
    settings: VocabularySettings, encoder: TextEncoder, progress: Progress
) -> Iterator[list[int]]:
    files = [*settings.texts, *settings.tools]
    for done, name in enumerate(files):
        progress(done, len(files), f"reading {Path(name).name}")
        if name in settings.tools:
            yield encoder.text(_text(Path(name)))
        else:
            yield from (document.ids for document in read_documents(Path(name), encoder))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MissingError("file cannot be read", where=path, found=error.strerror) from error
    except UnicodeDecodeError as error:
        raise FormatError("file is not UTF-8 text", where=path) from error
