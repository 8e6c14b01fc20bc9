"""Faces of other libraries over ours: transformers."""
