"""Alignment: from data to an adapter that makes a model better at its jobs. Needs
`understudy[compress]` (torch).

    run         from a recipe to files: adapter, card, report
    recipe      what a run is told
    workbench   a model opened for tuning, its cost
    lora        low-rank terms on the torch network
    rows        trees as the network takes them
    sft         supervised tuning, resumable
    preference  DPO, SimPO, ORPO
    grpo        reinforcement: rollouts (our engine) and rewards (verified)
    measure     losses of what is kept apart
"""
