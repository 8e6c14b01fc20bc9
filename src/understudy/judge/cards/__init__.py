"""Model cards written from stored runs: a card, four sub-cards, a comparison of two models. Nothing
here runs a model.

    facts            what the file says of itself
    evidence         stored runs, each checked to be of this model
    statements       what only a person can say (TOML)
    results          what the runs say, as blocks; `lineage` where the model comes from
    overview         the card; subcards/ its four sub-cards
    comparison       what compression cost, with intervals; `comparison_page` draws it
    write            all pages as files, drawn by `report`
"""
