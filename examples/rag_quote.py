"""A question to documents, answered with a quote that is checked against the file."""

import tempfile
from pathlib import Path

import understudy
from understudy.rag.answering import ask
from understudy.rag.index import Index

with tempfile.TemporaryDirectory() as folder, Index(Path(folder) / "notes.index") as index:
    Path(folder, "light.md").write_text(
        "# The lighthouse\n\nAda Vane keeps the light. It was built in 1812 from grey granite.\n"
    )
    Path(folder, "mill.md").write_text(
        "# The mill\n\nHilde the miller grinds rye for the village.\n"
    )
    print(len(index.add([folder]).new), "documents")
    model = understudy.load("smollm2-135m-instruct")
    answer = ask(model, index, "When was the lighthouse built?")
    print(answer.text)
    for citation in answer.citations:
        text = index.store.text_of(citation.path)
        assert text[citation.start : citation.end] == citation.quote
        print(
            f'  "{citation.quote}" — {Path(citation.path).name}, characters {citation.start} to {citation.end}'
        )
    print(ask(model, index, "Who won the chess olympiad?").text or "The documents do not say.")
    print(answer.point)
