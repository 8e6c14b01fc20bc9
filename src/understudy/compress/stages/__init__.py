"""The stages of a pipeline, one a file, in the order in which they run. A stage makes a network of
a network.

    prune            what the recipe cuts
    distill          and correct, which is the same of the teacher
    search           finds what prune cuts to
    quantize, export what comes out
"""
