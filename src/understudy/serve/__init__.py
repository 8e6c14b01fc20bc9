"""The local server: what OpenAI's, Anthropic's and llama.cpp's clients ask for, and characters and
documents, over HTTP.

settings.py            how a server is set up
app.py openapi.py      the application and its routes | the same table as OpenAPI
shell.py access.py     what every application here is built on | who may ask: host, origin, key,
size
keys.py                keys in a file, hashed
pool.py stores.py      models by name, loaded when asked for | what is remembered between requests
server.py              `with_model`: a body checked, a model leased, errors as answers
api/                   a file for each protocol: bodies, routes, how answers are written
generate.py answers.py requests prepared | outputs read, checked, asked for once more
content.py             the content check, before a model and behind it
threads.py             sessions, which are generators of threads, driven from the event loop
events.py errors.py    events that notice a client that has gone | errors as each protocol has them
metrics.py             what Prometheus reads
"""
