#!/usr/bin/env bash
# transformers 5.24.0: a config that carries both spellings of rotary settings (rope_parameters of
# version 5 and rope_scaling of version 4) loses the whole of rope_parameters, its rope_theta too,
# without a word: the base falls back to 10000. A rope_theta inside the block wins over one beside it.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q --disable-pip-version-check install transformers==5.24.0
"$folder/venv/bin/python" - <<'PY' 2>/dev/null
from transformers import LlamaConfig

def rope(**keys):
    return LlamaConfig.from_dict({"max_position_embeddings": 512, **keys}).rope_parameters

linear = {"rope_type": "linear", "factor": 2.0}
five = rope(rope_parameters={"rope_theta": 5e5, "rope_type": "default"})
both = rope(rope_parameters={"rope_theta": 5e5, "rope_type": "default"}, rope_scaling=linear)
print("rope_parameters alone:", five["rope_theta"], "| with rope_scaling beside it:", both)
assert five["rope_theta"] == 5e5 and both["rope_theta"] == 10000.0, "changed"

inside = rope(rope_theta=300.0, rope_parameters={"rope_theta": 5e5})
print("theta beside and inside:", inside["rope_theta"])
assert inside["rope_theta"] == 5e5, "changed"
PY
