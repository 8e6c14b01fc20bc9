"""Zip packages of XML parts (Office, OpenDocument, EPUB): opened with limits, tags in short
names, any fault one line.

Not a reader: those of these kinds stand on it.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from understudy.errors import DocumentError

MAX_PART_BYTES = 256 << 20
MAX_TOTAL_BYTES = 512 << 20  # of all parts that one document has us inflate
MAX_PARTS = 100_000
# Tags and attributes of one XML part: a tree takes some 150 bytes for each of them.
MAX_MARKS = 12_000_000
# Namespaces end alike in both editions of ECMA-376, transitional and strict, but for the year.
_PREFIXES = {
    "wordprocessingml/main": "w.",
    "officeDocument/math": "m.",
    "drawingml/main": "a.",
    "markup-compatibility": "mc.",
    "officeDocument/relationships": "r.",
    "spreadsheetml/main": "s.",
    "presentationml/main": "p.",
    "xmlns:text:1.0": "text.",
    "xmlns:table:1.0": "table.",
    "xmlns:office:1.0": "office.",
    "xmlns:style:1.0": "style.",
    "xmlns:presentation:1.0": "presentation.",
    "xmlns:form:1.0": "form.",
    "xmlns:drawing:1.0": "draw.",
    "xmlns:svg-compatible:1.0": "svg.",
}
_RELATIONS = "r."

Relation = tuple[str, str]  # (kind, name of the part or address outside)


class Package:
    """The parts of one file by name.

    Args:
        what: the kind of file, for messages: "Word document".

    Raises:
        DocumentError: not a zip, encrypted, or a format of before 2007.
    """

    def __init__(self, path: Path, data: bytes, what: str) -> None:
        self.path, self.what, self.left = path, what, MAX_TOTAL_BYTES
        if data[:4] == b"\xd0\xcf\x11\xe0":
            raise DocumentError(
                f"{what} is encrypted or of an old format",
                where=path,
                do="save it in the present format without a password",
            )
        if (num_parts := data.count(b"PK\x01\x02")) > MAX_PARTS:
            raise DocumentError(
                f"{what} has too many parts",
                where=path,
                expected=f"at most {MAX_PARTS}",
                found=num_parts,
            )
        with self.reading(f"not {'an' if what[0] in 'AEIOU' else 'a'} {what}"):
            self.archive = zipfile.ZipFile(io.BytesIO(data))
            self.names = frozenset(self.archive.namelist())

    @contextmanager
    def reading(self, fault: str) -> Iterator[None]:
        """What the zip and XML modules raise on damaged bytes, as one error."""
        try:
            yield
        except (
            zipfile.BadZipFile,
            zlib.error,
            ElementTree.ParseError,
            LookupError,
            NotImplementedError,
            RuntimeError,
            ValueError,
            EOFError,
            OSError,
        ) as error:
            reason = str(error)[:120] or type(error).__name__
            raise DocumentError(f"{fault} ({reason})", where=self.path) from error

    def read(self, name: str) -> bytes:
        """The bytes of a part.

        Raises:
            DocumentError: it is missing, damaged, or inflates to too much.
        """
        if name not in self.names:
            raise DocumentError(
                f"{self.what} cannot be read: it lacks a part", where=self.path, expected=name
            )
        most = min(MAX_PART_BYTES, self.left)
        with self.reading(self._damaged(name)), self.archive.open(name) as part:
            data = part.read(most + 1)
        if len(data) > most:
            raise DocumentError(
                f"{self.what} inflates to too much",
                where=f"{self.path}: {name}",
                expected=f"at most {MAX_PART_BYTES} bytes a part, {MAX_TOTAL_BYTES} in all",
            )
        self.left -= len(data)
        return data

    def _damaged(self, name: str) -> str:
        return f"{self.what} cannot be read: {name} is damaged"

    def xml(self, name: str) -> Element:
        """A part as a tree, with tags like `w.p` (a colon would be a prefix to `find`) and
        attributes without prefix but those of relations (`r.id`).
        """
        data = self.read(name)
        if (num_marks := data.count(b"<") + data.count(b"=")) > MAX_MARKS:
            raise DocumentError(
                f"{self.what} is too large",
                where=f"{self.path}: {name}",
                expected=f"at most {MAX_MARKS} tags and attributes in one part",
                found=num_marks,
            )
        with self.reading(self._damaged(name)):
            return parse_xml(data)

    def optional_xml(self, name: str) -> Element | None:
        return self.xml(name) if name in self.names else None

    def relations(self, name: str) -> dict[str, Relation]:
        """Id -> (last word of the relation's type, name of the part it points to)."""
        folder, file = posixpath.split(name)
        root = self.optional_xml(posixpath.join(folder, "_rels", f"{file}.rels"))
        found = {}
        for entry in () if root is None else root:
            target = entry.get("Target", "")
            if entry.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join(folder, target)).lstrip("/")
            found[entry.get("Id", "")] = entry.get("Type", "").rpartition("/")[2], target
        return found

    def title(self) -> str:
        """The title that the file's properties give, empty without one."""
        root = self.optional_xml("docProps/core.xml")
        found = None if root is None else root.findtext("title")
        return (found or "").strip()


def parse_xml(data: bytes) -> Element:
    """A tree with short tags.

    Raises:
        ValueError: it declares entities, which no program writes and which may grow without end.
    """
    if b"<!ENTITY" in data or "<!ENTITY".encode("utf-16-le") in data:
        raise ValueError("it declares entities")
    return _shortened(ElementTree.fromstring(data))


@lru_cache(maxsize=4096)
def _short(name: str) -> str:
    namespace, _, local = name.rpartition("}")
    namespace = namespace.replace("/2006", "")
    for ending, prefix in _PREFIXES.items():
        if namespace.endswith(ending):
            return prefix + local
    return local


def _shortened(root: Element) -> Element:
    for element in root.iter():
        if isinstance(element.tag, str):  # comments and instructions have a function for a tag
            element.tag = _short(element.tag)
        if element.attrib:
            element.attrib = {_attribute(name): value for name, value in element.attrib.items()}
    return root


def _attribute(name: str) -> str:
    short = _short(name)
    return short if short.startswith(_RELATIONS) else name.rpartition("}")[2]


def walk(
    element: Element,
    choose: Callable[[Element], Element | None],
    *,
    hidden: frozenset[str] = frozenset(),
) -> Iterator[Element]:
    """The children of an element in order, without recursion: wherever `choose` gives an element
    for a child (itself, or
    a part of it), that one's children come in its place; `hidden` tags are left out with all that
    is in them.
    """
    stack = [iter(element)]
    while stack:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
        elif child.tag not in hidden:
            inside = choose(child)
            if inside is None:
                yield child
            else:
                stack.append(iter(inside))
