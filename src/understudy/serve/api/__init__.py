"""The protocols: each file holds what a body may say, the routes, and how their answers are
written.

Unknown fields of a body are refused by name, and so are known ones that would do nothing here. A
field of which only the value that changes nothing is understood is declared with that literal, so
that the refusal and the OpenAPI say the same.
"""
