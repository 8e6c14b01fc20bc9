"""vLLM's own configuration classes on folders that we write. The package is large and needs no GPU
for this.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_vllm_knows_the_folder():
    get_config = pytest.importorskip("vllm.transformers_utils.config").get_config
    registry = pytest.importorskip("vllm.model_executor.models.registry").ModelRegistry
    config = get_config("tests/data/stories-nemotron", trust_remote_code=False)
    assert config.architectures == ["NemotronForCausalLM"]
    assert (config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads) == (
        6,
        6,
        3,
    )
    assert config.rope_parameters["partial_rotary_factor"] == 0.5
    assert config.architectures[0] in registry.get_supported_archs()
