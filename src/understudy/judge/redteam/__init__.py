"""Red teaming by people: conversations with the live model, rated by two or more, kept in one
SQLite file.

records.py       what is kept: goals, conversations, turns, ratings, fixes; severities with their
                 definitions
store.py         the SQLite file: what is said is committed before and after the model speaks
export.py        the same as JSONL, out and in, without loss or doubling (merge.py)
agreement.py     Cohen's kappa with intervals, Krippendorff's alpha, the disagreements
summary.py       counts by severity, category, turn of first harm, fixes: what a model card needs
converters.py    text -> text: encodings, disguises, wrappers
conversation.py  the live model behind a conversation of the store

Nothing here knows HTTP or terminals: those are `understudy.judge.redteam.web` and
`understudy.cli.redteam`.
"""
