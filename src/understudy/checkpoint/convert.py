"""Writing a checkpoint: as one GGUF file for llama.cpp and its kin, or as a Hugging Face folder for
transformers and vLLM.

    notes = save_checkpoint(open_checkpoint("model/"), "model.gguf", QuantSpec(weights="q4",
    head="q8"))

Tensors are made one at a time; what is written stands aside until it is whole. `notes` say in words
what could not be done as asked (a row that is not whole blocks, a normaliser that GGUF has no place
for).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from understudy.atomic import written_aside
from understudy.checkpoint.checkpoint import Checkpoint
from understudy.checkpoint.finite import check_finite
from understudy.checkpoint.gguf_rope import gguf_rope
from understudy.checkpoint.layout import (
    FilePlan,
    Plan,
    folder_shape,
    folder_tensors,
    gguf_format,
    gguf_shape,
    gguf_tensors,
    plan_file,
)
from understudy.checkpoint.lineage import gguf_entries, lineage_of
from understudy.checkpoint.registry import ARCHITECTURES
from understudy.checkpoint.template_files import FOLDER as TEMPLATE_FOLDER
from understudy.checkpoint.tokenizer_files import tokenizer_files
from understudy.checkpoint.vocabulary import to_gguf_source, vocabulary_metadata
from understudy.errors import UsageError
from understudy.formats.gguf import write_gguf
from understudy.formats.safetensors_folder import write_safetensors
from understudy.formats.tensor import BLOCKS, OWN_FORMATS, StoredTensor, num_bytes
from understudy.spec import ModelSpec, QuantSpec, stays_float, tensor_shapes

Progress = Callable[[int, int], None]

FORMATS = {"f32": "F32", "f16": "F16", "bf16": "BF16", "q8": "Q8_0", "q4": "Q4_0", "q3": "Q3_U"}
_FLOATS = ("F32", "F16", "BF16")
SHARD_BYTES = 5_000_000_000

# general.file_type of llama.cpp (enum llama_ftype), by the format of most weights.
_FILE_TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q2_K": 10,
    "Q3_K": 12,
    "Q4_K": 15,
    "Q5_K": 17,
    "Q6_K": 18,
    "IQ2_XXS": 19,
    "IQ2_XS": 20,
    "IQ3_XXS": 23,
    "IQ1_S": 24,
    "IQ4_NL": 25,
    "IQ3_S": 26,
    "IQ2_S": 28,
    "IQ4_XS": 30,
    "IQ1_M": 31,
    "BF16": 32,
    "TQ1_0": 36,
    "TQ2_0": 37,
    "MXFP4": 38,
    "NVFP4": 39,
    "Q1_0": 40,
}


def save_checkpoint(
    checkpoint: Checkpoint,
    path: str | Path,
    quant: QuantSpec | None = None,
    *,
    progress: Progress | None = None,
) -> list[str]:
    """Writes a GGUF (a path that ends in `.gguf`) or a Hugging Face folder; an older model at that
    place is replaced.

    Args:
        quant: formats of the matrices; None keeps those of the checkpoint, as far as the target
            holds them (a folder holds floats alone: blocks become bf16). Norms and biases are F32
            in a GGUF, of the weights' type in a folder.
        progress: called with (tensors done, tensors in all).

    Returns:
        Notes: what was not done as asked, in words; empty when all was.

    Raises:
        UsageError: q8, q4 or q3 for a folder, or a folder that is not a model's stands in the way.
        FormatError: weights that are not finite numbers, or a tokenizer that does not fit the
            network.
        UnsupportedError: something that the target has no place for.
    """
    path = Path(path)
    if path.suffix == ".gguf":
        return _save_gguf(checkpoint, path, quant, progress)
    return _save_folder(checkpoint, path, quant, progress)


def _chosen(name: str, quant: QuantSpec) -> str:
    by_part = {"model.embed_tokens.weight": quant.embedding, "lm_head.weight": quant.head}
    return FORMATS[by_part.get(name) or quant.weights]


def _checked_tensor(checkpoint: Checkpoint, name: str) -> StoredTensor:
    tensor = checkpoint.weights[name]
    check_finite(tensor, f"{checkpoint.path}: {name}")
    return tensor


# ---- GGUF
# ----------------------------------------------------------------------


def _save_gguf(
    checkpoint: Checkpoint, path: Path, quant: QuantSpec | None, progress: Progress | None
) -> list[str]:
    spec, family = checkpoint.spec, ARCHITECTURES[checkpoint.spec.architecture]
    notes: list[str] = []
    arch = family.gguf_architecture or family.name
    rope_keys, rope_tensors = gguf_rope(arch, spec, notes)
    plan = _gguf_plan(checkpoint, quant, notes)
    metadata = _gguf_metadata(checkpoint, plan, notes) | rope_keys
    if spec.architecture == "nemotron" and spec.query_size != spec.hidden_size:
        notes.append(
            "llama.cpp opens a Nemotron only where heads x head_dim is the hidden size "
            f"(here {spec.query_size} and "
            f"{spec.hidden_size}), until its pull request 23343 is in; this file follows the "
            "specification and opens here"
        )
    if windows := [block.window for block in spec.blocks if block.window and arch != "gemma3"]:
        notes.append(
            f"layers see {windows[0]} tokens; llama.cpp does not read the window of a {arch} file "
            "and sees all: a longer text is answered otherwise there than here"
        )
    file_plan = plan_file(spec, family.gguf_names, plan, gguf_shape)
    shapes = [(name, shape, format) for name, (_, shape, format) in file_plan.items()]
    shapes += [(name, values.shape, "F32") for name, values in rope_tensors.items()]
    rope = (StoredTensor.of(name, values) for name, values in rope_tensors.items())
    if progress is not None:
        progress(0, len(shapes))
    write_gguf(
        path,
        metadata,
        shapes,
        _counted(
            itertools.chain(
                gguf_tensors(
                    family, spec, file_plan, lambda name: _checked_tensor(checkpoint, name)
                ),
                rope,
            ),
            len(shapes),
            progress,
        ),
    )
    return notes


def _gguf_plan(checkpoint: Checkpoint, quant: QuantSpec | None, notes: list[str]) -> Plan:
    plan: Plan = {}
    uneven: dict[tuple[int, str], list[str]] = {}
    for name, shape in tensor_shapes(checkpoint.spec).items():
        wanted = "F32"
        if len(shape) > 1 and not stays_float(name):
            wanted = (
                checkpoint.weights.stored(name).format if quant is None else _chosen(name, quant)
            )
            wanted = _settled(checkpoint.spec, name, wanted, notes)
            if shape[-1] % BLOCKS[wanted][0]:
                uneven.setdefault((shape[-1], wanted), []).append(name)
                wanted = "BF16"
        plan[name] = (shape, wanted)
    for (columns, wanted), names in uneven.items():
        notes.append(
            f"{len(names)} tensors have rows of {columns}, which are not whole {wanted} blocks; "
            f"written as BF16: {names[0]} …"
        )
    # llama.cpp demands a head of its own for this architecture; the flag below tells us that it is
    # the embedding again.
    if checkpoint.spec.tied_embeddings and checkpoint.spec.architecture == "nemotron":
        plan["lm_head.weight"] = plan["model.embed_tokens.weight"]
    return plan


def _settled(spec: ModelSpec, name: str, wanted: str, notes: list[str]) -> str:
    """The format with blocks that no head shares where heads trade places."""
    settled = gguf_format(spec, name, wanted)
    if settled != wanted:
        notes.append(f"{name}: written as {settled}, heads change places inside blocks of {wanted}")
    return settled


def _gguf_metadata(checkpoint: Checkpoint, plan: Plan, notes: list[str]) -> dict[str, Any]:
    spec, family = checkpoint.spec, ARCHITECTURES[checkpoint.spec.architecture]
    sizes: dict[str, int] = {}
    for shape, format in plan.values():
        if len(shape) > 1:
            sizes[format] = sizes.get(format, 0) + num_bytes(format, shape)
    main = max(sizes, key=lambda format: sizes[format])
    metadata: dict[str, Any] = {
        "general.architecture": family.gguf_architecture or family.name,
        "general.type": "model",
        "general.name": str(checkpoint.metadata.get("general.name") or checkpoint.path.stem),
    }
    if main in _FILE_TYPES:
        metadata["general.file_type"] = _FILE_TYPES[main]
    notes += [
        f"{format} weights are this product's own: llama.cpp and other readers of GGUF refuse the "
        "file (q4 is what they open)"
        for format in sizes
        if format in OWN_FORMATS
    ]
    if any(format not in _FLOATS for format in sizes):
        metadata["general.quantization_version"] = 2
    metadata |= family.gguf_metadata(spec) | gguf_entries(checkpoint.metadata)
    metadata |= checkpoint.token_bias.gguf_entries(notes)
    if spec.tied_embeddings and "lm_head.weight" in plan:
        metadata["understudy.tied_embeddings"] = True
    if checkpoint.tokenizer_source is None:
        return metadata | {"tokenizer.ggml.model": "none"}
    vocabulary = to_gguf_source(checkpoint.tokenizer_source)
    notes += vocabulary.notes
    return metadata | vocabulary_metadata(vocabulary.source, spec.vocab_size)


def _counted(
    tensors: Iterator[StoredTensor], total: int, progress: Progress | None
) -> Iterator[StoredTensor]:
    for done, tensor in enumerate(tensors):
        yield tensor
        if progress is not None:
            progress(done + 1, total)


# ---- Hugging Face folder
# -----------------------------------------------------------------------------------------


def _save_folder(
    checkpoint: Checkpoint, path: Path, quant: QuantSpec | None, progress: Progress | None
) -> list[str]:
    notes: list[str] = []
    plan, main = _folder_plan(checkpoint, quant, notes)
    _check_replaceable(path)
    files = _tokenizer_files(checkpoint)
    files["config.json"] = json.dumps(_config(checkpoint, main), indent=2).encode()
    with written_aside(path) as aside:
        aside.mkdir()
        for name, content in files.items():
            (aside / name).parent.mkdir(exist_ok=True)
            (aside / name).write_bytes(content)
        names = ARCHITECTURES[checkpoint.spec.architecture].folder_names
        file_plan = plan_file(checkpoint.spec, names, plan, folder_shape)
        _write_shards(checkpoint, file_plan, aside, progress)
    return notes


def _tokenizer_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    if checkpoint.tokenizer_files is not None:
        return dict(checkpoint.tokenizer_files)
    if checkpoint.tokenizer_source is None:
        return {}
    files = tokenizer_files(checkpoint.tokenizer_source, checkpoint.path)
    if not checkpoint.path.is_dir() and "generation_config.json" in files:
        settings = json.loads(files["generation_config.json"])
        settings |= checkpoint.token_bias.generation_config_entries()
        files["generation_config.json"] = json.dumps(settings, indent=2).encode()
    return files


def _folder_plan(
    checkpoint: Checkpoint, quant: QuantSpec | None, notes: list[str]
) -> tuple[Plan, str]:
    """Formats of all tensors, and the one that config.json names."""
    shapes = tensor_shapes(checkpoint.spec)
    if quant is not None:
        blocks = sorted(
            {
                part
                for part in (quant.weights, quant.embedding, quant.head)
                if part is not None and FORMATS[part] not in _FLOATS
            }
        )
        if blocks:
            raise UsageError(
                "a Hugging Face folder holds floats alone",
                where=" ".join(blocks),
                expected="f32 f16 bf16",
                do="write a file that ends in .gguf, or choose bf16",
            )
        formats = {name: _chosen(name, quant) for name in shapes}
        main = FORMATS[quant.weights]
    else:
        stored = {
            name: checkpoint.weights.stored(name).format
            for name, shape in shapes.items()
            if len(shape) > 1
        }
        rounded = sorted({format for format in stored.values() if format not in _FLOATS})
        if rounded:
            notes.append(
                f"{' '.join(rounded)} weights were written as BF16: a folder holds floats alone"
            )
        formats = {name: format if format in _FLOATS else "BF16" for name, format in stored.items()}
        main = max(
            set(formats.values()),
            key=lambda f: sum(np.prod(shapes[n]) for n in formats if formats[n] == f),
        )
    vectors = {
        name: "F32" if stays_float(name) else main
        for name, shape in shapes.items()
        if len(shape) == 1
    }
    return {name: (shape, (formats | vectors)[name]) for name, shape in shapes.items()}, main


def _check_replaceable(path: Path) -> None:
    """A folder that would be lost must be empty or a model's own."""
    if path.is_file():
        raise UsageError(
            "a file stands where the folder should be written", where=path, do="choose another name"
        )
    entries = list(path.iterdir()) if path.is_dir() else []
    if entries and (
        not (path / "config.json").exists()
        or any(entry.is_dir() and entry.name != TEMPLATE_FOLDER for entry in entries)
    ):
        raise UsageError(
            "the folder is not empty and not a model", where=path, do="choose another name"
        )


def _config(checkpoint: Checkpoint, main: str) -> dict[str, Any]:
    family, source = ARCHITECTURES[checkpoint.spec.architecture], checkpoint.tokenizer_source
    ids: dict[str, Any] = {}
    if source is not None:
        eos = source.eos_ids[0] if len(source.eos_ids) == 1 else list(source.eos_ids) or None
        ids = {"bos_token_id": source.bos_id, "eos_token_id": eos, "pad_token_id": source.pad_id}
    kept = (
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "initializer_range",
        "attention_dropout",
    )
    ids = {key: checkpoint.metadata[key] for key in kept if key in checkpoint.metadata} | {
        key: value for key, value in ids.items() if value is not None
    }
    dtype = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[main]
    lineage = lineage_of(checkpoint.metadata)
    return {
        "architectures": [family.class_name],
        "model_type": family.model_type or family.name,
        **family.config_of(checkpoint.spec),
        **ids,
        "torch_dtype": dtype,
        "use_cache": True,
        **({"understudy": lineage} if lineage else {}),
    }


def _write_shards(
    checkpoint: Checkpoint, plan: FilePlan, folder: Path, progress: Progress | None
) -> None:
    shards: list[FilePlan] = [{}]
    size = 0
    for name, entry in plan.items():
        count = num_bytes(entry[2], entry[1])
        if size and size + count > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = entry
        size += count
    done = 0
    index: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = (
            "model.safetensors"
            if len(shards) == 1
            else f"model-{number:05}-of-{len(shards):05}.safetensors"
        )
        tensors = _counted(
            folder_tensors(shard, lambda name: _checked_tensor(checkpoint, name)),
            len(shard),
            _offset(progress, done, len(plan)),
        )
        write_safetensors(
            folder / file,
            tensors,
            {name: (shape, format) for name, (_, shape, format) in shard.items()},
        )
        index |= dict.fromkeys(shard, file)
        done += len(shard)
    if len(shards) > 1:
        total = sum(num_bytes(format, shape) for _, shape, format in plan.values())
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2)
        (folder / "model.safetensors.index.json").write_text(text)


def _offset(progress: Progress | None, before: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(before + done, total)
