"""A tokenizer as the files of a Hugging Face folder: copied where the source is one, built from the
vocabulary where not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as FastTokenizer

from understudy.checkpoint.template_files import FOLDER as TEMPLATE_FOLDER
from understudy.checkpoint.template_files import NAME as TEMPLATE_NAME
from understudy.checkpoint.template_files import template_files
from understudy.checkpoint.vocabulary import to_gguf_source
from understudy.checkpoint.vocabulary_files import has_vocabulary_files
from understudy.errors import UnsupportedError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text.pre_tokenizers import PRE_ALIASES, PRE_TOKENIZERS
from understudy.text.spm import CONTROL, NORMAL, UNKNOWN, USER_DEFINED

# What a folder may hold about its tokenizer; such files go into a copy as they are.
FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
)


def tokenizer_files(source: TokenizerSource, folder: Path) -> dict[str, bytes]:
    """File name -> content.

    Args:
        source: the tokenizer. folder: where the checkpoint lies; when it is a folder its tokenizer
        files are taken over unchanged.
    """
    if copied := copied_files(folder):
        return copied
    files = {"tokenizer.json": source.payload or b""} if source.kind == "tokenizer.json" else {}
    if source.kind == "sentencepiece":
        files["tokenizer.model"] = source.payload or b""
    if source.kind != "tokenizer.json":
        files["tokenizer.json"] = tokenizer_json(source)
    files["tokenizer_config.json"] = json.dumps(
        _settings(source, files["tokenizer.json"]), indent=2, ensure_ascii=False
    ).encode()
    for name, template in source.named_templates.items():
        if not TEMPLATE_NAME.match(name):
            raise UnsupportedError("a chat template's name cannot be a file's", found=name)
        files[f"{TEMPLATE_FOLDER}/{name}.jinja"] = template.encode()
    if source.named_templates and source.chat_template is not None:
        files["chat_template.jinja"] = source.chat_template.encode()
    ids = {
        "bos_token_id": source.bos_id,
        "eos_token_id": list(source.eos_ids) or None,
        "pad_token_id": source.pad_id,
    }
    files["generation_config.json"] = json.dumps(
        {k: v for k, v in ids.items() if v is not None}, indent=2
    ).encode()
    return files


def copied_files(folder: Path) -> dict[str, bytes]:
    """The files of a folder that has a tokenizer; none of one without, or of a single file."""
    if not folder.is_dir():
        return {}
    names = [*FILES, *(f"{TEMPLATE_FOLDER}/{f.name}" for f in template_files(folder))]
    copied = {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}
    is_whole = has_vocabulary_files(folder) or not copied.keys().isdisjoint(
        ("tokenizer.json", "tokenizer.model")
    )
    return copied if is_whole else {}


def tokenizer_json(source: TokenizerSource) -> bytes:
    """A tokenizer.json that gives the ids of a GGUF vocabulary or a SentencePiece model.

    Raises:
        UnsupportedError: a vocabulary that is neither byte-level BPE nor SentencePiece BPE.
    """
    source = to_gguf_source(source).source
    if source.model == "gpt2" and PRE_ALIASES.get(source.pre, source.pre) in PRE_TOKENIZERS:
        fast = _byte_level(source)
    elif source.model == "llama":
        fast = _sentencepiece(source)
    else:
        raise UnsupportedError(
            "tokenizer cannot be written as tokenizer.json",
            where="tokenizer.ggml.model",
            found=f"{source.model} {source.pre}",
        )
    types = source.types or (NORMAL,) * len(source.tokens)
    for piece, kind in zip(source.tokens, types, strict=True):
        is_special = kind in (CONTROL, UNKNOWN)
        if is_special or kind == USER_DEFINED:
            added = [AddedToken(piece, special=is_special, normalized=False)]
            (fast.add_special_tokens if is_special else fast.add_tokens)(added)
    if source.opening_ids or source.closing_ids:
        fast.post_processor = _post_processor(source)
    return str(fast.to_str()).encode()


def _post_processor(source: TokenizerSource) -> Any:
    front, back = (
        [f"{source.tokens[token]}:0" for token in ids]
        for ids in (source.opening_ids, source.closing_ids)
    )
    around = {source.tokens[token]: token for token in (*source.opening_ids, *source.closing_ids)}
    return processors.TemplateProcessing(
        single=" ".join([*front, "$A:0", *back]),
        pair=" ".join([*front, "$A:0", "$B:0", *back]),
        special_tokens=list(around.items()),
    )


def _byte_level(source: TokenizerSource) -> Any:
    make, takes_words = PRE_TOKENIZERS[PRE_ALIASES.get(source.pre, source.pre)]
    vocab = {piece: token for token, piece in enumerate(source.tokens)}
    merges = [(left, right) for left, _, right in (merge.partition(" ") for merge in source.merges)]
    fast = FastTokenizer(models.BPE(vocab, merges, ignore_merges=takes_words))
    fast.pre_tokenizer = make()
    fast.decoder = decoders.ByteLevel()
    return fast


def _sentencepiece(source: TokenizerSource) -> Any:
    vocab = {piece: token for token, piece in enumerate(source.tokens)}
    unknown = source.tokens[source.unk_id] if source.unk_id is not None else None
    fast = FastTokenizer(
        models.BPE(vocab, _merges(source), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    # As transformers writes it. It differs from SentencePiece in one thing: a text that begins with
    # a blank gets no second one.
    scheme = source.prefix if source.add_space_prefix else "never"
    fast.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement="▁", prepend_scheme=scheme, split=False
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    fast.decoder = decoders.Sequence(
        [*steps, decoders.Strip(" ", 1, 0)] if source.add_space_prefix else steps
    )
    return fast


def _merges(source: TokenizerSource) -> list[tuple[str, str]]:
    """Every pair of pieces that makes a piece, best score first: what SentencePiece would join, as
    BPE merges.
    """
    scores = {
        piece: score
        for piece, score, kind in zip(source.tokens, source.scores, source.types, strict=True)
        if kind == NORMAL
    }
    pairs = [
        (-score, piece[:at], piece[at:])
        for piece, score in scores.items()
        for at in range(1, len(piece))
        if piece[:at] in scores and piece[at:] in scores
    ]
    pairs.sort(key=lambda pair: pair[0])
    return [(left, right) for _, left, right in pairs]


def _settings(source: TokenizerSource, tokenizer: bytes) -> dict[str, Any]:
    fast = FastTokenizer.from_str(tokenizer.decode())

    def text(token: int | None) -> str | None:
        return None if token is None else fast.id_to_token(token)

    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": text(source.bos_id),
        "eos_token": text(source.eos_ids[0] if source.eos_ids else None),
        "unk_token": text(source.unk_id),
        "pad_token": text(source.pad_id),
        "chat_template": source.chat_template,
        "add_bos_token": source.add_bos,
        "clean_up_tokenization_spaces": False,
    }
    return {key: value for key, value in settings.items() if value is not None}
