#!/usr/bin/env bash
# transformers 5.24.0: in a Mistral config.json a missing key and null mean different networks.
# sliding_window: missing is a window of 4096, null is none. num_key_value_heads: missing is 8 whatever
# the number of heads (Qwen2: 32), null is an error (Qwen2: one for each head). In a Llama config missing
# and null agree.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q --disable-pip-version-check install transformers==5.24.0
"$folder/venv/bin/python" - <<'PY' 2>/dev/null
from transformers import LlamaConfig, MistralConfig, Qwen2Config

def heads(kind, **keys):
    return kind.from_dict({"hidden_size": 64, "num_attention_heads": 4, **keys}).num_key_value_heads

windows = [MistralConfig.from_dict(keys).sliding_window for keys in ({}, {"sliding_window": None})]
print("Mistral's window, missing and null:", windows)
assert windows == [4096, None], "changed"
found = {kind.__name__: heads(kind) for kind in (LlamaConfig, MistralConfig, Qwen2Config)}
print("key heads of 4 heads, missing:", found)
assert found == {"LlamaConfig": 4, "MistralConfig": 8, "Qwen2Config": 32}, "changed"
found = [heads(kind, num_key_value_heads=None) for kind in (LlamaConfig, Qwen2Config)]
try:
    found.append(heads(MistralConfig, num_key_value_heads=None))
except Exception as error:
    found.append(type(error).__name__)
print("null, of Llama, Qwen2, Mistral:", found)
assert found == [4, 4, "StrictDataclassFieldValidationError"], "changed"
PY
