#!/usr/bin/env bash
# llama.cpp (xllamacpp 2026.10.11549): for the architecture "llama" the keys rope.scaling.yarn_beta_fast,
# yarn_beta_slow and yarn_attn_factor, which its own converter writes from beta_fast, beta_slow and
# attention_factor of a config.json, are not read: the probabilities stay the same to the last digit,
# so such a model is not the one that transformers runs. rope.scaling.attn_factor is read.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q --disable-pip-version-check install xllamacpp==2026.10.11549 gguf==0.19.0
cat > "$folder/run.py" <<'PY'
import json, os, sys
import gguf, numpy as np

answer = os.dup(1)
os.dup2(2, 1)
extra = json.loads(sys.argv[2])
rng, hidden, layers, letters = np.random.default_rng(0), 64, 2, [chr(33 + i) for i in range(94)]
tokens = ["<unk>", "<s>", "</s>", *letters]
w = gguf.GGUFWriter(sys.argv[1], "llama")
for add, value in ((w.add_context_length, 512), (w.add_embedding_length, hidden), (w.add_block_count, layers),
                   (w.add_feed_forward_length, 128), (w.add_head_count, 4), (w.add_layer_norm_rms_eps, 1e-5)):
    add(value)
w.add_string("llama.rope.scaling.type", "yarn")
w.add_float32("llama.rope.scaling.factor", 8.0)
w.add_uint32("llama.rope.scaling.original_context_length", 64)
for key, value in extra.items():
    w.add_float32(f"llama.rope.scaling.{key}", value)
w.add_tokenizer_model("llama")
w.add_token_list(tokens)
w.add_token_scores([0.0] * len(tokens))
w.add_token_types([2, 3, 3] + [1] * len(letters))
w.add_bos_token_id(1)
w.add_eos_token_id(2)
def put(name, *shape):
    values = rng.normal(0, 1, shape) / np.sqrt(shape[-1]) if len(shape) > 1 else np.ones(shape)
    w.add_tensor(name, values.astype(np.float32))
put("token_embd.weight", len(tokens), hidden)
put("output.weight", len(tokens), hidden)
put("output_norm.weight", hidden)
for i in range(layers):
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        put(f"blk.{i}.{name}.weight", hidden, hidden)
    for name, rows, columns in (("ffn_gate", 128, hidden), ("ffn_up", 128, hidden), ("ffn_down", hidden, 128)):
        put(f"blk.{i}.{name}.weight", rows, columns)
    put(f"blk.{i}.attn_norm.weight", hidden)
    put(f"blk.{i}.ffn_norm.weight", hidden)
w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()

import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel = 256, 1
params.warmup, params.fit_params = False, False
server = xllamacpp.Server(params)
prompt = [int(t) for t in rng.integers(3, 97, 100)]
told = server.handle_completions({"prompt": prompt, "n_predict": 1, "temperature": 0, "n_probs": 5})
top = told["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
os.write(answer, json.dumps([[t["id"], round(t["logprob"], 6)] for t in top]).encode())
os._exit(0)
PY
ask() { "$folder/venv/bin/python" "$folder/run.py" "$folder/m.gguf" "$1" 2>/dev/null; }
plain=$(ask '{}')
betas=$(ask '{"yarn_beta_fast": 2.0, "yarn_beta_slow": 0.5, "yarn_attn_factor": 2.0}')
attention=$(ask '{"attn_factor": 2.0}')
printf 'yarn:              %s\nwith its betas:    %s\nwith attn_factor:  %s\n' "$plain" "$betas" "$attention"
[ -n "$plain" ] && [ "$plain" = "$betas" ] && [ "$plain" != "$attention" ]
