"""Writing so that a reader sees the old file, the new one, or none, but never half of one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy.errors import UnderstudyError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write a file or folder at; renames it to `path` at the end, removes it on failure.

    Raises:
        UnderstudyError: the disk is full or the place cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        if aside.is_dir() and path.is_dir():
            shutil.rmtree(path)
        aside.replace(path)
    except OSError as error:
        raise UnderstudyError(f"cannot write: {error.strerror or error}", where=path) from error
    finally:
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
