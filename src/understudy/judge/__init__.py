"""How good, how fast and how safe a model is: nothing that runs models imports this package. See
its README.

    evaluate   tasks with intervals
    benchmark  speed, memory, perplexity, function calls
    safety     probes and moderation
    redteam    what people make a model say
    jobs       calls, documents and characters with every switch on and off
    cards      model cards from stored runs
"""
