"""Helpers of the tests: made-up checkpoints, tokenizers and the like. Nothing here needs torch,
weights or a network.
"""
