#!/usr/bin/env bash
# transformers 5.23.0: NemotronHForCausalLM does not tie its head to the embedding, although the configuration
# says tie_word_embeddings = true; Llama in the same version does. A folder that was saved without a head (as tied
# models are) gets a freshly drawn one for Nemotron-H: other logits on each load, with a note of missing weights only.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "torch==2.13.0" "transformers==5.23.0"
"$work/venv/bin/python" - <<'PY'
import torch, transformers

sizes = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_attention_heads=4, num_key_value_heads=2,
             head_dim=8, tie_word_embeddings=True)
def is_tied(model):
    return model.get_input_embeddings().weight.data_ptr() == model.get_output_embeddings().weight.data_ptr()

llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(num_hidden_layers=2, **sizes))
hybrid = transformers.NemotronHForCausalLM(transformers.NemotronHConfig(
    layers_block_type=["mamba", "attention", "mlp"], mamba_num_heads=4, mamba_head_dim=8, ssm_state_size=8, n_groups=1,
    **sizes))
print("transformers", transformers.__version__)
print("tie_word_embeddings: llama", llama.config.tie_word_embeddings, "nemotron_h", hybrid.config.tie_word_embeddings)
print("one matrix:          llama", is_tied(llama), "nemotron_h", is_tied(hybrid))
assert is_tied(llama) and not is_tied(hybrid), "the behaviour has changed"
PY
