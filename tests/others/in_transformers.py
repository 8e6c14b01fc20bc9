"""Runs inside the environment that has transformers: {"folder": [prompt ids, …]} on stdin; the
logits of each prompt go to FOLDER/<number>.npy.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

transformers.logging.set_verbosity_error()
for folder, prompts in json.load(sys.stdin).items():
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for number, prompt in enumerate(prompts):
        with torch.no_grad():
            logits = model(torch.tensor([prompt])).logits[0].numpy()
        np.save(Path(folder) / f"{number}.npy", logits)
