"""Words in, words out: a conversation with tools, documents and a character, whose every token is accounted for.

schema.py tools.py      a function's signature as JSON Schema | tools: from functions, from OpenAI's dicts
mcp.py                  tools of an MCP server (extra `mcp`)
calls.py                the grammar that holds a model's calls to their schemas
loop.py                 running what was called: time limit, errors as results, clamping, approval
plan.py                 blocks of text with owners, the order of dropping, the context ledger
sources.py              what documents and characters must offer to a session
session.py              `Session(model, system=..., tools=..., documents=..., character=...).say(text)`
"""
