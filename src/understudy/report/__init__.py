"""Reports: a document of blocks becomes Markdown and HTML, with charts; what runs leave behind on
the way there.

    document    blocks of a page, written once
    markdown    the same blocks as Markdown; `html` as HTML
    charts      intervals, curves and bars as SVG
    style       one look: light, dark, on paper
    write       documents as files
    lines       JSON lines that survive a kill
    text        texts and numbers as a reader sees them
    provenance  which model, command, machine
    statistics  intervals and paired tests

Nothing here knows what is reported: `judge` and `compress` make documents, this package draws them.
"""
