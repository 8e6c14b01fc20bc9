"""Bytes on disk: readers and writers of checkpoint files. What the bytes mean is the business of
`models`.
"""
