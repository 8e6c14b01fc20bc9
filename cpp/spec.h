// The architecture as data: the C++ twin of understudy.spec.ModelSpec, with the same names.
#pragma once
#include <cstdint>

namespace understudy {

struct Spec {
  int num_layers, hidden_size, intermediate_size, num_heads, num_kv_heads, head_dim, vocab_size;
  int rotary_dim;
  float norm_eps;
  double rope_theta;
  bool is_layer_norm;  // layer_norm_1p (the packed gain already holds 1 + w), else rms_norm
  bool is_relu2;       // squared ReLU, else SiLU
  bool gated;
  bool has_rope_scaling;
  double rope_factor, rope_low_freq_factor, rope_high_freq_factor, rope_original_positions;

  int query_size() const { return num_heads * head_dim; }
  int kv_size() const { return num_kv_heads * head_dim; }
  int group_size() const { return num_heads / num_kv_heads; }
};

}  // namespace understudy
