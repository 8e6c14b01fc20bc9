"""The exception tree. Every error that a user can meet is drawn here; everything else is our bug.

    UnderstudyError                 exit code 1: the work failed
    ├── InputError                  exit code 2: what was given cannot be used
    │   ├── UsageError              an argument or setting is out of range or contradicts another
    │   ├── CheckpointError         a model file or folder
    │   │   ├── FormatError         the bytes are not what their format says: cut, changed, foreign
    │   │   ├── UnsupportedError    well formed, but asks for something that is not implemented
    │   │   └── MissingError        a file, tensor or key that must be there is not
    │   ├── TemplateError           a chat template cannot be read or refuses these messages
    │   ├── ContextError            a prompt (plus its reserve) does not fit the context window
    │   ├── DocumentError           a document, index or card that cannot be read
    │   └── SchemaError             a JSON Schema or grammar that cannot be compiled
    ├── MemoryBudgetError           exit code 2: it would not fit; said before anything is loaded
    ├── OfflineError                exit code 1: the hub cannot be reached
    ├── ToolError                   exit code 1: a tool failed, hung or was refused
    └── Cancelled                   exit code 1: the caller stopped the work

A message is one line with five parts, of which only the first is required: what is wrong, where,
what was expected, what was found, what to do.
"""

from __future__ import annotations


class UnderstudyError(Exception):
    """Base of all errors raised on purpose.

    Args:
        what: the fault in a few words, e.g. ``"tensor has the wrong shape"``.
        where: file, tensor, key or argument it was met at.
        expected, found: values shown with ``repr`` unless they are strings.
        do: what the reader can do about it.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        found: object = None,
        do: str | None = None,
    ) -> None:
        self.what, self.where, self.expected, self.found, self.do = what, where, expected, found, do
        super().__init__(_one_line(what, where, expected, found, do))


class InputError(UnderstudyError):
    exit_code = 2


class UsageError(InputError):
    pass


class CheckpointError(InputError):
    pass


class FormatError(CheckpointError):
    pass


class UnsupportedError(CheckpointError):
    pass


class MissingError(CheckpointError):
    pass


class TemplateError(InputError):
    pass


class ContextError(InputError):
    pass


class DocumentError(InputError):
    pass


class SchemaError(InputError):
    pass


class MemoryBudgetError(UnderstudyError):
    exit_code = 2


class OfflineError(UnderstudyError):
    pass


class ToolError(UnderstudyError):
    pass


class Cancelled(UnderstudyError):
    pass


class UnderstudyWarning(UserWarning):
    """Something was not taken as it stands; the command prints it as a note."""


class CheckpointWarning(UnderstudyWarning):
    """A model file was read, but something in it was not taken as it stands."""


def _one_line(what: str, where: object, expected: object, found: object, do: str | None) -> str:
    line = what if where is None else f"{where}: {what}"
    if expected is not None:
        line += f"; expected {_show(expected)}"
    if found is not None:
        line += f"; found {_show(found)}"
    if do is not None:
        line += f". {do[0].upper()}{do[1:]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def _show(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)} characters)"
