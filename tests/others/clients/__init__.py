"""Drivers that run inside a client library's own environment; `run.py` prints what they gave."""
