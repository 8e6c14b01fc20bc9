"""Answers from documents: reading, cutting, finding, and answering with quotes that can be checked.

readers/       a file -> a `Document`: its text, and what stands where in it
chunk.py       a document -> chunks of some 220 tokens, each a span of its text
embed/         texts -> vectors
index.py       one SQLite file: words, vectors, and where each chunk comes from
search.py      what of it is near to a question
cite.py        quotes that must stand in the passages
answering.py   `ask`: a question -> an answer, or that the documents do not say
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.shown import shown

if TYPE_CHECKING:
    from understudy.rag.answering import ask
    from understudy.rag.index import Index

__all__ = ["Index", "ask"]
__getattr__ = shown(__name__, __all__)
