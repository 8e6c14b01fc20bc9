"""Is the model safe: probes for its three jobs, detectors with stated errors, a report, and a guard
that can be switched on.

taxonomy.py    the categories of AEGIS 1.0 and 2.0, and the way from one to the other
probes/        one file per family; a probe is a list of cases, a case is plain data
detectors.py   what a reply gave away: canaries, markers, calls, refusals, words of another world;
               pii.py: personal data
ask.py         a case -> a session -> an answer
run.py         cases asked once each, kept in a JSONL file | report.py, page.py: JSON and HTML made
               from that file alone
garak.py       garak's offline probes in an environment of garak's own | garak_report.py: its
               findings as lines of the same file
guard.py       checks of what goes in and out, off unless asked for
"""
