#!/usr/bin/env bash
# transformers 5.23.0, NemotronHForCausalLM: a Mamba-2 layer's time step, softplus(dt + bias), is at
# least config.time_step_min (0.001) where a prompt is read in one pass, but not where tokens are
# decoded one by one over the cache. So the logits of a token depend on how it came in, by far more
# than rounding, as soon as a head's steps are smaller than the floor (dt_bias -9 here).
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q --disable-pip-version-check install torch==2.13.0 transformers==5.23.0
cat > "$folder/run.py" <<'PY'
import sys
import torch, transformers
from transformers import NemotronHConfig, NemotronHForCausalLM

def gap(floor):
    torch.manual_seed(0)
    config = NemotronHConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, hybrid_override_pattern="MM*", num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, mamba_num_heads=4, mamba_head_dim=8, n_groups=1, ssm_state_size=16,
        chunk_size=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, time_step_min=floor)
    model = NemotronHForCausalLM(config).float().eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("dt_bias"):
                value.fill_(-9.0)
            elif value.ndim > 1:
                value.copy_(torch.randn(value.shape) * value.shape[-1] ** -0.5)
    ids = torch.randint(3, 64, (1, 40))
    with torch.inference_mode():
        whole = model(ids).logits[0, -1]
        out = model(ids[:, :20], use_cache=True)
        for position in range(20, 40):
            out = model(ids[:, position : position + 1], past_key_values=out.past_key_values, use_cache=True)
    return float((out.logits[0, -1] - whole).abs().max())

with_floor, without = gap(0.001), gap(1e-9)
print(f"transformers {transformers.__version__}: largest difference of the last token's logits, prefill against decode: "
      f"{with_floor:.1e} with the default floor, {without:.1e} with time_step_min 1e-9")
sys.exit(not (with_floor > 1e-3 > 100 * without))
PY
"$folder/venv/bin/python" "$folder/run.py" 2>/dev/null
