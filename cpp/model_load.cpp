// Making a model from its tensors: finds them by name and holds their shapes to the spec.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "model.h"

namespace understudy {
namespace {

const PackedTensor& require(const TensorMap& tensors, const std::string& name, int64_t rows,
                            int64_t columns) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw std::invalid_argument("missing tensor " + name);
  const PackedTensor& t = found->second;
  const auto shape = [](int64_t r, int64_t c) {
    return "(" + std::to_string(r) + ", " + std::to_string(c) + ")";
  };
  if (t.rows != rows || t.columns != columns)
    throw std::invalid_argument("tensor " + name + " has shape " + shape(t.rows, t.columns) +
                                ", expected " + shape(rows, columns));
  return t;
}

}  // namespace

// Finds the tensors of a model by name and holds their shapes to the spec.
class Model::Loader {
 public:
  Loader(Model& model, const TensorMap& tensors, const std::vector<std::string>& int12)
      : model_(model), spec_(model.spec_), tensors_(tensors), int12_(int12) {}

  void load() {
    model_.embedding_ =
        require(tensors_, "model.embed_tokens.weight", spec_.vocab_size, spec_.hidden_size);
    model_.head_ = tensors_.count("lm_head.weight")
                       ? linear("lm_head", spec_.vocab_size, spec_.hidden_size)
                       : make("lm_head", model_.embedding_, nullptr);
    number(EMBEDDING_NAME, spec_.hidden_size, spec_.vocab_size);  // one token's input is a 1
    model_.final_norm_ = norm("model.norm");
    int num_attention = 0, num_recurrent = 0;
    for (int i = 0; i < spec_.num_layers; ++i) {
      model_.layers_.push_back(layer("model.layers." + std::to_string(i) + ".", spec_.block(i)));
      Layer& made = model_.layers_.back();
      made.index = made.block.mixer == Mixer::ATTENTION ? num_attention++ : num_recurrent;
      num_recurrent += made.in.weight.data != nullptr;
    }
  }

 private:
  Layer layer(const std::string& prefix, const BlockSpec& block) {
    Layer layer;
    layer.block = block;
    const bool has_mixer = block.mixer != Mixer::NONE, has_mlp = block.has_mlp;
    if (has_mixer) layer.mixer_norm = norm(prefix + "input_layernorm");
    if (has_mixer && spec_.post_norms)
      layer.mixer_post_norm = norm(prefix + "post_attention_layernorm");
    if (block.mixer == Mixer::ATTENTION) load_attention(prefix + "self_attn.", layer);
    if (block.mixer == Mixer::MAMBA2) load_mamba(prefix + "mamba.", layer);
    if (block.mixer == Mixer::GATED_DELTA) load_gated_delta(prefix + "linear_attn.", layer);
    if (block.mixer == Mixer::SHORT_CONV) load_short_conv(prefix + "conv.", layer);
    if (!has_mlp) return layer;
    layer.mlp_norm = norm(
        prefix + (spec_.post_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm"));
    if (spec_.post_norms) layer.mlp_post_norm = norm(prefix + "post_feedforward_layernorm");
    if (block.has_experts)
      load_mixture(prefix + "mlp.", layer);
    else
      load_mlp(prefix + "mlp.", spec_.intermediate_size, layer);
    return layer;
  }

  void load_mlp(const std::string& prefix, int64_t inner, Layer& layer) {
    const int64_t hidden = spec_.hidden_size;
    if (spec_.gated) layer.gate = linear(prefix + "gate_proj", inner, hidden);
    layer.up = linear(prefix + "up_proj", inner, hidden);
    layer.down = linear(prefix + "down_proj", hidden, inner);
  }

  void load_mixture(const std::string& prefix, Layer& layer) {
    const ExpertsSpec& e = spec_.experts;
    const int64_t hidden = spec_.hidden_size, inner = e.inner_size;
    if (e.shared_size > 0) load_mlp(prefix + "shared_expert.", e.shared_size, layer);
    layer.experts.router = unnumbered(prefix + "router", e.count, hidden);
    layer.experts.correction = optional_vector(prefix + "router.correction", e.count);
    for (int i = 0; i < e.count; ++i) {
      const std::string own = prefix + "experts." + std::to_string(i) + ".";
      Expert expert;
      if (spec_.gated) expert.gate = unnumbered(own + "gate_proj", inner, hidden);
      expert.up = unnumbered(own + "up_proj", inner, hidden);
      expert.down = unnumbered(own + "down_proj", hidden, inner);
      layer.experts.experts.push_back(expert);
    }
  }

  void load_attention(const std::string& prefix, Layer& layer) {
    const int64_t hidden = spec_.hidden_size;
    layer.q = linear(prefix + "q_proj", spec_.projected_query_size(), hidden);
    layer.k = linear(prefix + "k_proj", spec_.kv_size(), hidden);
    layer.v = linear(prefix + "v_proj", spec_.kv_size(), hidden);
    layer.o = linear(prefix + "o_proj", hidden, spec_.query_size());
    if (!spec_.qk_norm) return;
    layer.q_norm.gain = vector(prefix + "q_norm.weight", spec_.head_dim);
    layer.k_norm.gain = vector(prefix + "k_norm.weight", spec_.head_dim);
  }

  void load_mamba(const std::string& prefix, Layer& layer) {
    const Mamba2& m = spec_.mamba2;
    layer.in = linear(prefix + "in_proj", m.projected_size(), spec_.hidden_size);
    layer.out = linear(prefix + "out_proj", spec_.hidden_size, m.inner_size());
    layer.recurrent = taps(prefix + "conv1d", m.conv_size, m.conv_channels());
    layer.recurrent.dt_bias = vector(prefix + "dt_bias", m.num_heads);
    layer.recurrent.d = vector(prefix + "D", m.num_heads);
    layer.recurrent.norm = vector(prefix + "norm.weight", m.inner_size());
    layer.recurrent.a = decay(prefix, m.num_heads);
  }

  void load_gated_delta(const std::string& prefix, Layer& layer) {
    const GatedDelta& g = spec_.gated_delta;
    const int64_t hidden = spec_.hidden_size;
    layer.in = linear(prefix + "in_proj_qkv", g.conv_channels(), hidden);
    layer.in_z = linear(prefix + "in_proj_z", g.value_size(), hidden);
    layer.in_b = linear(prefix + "in_proj_b", g.num_heads, hidden);
    layer.in_a = linear(prefix + "in_proj_a", g.num_heads, hidden);
    layer.out = linear(prefix + "out_proj", hidden, g.value_size());
    layer.recurrent = taps(prefix + "conv1d", g.conv_size, g.conv_channels());
    layer.recurrent.dt_bias = vector(prefix + "dt_bias", g.num_heads);
    layer.recurrent.norm = vector(prefix + "norm.weight", g.value_dim);
    layer.recurrent.a = decay(prefix, g.num_heads);
    // x / sqrt(mean x² + eps / n) · n^-1/2 is of length 1; a query is divided by sqrt(n) once more
    const float length = std::sqrt(static_cast<float>(g.key_dim));
    float *key = room(g.key_dim), *query = room(g.key_dim);
    std::fill_n(key, g.key_dim, 1.0f / length);
    std::fill_n(query, g.key_dim, 1.0f / static_cast<float>(g.key_dim));
    layer.recurrent.unit_key = key;
    layer.recurrent.unit_query = query;
  }

  // By head, -exp(A_log).
  const float* decay(const std::string& prefix, int64_t num_heads) {
    float* a = vector(prefix + "A_log", num_heads);
    for (int64_t h = 0; h < num_heads; ++h) a[h] = -std::exp(a[h]);
    return a;
  }

  void load_short_conv(const std::string& prefix, Layer& layer) {
    layer.in =
        linear(prefix + "in_proj", 3 * static_cast<int64_t>(spec_.hidden_size), spec_.hidden_size);
    layer.out = linear(prefix + "out_proj", spec_.hidden_size, spec_.hidden_size);
    layer.recurrent = taps(prefix + "conv", spec_.conv_size, spec_.hidden_size);
  }

  // (channels, size) in files, (size, channels) where many channels are computed side by side.
  RecurrentWeights taps(const std::string& name, int64_t size, int64_t channels) {
    RecurrentWeights made;
    float* by_channel = vector(name + ".weight", channels * size);
    float* by_tap = room(channels * size);
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t k = 0; k < size; ++k) by_tap[k * channels + c] = by_channel[c * size + k];
    made.taps = by_tap;
    made.conv_bias = optional_vector(name + ".bias", channels);
    return made;
  }

  Linear linear(const std::string& name, int64_t rows, int64_t columns) {
    return make(name, require(tensors_, name + ".weight", rows, columns),
                optional_vector(name + ".bias", rows));
  }

  // One that adapters cannot change.
  Linear unnumbered(const std::string& name, int64_t rows, int64_t columns) {
    const PackedTensor& weight = require(tensors_, name + ".weight", rows, columns);
    return {weight, nullptr, takes_int12(name, weight), -1};
  }

  Linear make(const std::string& name, const PackedTensor& weight, const float* bias) {
    return {weight, bias, takes_int12(name, weight), number(name, weight.rows, weight.columns)};
  }

  bool takes_int12(const std::string& name, const PackedTensor& weight) {
    const std::string last_name = name.substr(name.rfind('.') + 1);
    const bool is_named = std::find(int12_.begin(), int12_.end(), last_name) != int12_.end();
    const bool is_int12 = is_named && is_integer(weight.format);
    model_.has_int12_ = model_.has_int12_ || is_int12;
    return is_int12;
  }

  int number(const std::string& name, int64_t rows, int64_t columns) {
    const int id = static_cast<int>(model_.matrices_.size());
    model_.matrices_.emplace(name, MatrixSize{id, rows, columns});
    return id;
  }

  NormWeights norm(const std::string& name) {
    return {vector(name + ".weight", spec_.hidden_size),
            spec_.is_layer_norm ? vector(name + ".bias", spec_.hidden_size) : nullptr};
  }

  const float* optional_vector(const std::string& name, int64_t size) {
    return tensors_.count(name) ? vector(name, size) : nullptr;
  }

  float* vector(const std::string& name, int64_t size) {
    const PackedTensor& t = require(tensors_, name, 1, size);
    float* copy = room(size);
    std::memcpy(copy, t.data, size * sizeof(float));
    return copy;
  }

  float* room(int64_t size) {
    model_.padded_.emplace_back(new float[padded_columns(size)]());
    return model_.padded_.back().get();
  }

  Model& model_;
  const Spec& spec_;
  const TensorMap& tensors_;
  const std::vector<std::string>& int12_;
};

Model::Model(const Spec& spec, const TensorMap& tensors, const Kernels& kernels, int num_threads,
             const std::vector<std::string>& int12)
    : spec_(spec),
      kernels_(kernels),
      pool_(num_threads),
      multiplier_(kernels_, pool_),
      attention_(spec_, kernels_, pool_),
      adapters_(kernels_, pool_),
      recurrent_(spec_, kernels_, pool_),
      experts_(spec_, kernels_, pool_) {
  Loader(*this, tensors, int12).load();
  zeros_.assign(spec.num_layers, 0);
  activations_.assign(spec.num_layers, 0);
}

}  // namespace understudy
