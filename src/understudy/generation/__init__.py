"""From a request to a reply: schemas, tools and calls under a grammar, the plan of a prompt with
its ledger, moderation.
"""
