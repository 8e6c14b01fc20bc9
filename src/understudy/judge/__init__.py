"""Judging a model: evaluation, benchmarks, safety, red team and model cards. Nothing below imports it."""
