"""Adapters (LoRA) as files: PEFT's folders and llama.cpp's GGUF, in and out.

adapter = read_adapter("adapters/banter", spec)      # a folder of PEFT, or a GGUF file
adapter.sha256, adapter.scale, adapter.tensors["model.layers.0.self_attn.q_proj"]
peft.write(adapter, "folder", base="org/model")
gguf.write(adapter, "adapter.gguf", spec)

Every linear map of an adapter adds scale · B (A x) to what the model computes from x.
"""

from understudy.adapters import gguf, peft
from understudy.adapters.adapter import Adapter
from understudy.adapters.files import is_adapter, read_adapter

__all__ = ["Adapter", "gguf", "is_adapter", "peft", "read_adapter"]
