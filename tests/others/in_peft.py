"""Runs inside the environment that has peft: {"base", "adapters", "made", "prompt"} on stdin.

Logits of the prompt with each folder of `adapters` go to <folder>.npy. In `made` (folder ->
settings of LoraConfig) peft makes adapters of its own, with random B, and writes the same of them.
"""

import json
import sys

import numpy as np
import peft
import torch
import transformers

transformers.logging.set_verbosity_error()
asked = json.load(sys.stdin)
prompt = torch.tensor([asked["prompt"]])


def base():
    return transformers.AutoModelForCausalLM.from_pretrained(asked["base"], dtype=torch.float32)


def write_logits(model, folder):
    with torch.no_grad():
        np.save(f"{folder}.npy", model.eval()(prompt).logits[0].numpy())


for folder in asked["adapters"]:
    write_logits(peft.PeftModel.from_pretrained(base(), folder), folder)
torch.manual_seed(3)
for folder, settings in asked["made"].items():
    model = peft.get_peft_model(base(), peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.15)
    model.save_pretrained(folder)
    write_logits(model, folder)
