"""Answers from documents: reading, cutting, finding, and answering with quotes that can be checked.

readers/       a file -> a `Document`: its text, and what stands where in it
chunk.py       a document -> chunks of some 220 tokens, each a span of its text
embed/         texts -> vectors
index.py       one SQLite file: words, vectors, and where each chunk comes from; search.py looks
things up in it cite.py ask.py quotes that must stand in the passages | a question -> an answer, or
that the documents do not say
"""
