"""A smaller vocabulary: the pieces that a use needs stay, the rows of the others go (no torch).

`pieces` reads any tokenizer as pieces and joins, `choose` says which stay and why, `tokenizer` and
`files` write the tokenizer that is left, `checkpoint` the model, `run` is the command.

Why a text that consists of kept pieces encodes as before: byte-pair encoding joins neighbours, best
first, and never cuts again. With every kept piece stay the pieces that it is joined from, so every
join that made such a text is still there; joins that are gone were not made. So the same joins come
in the same order.
"""
