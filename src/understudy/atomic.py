"""Writing so that a reader sees the old file, the new one, or none, but never half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import UnderstudyError

_LEFT = re.compile(r"\..+\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)\.part")
_OLD_S = 86_400.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) if os.name == "posix" else (errno.ENOSPC,)


def is_full_disk(error: BaseException | None) -> bool:
    """Whether an error is that there is no room left to write to."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write a file or folder at; renames it to `path` at the end,
    removes it on failure.

    Raises:
        UnderstudyError: the disk is full or the place cannot be written.
    """
    aside = path.with_name(f".{path.name}.{_machine()}-{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(path.parent)
        yield aside
        if aside.is_dir() and path.is_dir():
            shutil.rmtree(path)
        aside.replace(path)
    except OSError as error:
        raise UnderstudyError(f"cannot write: {error.strerror or error}", where=path) from error
    finally:
        _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _machine() -> str:
    """This machine or container in eight digits: process numbers mean nothing on another one."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _clear_leftovers(folder: Path) -> None:
    """Removes what writers that were killed left here; of other machines what is a day old."""
    for path in folder.glob(".*.part"):
        found = _LEFT.fullmatch(path.name)
        with contextlib.suppress(OSError):
            if found and (
                not _is_running(int(found["process"]))
                if found["machine"] == _machine() and os.name == "posix"
                else time.time() - path.stat().st_mtime > _OLD_S
            ):
                _remove(path)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
