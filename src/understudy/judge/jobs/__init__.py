"""The three jobs with their switches on and off: `understudy jobs MODEL`.

`job.py` says what a job and a switch are; `calls.py`, `documents.py` and `characters.py` do one
item each; `items.py` reads data; `run.py` measures, and goes on after a kill; `tables.py`
compares and suggests; `report.py` writes it down. What is suggested belongs into
`generation/presets.json`.
"""
