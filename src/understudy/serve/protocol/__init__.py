"""The bodies of requests as each protocol defines them. Unknown fields are refused by name; so are known ones that do nothing here.

A field of which only the value that changes nothing is understood is declared with `Only[...]`-like literals, so that the refusal
and the OpenAPI say the same.
"""
