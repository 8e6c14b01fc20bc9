// The architecture as data: the C++ twin of understudy.spec.ModelSpec, with the same names.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace understudy {

constexpr int MAX_GROUP_SIZE = 256;  // query heads that share a key/value head

enum class Mixer { NONE, ATTENTION, MAMBA2, SHORT_CONV, GATED_DELTA };
enum class Rotation { NONE, GLOBAL, LOCAL };
enum class Scoring { SOFTMAX, SIGMOID };
enum class Activation { SILU, RELU2, GELU_TANH };

struct BlockSpec {
  Mixer mixer = Mixer::ATTENTION;
  bool has_mlp = true;
  int window = 0;  // tokens that attention sees, its own included; 0: all
  Rotation rotation = Rotation::GLOBAL;
  bool has_experts = false;  // its MLP is a mixture of them
};

// Sizes of all Mamba-2 mixers of a model.
struct Mamba2 {
  int num_heads = 0, head_dim = 0, state_size = 0, num_groups = 1, norm_groups = 1, conv_size = 1;
  float min_time_step = 0;

  int inner_size() const { return num_heads * head_dim; }
  int conv_channels() const { return inner_size() + 2 * num_groups * state_size; }
  int projected_size() const { return inner_size() + conv_channels() + num_heads; }
};

// Sizes of all gated delta mixers of a model: num_heads value heads, key heads shared by as many of
// them that follow each other.
struct GatedDelta {
  int num_heads = 0, num_key_heads = 1, key_dim = 0, value_dim = 0, conv_size = 1;

  int key_size() const { return num_key_heads * key_dim; }
  int value_size() const { return num_heads * value_dim; }
  int conv_channels() const { return 2 * key_size() + value_size(); }
  int group_size() const { return num_heads / num_key_heads; }
};

// Sizes of all mixtures of experts, and how a token's experts are chosen.
struct ExpertsSpec {
  int count = 0, used = 0, inner_size = 0, shared_size = 0, num_groups = 1, used_groups = 1;
  Scoring scoring = Scoring::SOFTMAX;
  bool is_normalised = true;
  float scale = 1;
};

struct Spec {
  int num_layers, hidden_size, intermediate_size, num_heads, num_kv_heads, head_dim, vocab_size;
  int rotary_dim;
  float norm_eps;
  bool is_layer_norm;  // layer_norm_1p (the packed gain already holds 1 + w), else rms_norm
  Activation activation;
  bool gated;
  std::vector<std::vector<float>>
      frequency_sets;      // each rotary_dim / 2; a sequence turns by one of them
  float attention_factor;  // of sines and cosines
  std::vector<BlockSpec> blocks;
  std::vector<float> local_frequencies;  // rotary_dim / 2, where a block turns by them
  bool qk_norm = false, post_norms = false;
  float embedding_scale = 1, residual_scale = 1, logit_scale = 1;
  float attention_scale = 0;  // 0: 1 / sqrt(head_dim)
  int conv_size = 0;          // of SHORT_CONV
  Mamba2 mamba2 = {};
  GatedDelta gated_delta = {};
  bool output_gate = false;  // each head's row of q is followed by that of its gate
  ExpertsSpec experts = {};

  int query_size() const { return num_heads * head_dim; }
  int projected_query_size() const { return query_size() * (output_gate ? 2 : 1); }
  int kv_size() const { return num_kv_heads * head_dim; }
  int group_size() const { return num_heads / num_kv_heads; }
  BlockSpec block(int layer) const { return blocks.empty() ? BlockSpec{} : blocks[layer]; }
  int count(Mixer mixer) const {
    int number = 0;
    for (int i = 0; i < num_layers; ++i) number += block(i).mixer == mixer;
    return number;
  }
  bool has_state() const {
    return count(Mixer::MAMBA2) + count(Mixer::SHORT_CONV) + count(Mixer::GATED_DELTA) > 0;
  }
};

}  // namespace understudy
