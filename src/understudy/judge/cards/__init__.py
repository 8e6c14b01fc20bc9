"""Model cards written from stored runs: a card, four sub-cards, a comparison of two models. Nothing here runs a model.

facts       what the file says of itself          evidence    stored runs, each checked to be of this model
statements  what only a person can say (TOML)     figures     intervals as SVG
document    blocks of a page, written once        markdown, page   the same blocks as Markdown and as HTML
cards       the card and its sub-cards            comparison  what compression cost, with intervals
"""
