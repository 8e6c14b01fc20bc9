"""Runs inside the environment that has transformers: folders with a config.json on stdin, as a JSON
list. Each gets random weights and the logits of a short and a long text, `logits.npz`; nothing
where transformers itself does not take the config.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def shaped(name, values, seed, is_centred):
    """Random values by which activations stay around 1."""
    noise = torch.randn(values.shape, generator=torch.Generator().manual_seed(seed))
    if name.endswith(("A_log", "dt_bias", ".D")):
        return noise.abs() * 0.5
    if values.ndim == 1:
        return noise * 0.2 + (0 if is_centred or name.endswith("bias") else 1)
    return noise if "embed" in name else noise / values[0].numel() ** 0.5


def write(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    is_centred = config.model_type in ("nemotron", "gemma3_text")
    kept = {
        n: v
        for n, v in model.named_buffers()
        if n.endswith(("e_score_correction_bias", "expert_bias"))
    }
    with torch.no_grad():  # one of tied ones
        for seed, (name, values) in enumerate([*model.named_parameters(), *kept.items()]):
            values.copy_(shaped(name, values, seed, is_centred))
    with tempfile.TemporaryDirectory() as aside:  # in the names of files, which memory's may not be
        model.save_pretrained(aside)
        shutil.copy(Path(aside) / "model.safetensors", folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    ).eval()
    found = {}
    for length in (12, 60):
        ids = np.random.default_rng(length).integers(3, 90, length)
        with torch.no_grad():
            logits = model(torch.tensor(ids[None]), use_cache=False).logits[0].numpy()
        found |= {f"ids{length}": ids, f"logits{length}": logits}
    np.savez(folder / "logits.npz", **found)


for path in map(Path, json.load(sys.stdin)):
    try:
        write(path)
    except Exception as error:
        (path / "refused.txt").write_text(f"{type(error).__name__}: {error}")
