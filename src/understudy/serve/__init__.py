"""The local server: what OpenAI's, Anthropic's and llama.cpp's clients ask for, and characters and documents, over HTTP.

settings.py            how a server is set up
app.py openapi.py      the application and its table of routes | the same table as OpenAPI
access.py keys.py      who may ask: hosts, origins, keys, sizes | keys in a file, hashed
pool.py                models by name, loaded when asked for
generate.py            from messages to the engine and back
api/                   a file for each protocol: what bodies may say, the routes, how answers are written
threads.py             sessions, which are generators of threads, driven from the event loop
events.py errors.py    server-sent events that notice a client that has gone | errors as each protocol writes them
metrics.py log.py      what Prometheus reads | one JSON line per request
"""
