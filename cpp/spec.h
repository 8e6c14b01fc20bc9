// The architecture as data: the C++ twin of understudy.spec.ModelSpec, with the same names.
#pragma once
#include <cstdint>
#include <vector>

namespace understudy {

constexpr int MAX_GROUP_SIZE = 256;  // query heads that share a key/value head

struct Spec {
  int num_layers, hidden_size, intermediate_size, num_heads, num_kv_heads, head_dim, vocab_size;
  int rotary_dim;
  float norm_eps;
  bool is_layer_norm;  // layer_norm_1p (the packed gain already holds 1 + w), else rms_norm
  bool is_relu2;       // squared ReLU, else SiLU
  bool gated;
  std::vector<std::vector<float>>
      frequency_sets;      // each rotary_dim / 2; a sequence turns by one of them
  float attention_factor;  // of sines and cosines

  int query_size() const { return num_heads * head_dim; }
  int kv_size() const { return num_kv_heads * head_dim; }
  int group_size() const { return num_heads / num_kv_heads; }
};

}  // namespace understudy
