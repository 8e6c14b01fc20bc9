"""The stages of a pipeline, one a file, in the order in which they run. A stage makes a network of
a network.

prune   distill (and correct)   search (finds what prune cuts to)   quantize, export (what comes
out)
"""
