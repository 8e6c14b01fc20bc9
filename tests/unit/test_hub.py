"""MODEL on the command line becomes a path; what cannot is refused with what to do."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from understudy import hub
from understudy.errors import MissingError, OfflineError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_path_is_itself(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"x")
    assert hub.resolve(tmp_path / "m.gguf") == tmp_path / "m.gguf"
    assert hub.resolve(str(tmp_path)) == tmp_path


def test_a_listed_name(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--some--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert hub.resolve("some/model") == snapshot
    entry = next(e for e in hub.list_models() if e.name == "some/model")
    assert (entry.path, entry.num_bytes, entry.source) == (snapshot, 2, "hub cache")


def test_the_embedded_default_is_found_without_an_import(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub, "_embedded_default", lambda: None)
    with pytest.raises(MissingError, match="pip install"):
        hub.resolve(hub.DEFAULT_MODEL)
    (tmp_path / "x.gguf").write_bytes(b"abc")
    monkeypatch.setattr(hub, "_embedded_default", lambda: tmp_path / "x.gguf")
    assert hub.resolve(hub.DEFAULT_MODEL) == tmp_path / "x.gguf"


def test_a_hub_id_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def fetch(repository: str, **keywords: Any) -> str:
        seen.update(keywords, repository=repository)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)

    def info(*_, **__):
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    (tmp_path / "config.json").write_text("{}")
    names = ["config.json", "pytorch_model.bin"]
    assert hub.resolve("org/name") == tmp_path
    assert seen["repository"] == "org/name"
    assert "pytorch_model*.bin" in seen["allow_patterns"]
    names.append("model.safetensors")  # the same weights again: one of the two is enough
    hub.resolve("org/name")
    assert "pytorch_model*.bin" not in seen["allow_patterns"]
    (tmp_path / "config.json").unlink()
    with pytest.raises(MissingError, match="no model that can be opened"):
        hub.resolve("org/name")


@pytest.mark.parametrize(
    "error", [LocalEntryNotFoundError("no"), ConnectionError("no route"), TimeoutError("slow")]
)
def test_offline_says_what_to_do(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(OfflineError, match=r"cannot be reached.*smollm2"):
        hub.resolve("org/name")


@pytest.mark.parametrize("text", ["nothing", "./a/b", "a/b/c", "../x"])
def test_neither_path_nor_name(text: str) -> None:
    with pytest.raises(MissingError):
        hub.resolve(text)
