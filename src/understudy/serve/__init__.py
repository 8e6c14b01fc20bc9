"""The local server: what OpenAI's, Anthropic's and llama.cpp's clients ask for, and characters and
documents, over HTTP.

    settings.py           how a server is set up
    app.py, openapi.py    the application | its routes as OpenAPI
    shell.py, access.py   what every application here is built on | who may ask
    keys.py               keys in a file, hashed
    pool.py, stores.py    models by name, loaded when asked for | what is kept between requests
    server.py             `with_model`: a body checked, a model leased
    api/                  a file for each protocol; `<protocol>_bodies.py`: what clients send
    answers.py            a conversation: prepared, admitted, its answers read and checked
    texts.py              the same for texts that are continued
    content.py            the content guard, before a model and behind it
    threads.py            sessions, which are generators of threads, driven from the event loop
    events.py, errors.py  how an answer goes out | errors as each protocol has them
    metrics.py            what Prometheus reads
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.shown import shown

if TYPE_CHECKING:
    from understudy.serve.app import create_app
    from understudy.serve.settings import Settings as ServeSettings

__all__ = ["ServeSettings", "create_app"]
__getattr__ = shown(__name__, __all__)
