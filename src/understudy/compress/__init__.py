"""The workshop: a big checkpoint goes in, a small one comes out. Needs the extra `understudy[compress]` (torch).

Each stage is checkpoint -> checkpoint and a file or two of this room:

    network      the torch module of a ModelSpec           data        token rows with loss masks from text and JSONL
    calibrate    one streamed pass that gathers statistics importance  statistics -> a score per unit (CRITERIA)
    prune        trim any axis by those scores             reconstruct  closed-form reconstruction of what was trimmed
    distill      train the student on its teacher (losses, teacher cache, schedules, resume)
    quantize     4 and 8 bits by scale search, error feedback and exact equivalences
    sparsity     zero rates of relu2 models                search      which shape, by successive halving
    recipe       a TOML file -> all of these, with reports and a model card

Nothing here is imported by the run-time rooms; importing this package itself does not import torch.
"""
