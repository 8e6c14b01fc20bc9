"""Training data: read, checked, mixed, made, and rendered in the forms in which the product asks.

records         one conversation, whatever form it came in
check, split    what is wrong with them, what is kept apart
overlap         what evaluation sets hold
make, writers   new cases out of tools, documents, cards
requests        words for a call, without a model
decisions       messages about one set of functions
variation       functions made strange
words           declining, and asking for what is missing
forms           records as server, rag and roleplay ask
encode, trees   tokens, what is learnt, beginnings that are shared
parts, mixture  what a recipe names, by share

Nothing here imports torch.
"""
