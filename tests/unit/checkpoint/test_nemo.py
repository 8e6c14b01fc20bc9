"""A .nemo archive opens to the same spec and weights as the folder it stands for, tarred or
unpacked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.checkpoints import SPECS, random_weights
from tests.support.nemo_files import nemo_config, nemo_members, nemo_tar
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.errors import FormatError, InputError, MissingError, UnsupportedError

SPEC = SPECS["nemotron"]
WEIGHTS = {
    n: (w.view(np.uint32) >> 16 << 16).view(np.float32)
    for n, w in random_weights(SPEC, seed=3).items()
}


def _archive(path: Path, members: dict[str, bytes]) -> Path:
    path.write_bytes(nemo_tar(members))
    return path


def _folder(path: Path, members: dict[str, bytes]) -> Path:
    for name, data in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("ranks", [1, 2, 5])
@pytest.mark.parametrize("write", [_archive, _folder])
def test_opens_to_the_same_weights(
    ranks: int, write: Callable[[Path, dict[str, bytes]], Path], tmp_path: Path
) -> None:
    opened = open_checkpoint(write(tmp_path / "m.nemo", nemo_members(SPEC, WEIGHTS, ranks)))
    assert opened.spec == SPEC
    assert opened.tokenizer_source is not None
    assert opened.tokenizer_source.payload == b"spm"
    for name, values in WEIGHTS.items():
        assert opened.weights.stored(name).shape == values.shape
        np.testing.assert_array_equal(opened.weights[name].to_float32(), values, err_msg=name)


def _changed(**changes: object) -> dict[str, bytes]:
    import yaml

    return nemo_members(SPEC, WEIGHTS) | {
        "model_config.yaml": yaml.safe_dump(nemo_config(SPEC) | changes).encode()
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "swiglu"},
        {"normalization": "rmsnorm"},
        {"window_size": [128, 0]},
        {"qk_layernorm": True},
        {"bias": True},
    ],
)
def test_other_arithmetic_is_unsupported(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="not implemented"):
        open_checkpoint(_archive(tmp_path / "m.nemo", _changed(**changes)))


def test_other_layouts_say_so(tmp_path: Path) -> None:
    members = {"model_config.yaml": b"a: 1", "model_weights/__0_0.distcp": b"x"}
    with pytest.raises(UnsupportedError, match="torch_dist"):
        open_checkpoint(_archive(tmp_path / "m.nemo", members))
    (tmp_path / "z.nemo").write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(UnsupportedError, match="compressed"):
        open_checkpoint(tmp_path / "z.nemo")


def test_a_missing_chunk_and_a_short_one(tmp_path: Path) -> None:
    members = nemo_members(SPEC, WEIGHTS)
    chunk = "model_weights/model.decoder.layers.mlp.linear_fc2.weight/1.0.0"
    with pytest.raises(MissingError, match="chunks"):
        open_checkpoint(
            _archive(tmp_path / "m.nemo", {n: d for n, d in members.items() if n != chunk})
        )
    opened = open_checkpoint(_archive(tmp_path / "n.nemo", members | {chunk: members[chunk][:-2]}))
    with pytest.raises(FormatError, match="wrong size"):
        opened.weights["model.layers.1.mlp.down_proj.weight"]


def test_wrong_sizes_are_refused(tmp_path: Path) -> None:
    for key, value in [
        ("hidden_size", 90),
        ("num_layers", 4),
        ("kv_channels", 16),
        ("num_query_groups", 4),
    ]:
        with pytest.raises(InputError):
            open_checkpoint(_archive(tmp_path / "m.nemo", _changed(**{key: value}))).weights[
                "model.layers.0.self_attn.q_proj.weight"
            ]


def test_a_truncated_archive(tmp_path: Path) -> None:
    data = nemo_tar(nemo_members(SPEC, WEIGHTS))
    (tmp_path / "m.nemo").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError):
        open_checkpoint(tmp_path / "m.nemo")
