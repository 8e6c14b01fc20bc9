"""The record of a run, intervals and paired tests; everything that a report is made of."""
