// The forward pass. What a token's result is never depends on which other tokens are in the batch,
// nor on the number of threads: they share the pieces of a phase, and every sum has one order.
//
//   x = E[token]
//   for each layer:  h = norm(x);  q, k, v = W h (+ b);  rotate q, k;  store k, v
//                    x += Wo · attention(q) (+ b)
//                    h = norm(x);  x += Wdown · act(Wup h, Wgate h) (+ b)
//   logits = Whead · norm(x)
#include "model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "blocks.h"

namespace understudy {
namespace {

constexpr int ROTATE_TOKENS = 4;         // in a piece, where there are many tokens
constexpr int TOKENS_PER_THREAD = 8;     // from so many on
constexpr int TILES_PER_THREAD = 4;      // from so many on a piece of activations is a tile, else
constexpr int64_t SPLIT_COLUMNS = 1024;  // of one

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
    for (int i = 0; i < spec_.num_layers; ++i)
      model_.layers_.push_back(layer("model.layers." + std::to_string(i) + "."));
  }

 private:
  Layer layer(const std::string& prefix) {
    const int64_t hidden = spec_.hidden_size, inner = spec_.intermediate_size;
    Layer layer;
    layer.attention_norm = norm(prefix + "input_layernorm");
    layer.mlp_norm = norm(prefix + "post_attention_layernorm");
    layer.q = linear(prefix + "self_attn.q_proj", spec_.query_size(), hidden);
    layer.k = linear(prefix + "self_attn.k_proj", spec_.kv_size(), hidden);
    layer.v = linear(prefix + "self_attn.v_proj", spec_.kv_size(), hidden);
    layer.o = linear(prefix + "self_attn.o_proj", hidden, spec_.query_size());
    if (spec_.gated) layer.gate = linear(prefix + "mlp.gate_proj", inner, hidden);
    layer.up = linear(prefix + "mlp.up_proj", inner, hidden);
    layer.down = linear(prefix + "mlp.down_proj", hidden, inner);
    return layer;
  }

  Linear linear(const std::string& name, int64_t rows, int64_t columns) {
    return make(name, require(tensors_, name + ".weight", rows, columns),
                optional_vector(name + ".bias", rows));
  }

  Linear make(const std::string& name, const PackedTensor& weight, const float* bias) {
    const std::string last_name = name.substr(name.rfind('.') + 1);
    const bool is_named = std::find(int12_.begin(), int12_.end(), last_name) != int12_.end();
    const bool is_int12 = is_named && is_integer(weight.format);
    model_.has_int12_ = model_.has_int12_ || is_int12;
    return {weight, bias, is_int12, number(name, weight.rows, weight.columns)};
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

  const float* vector(const std::string& name, int64_t size) {
    const PackedTensor& t = require(tensors_, name, 1, size);
    model_.padded_.emplace_back(new float[padded_columns(size)]());
    std::memcpy(model_.padded_.back().get(), t.data, size * sizeof(float));
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
      adapters_(kernels_, pool_) {
  Loader(*this, tensors, int12).load();
  zeros_.assign(spec.num_layers, 0);
  activations_.assign(spec.num_layers, 0);
}

size_t Model::weight_bytes_per_token() const {
  size_t bytes = head_.weight.bytes();
  for (const Layer& l : layers_)
    for (const Linear* w : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down})
      if (w->weight.data != nullptr) bytes += w->weight.bytes();
  return bytes;
}

void Model::count_zeros(bool is_on) {
  count_zeros_ = is_on;
  std::fill(zeros_.begin(), zeros_.end(), 0);
  std::fill(activations_.begin(), activations_.end(), 0);
}

std::vector<double> Model::zero_shares() const {
  std::vector<double> shares;
  for (size_t i = 0; i < zeros_.size(); ++i)
    shares.push_back(activations_[i]
                         ? static_cast<double>(zeros_[i]) / static_cast<double>(activations_[i])
                         : 0.0);
  return shares;
}

void Model::step(const Batch& batch, Cache& cache, float* logits) {
  reserve(std::max(batch.num_tokens, batch.num_logits));
  find_angles(batch);
  attention_.plan(batch);
  adapters_.plan(batch);
  embed(batch);
  for (int i = 0; i < spec_.num_layers; ++i) run_layer(i, batch, cache);
  if (batch.num_logits == 0) return;
  norm_and_quantize(final_norm_, batch.num_logits, batch.logit_rows, {&head_});
  const Product head{&head_, logits, spec_.vocab_size};
  const Activations normed{buffers_.h.data(), spec_.hidden_size, batch.num_logits};
  multiplier_.multiply({head}, normed);
  adapters_.apply({head}, normed, Adapters::Rows::LOGITS);
}

// The products of the batch's tokens, and what adapters add to them.
void Model::multiply(std::initializer_list<Product> products, const Activations& input) {
  multiplier_.multiply(products, input);
  adapters_.apply(products, input);
}

void Model::reserve(int64_t n) {
  const Spec& s = spec_;
  Buffers& b = buffers_;
  b.x.reserve(n * padded_columns(s.hidden_size));
  b.h.reserve(n * padded_columns(s.hidden_size));
  b.q.reserve(n * padded_columns(s.query_size()));
  b.attention.reserve(n * padded_columns(s.query_size()));
  b.k.reserve(n * padded_columns(s.kv_size()));
  b.v.reserve(n * padded_columns(s.kv_size()));
  b.up.reserve(n * padded_columns(s.intermediate_size));
  if (s.gated) b.gate.reserve(n * padded_columns(s.intermediate_size));
  b.cos.reserve(n * (s.rotary_dim / 2));
  b.sin.reserve(n * (s.rotary_dim / 2));
  multiplier_.reserve(n, std::max({s.hidden_size, s.query_size(), s.intermediate_size}),
                      has_int12_);
}

void Model::find_angles(const Batch& batch) {
  const int half = spec_.rotary_dim / 2;
  for (int t = 0; t < batch.num_tokens; ++t) {
    const auto& frequencies = spec_.frequency_sets[batch.frequency_sets[batch.slots[t]]];
    for (int i = 0; i < half; ++i) {
      const float angle = static_cast<float>(batch.positions[t]) * frequencies[i];
      buffers_.cos[t * half + i] = std::cos(angle) * spec_.attention_factor;
      buffers_.sin[t * half + i] = std::sin(angle) * spec_.attention_factor;
    }
  }
}

void Model::run_layer(int index, const Batch& batch, Cache& cache) {
  const int n = batch.num_tokens, inner_size = spec_.intermediate_size;
  const int64_t hidden_stride = padded_columns(spec_.hidden_size),
                inner_stride = padded_columns(inner_size);
  const int64_t query_stride = padded_columns(spec_.query_size()),
                kv_stride = padded_columns(spec_.kv_size());
  const Layer& layer = layers_[index];
  Buffers& b = buffers_;
  const Activations normed{b.h.data(), spec_.hidden_size, n};
  const Activations attention{b.attention.data(), spec_.query_size(), n};
  const Activations inner{b.up.data(), inner_size, n};
  const Product up{&layer.up, b.up.data(), inner_stride},
      gate{&layer.gate, b.gate.data(), inner_stride};

  norm_and_quantize(layer.attention_norm, n, nullptr, {&layer.q, &layer.k, &layer.v});
  multiply({{&layer.q, b.q.data(), query_stride},
            {&layer.k, b.k.data(), kv_stride},
            {&layer.v, b.v.data(), kv_stride}},
           normed);
  rotate_and_store(index, batch, cache);
  attention_.attend(index, batch, cache, b.q.data(), b.attention.data());
  multiplier_.quantize(attention, layer.o);
  multiply({{&layer.o, b.x.data(), hidden_stride, true}}, attention);

  norm_and_quantize(layer.mlp_norm, n, nullptr, {&layer.up, spec_.gated ? &layer.gate : &layer.up});
  if (spec_.gated)
    multiply({up, gate}, normed);
  else
    multiply({up}, normed);
  activate(index, n);
  multiply({{&layer.down, b.x.data(), hidden_stride, true}}, inner);
}

void Model::embed(const Batch& batch) {
  pool_.share(batch.num_tokens, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      unpack_row(embedding_, batch.tokens[t],
                 buffers_.x.data() + t * padded_columns(spec_.hidden_size));
  });
  adapters_.embed(batch, matrices_.at(EMBEDDING_NAME).id, buffers_.x.data(),
                  padded_columns(spec_.hidden_size));
}

// h[i] = norm(x[rows ? rows[i] : i]), then its tiles as the next products want them.
void Model::norm_and_quantize(const NormWeights& norm, int num_tokens, const int32_t* rows,
                              std::initializer_list<const Linear*> next) {
  const int64_t stride = padded_columns(spec_.hidden_size);
  const Activations normed{buffers_.h.data(), spec_.hidden_size, num_tokens};
  const auto is_read = [&](bool int12) {
    return std::any_of(next.begin(), next.end(),
                       [&](const Linear* linear) { return linear->reads(int12); });
  };
  const bool widths[] = {is_read(false), is_read(true)};
  pool_.share(multiplier_.num_tiles(num_tokens), 1, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; ++index) {
      const int64_t from = index * kernels_.tile_tokens;
      for (int64_t t = from; t < std::min<int64_t>(from + kernels_.tile_tokens, num_tokens); ++t) {
        const float* x = buffers_.x.data() + (rows ? rows[t] : t) * stride;
        float* h = buffers_.h.data() + t * stride;
        if (spec_.is_layer_norm)
          kernels_.layer_norm(x, norm.gain, norm.bias, spec_.hidden_size, spec_.norm_eps, h);
        else
          kernels_.rms_norm(x, norm.gain, spec_.hidden_size, spec_.norm_eps, h);
      }
      for (const bool int12 : {false, true})
        if (widths[int12])
          multiplier_.quantize(multiplier_.tile(normed, index, int12), 0, spec_.hidden_size);
    }
  });
}

void Model::rotate_and_store(int layer, const Batch& batch, Cache& cache) {
  const int grain = batch.num_tokens >= TOKENS_PER_THREAD * pool_.size() ? ROTATE_TOKENS : 1;
  pool_.share(batch.num_tokens, grain, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) rotate_token(layer, static_cast<int>(t), batch, cache);
  });
}

// Rotates the first rotary_dim of each query and key head (pairs i, i + rotary_dim / 2), scales the
// queries by 1/sqrt(head_dim) and writes keys and values to their pages.
void Model::rotate_token(int layer, int t, const Batch& batch, Cache& cache) {
  const int d = spec_.head_dim, half = spec_.rotary_dim / 2;
  const float *cos = buffers_.cos.data() + t * half, *sin = buffers_.sin.data() + t * half;
  const auto rotate = [&](float* head) {
    for (int i = 0; i < half; ++i) {
      const float low = head[i], high = head[i + half];
      head[i] = low * cos[i] - high * sin[i];
      head[i + half] = high * cos[i] + low * sin[i];
    }
  };
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  float* q = buffers_.q.data() + t * padded_columns(spec_.query_size());
  for (int h = 0; h < spec_.num_heads; ++h) rotate(q + h * d);
  for (int i = 0; i < spec_.query_size(); ++i) q[i] *= scale;
  float* k = buffers_.k.data() + t * padded_columns(spec_.kv_size());
  const float* v = buffers_.v.data() + t * padded_columns(spec_.kv_size());
  const int position = batch.positions[t];
  const int64_t page = batch.page_table(batch.slots[t])[position / PAGE];
  for (int h = 0; h < spec_.num_kv_heads; ++h) {
    rotate(k + h * d);
    cache.store(cache.piece(layer, page, h), position % PAGE, k + h * d, v + h * d);
  }
}

// up = act(up) or act(gate)·up, and its tiles. Few tokens: columns are shared instead of tiles.
void Model::activate(int layer, int num_tokens) {
  const int64_t inner = spec_.intermediate_size, tiles = multiplier_.num_tiles(num_tokens);
  const int64_t columns =
      tiles >= TILES_PER_THREAD * pool_.size() ? padded_columns(inner) : SPLIT_COLUMNS;
  const int64_t splits = (inner + columns - 1) / columns;
  const Linear& down = layers_[layer].down;
  const Activations activations{buffers_.up.data(), inner, num_tokens};
  pool_.share(tiles * splits, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const TileOut tile = multiplier_.tile(activations, i / splits, down.is_int12);
      const int64_t from = i % splits * columns, count = std::min(columns, inner - from);
      const int64_t zeros = activate_columns(tile, from, count);
      if (count_zeros_) __atomic_fetch_add(&zeros_[layer], zeros, __ATOMIC_RELAXED);
      if (down.reads_integers()) multiplier_.quantize(tile, from, count);
    }
  });
  if (count_zeros_) activations_[layer] += num_tokens * inner;
}

// Some columns of the tokens of a tile; returns how many zeros there are then, if they are counted.
int64_t Model::activate_columns(const TileOut& tile, int64_t from, int64_t count) {
  const auto act = spec_.is_relu2 ? kernels_.relu2 : kernels_.silu;
  const auto act_gate = spec_.is_relu2 ? kernels_.relu2_gate : kernels_.silu_gate;
  int64_t zeros = 0;
  for (int t = 0; t < tile.width; ++t) {
    const int64_t at = tile.x - buffers_.up.data() + t * tile.x_stride + from;
    float* x = buffers_.up.data() + at;
    if (spec_.gated)
      act_gate(buffers_.gate.data() + at, x, count);
    else
      act(x, count);
    if (count_zeros_) zeros += std::count(x, x + count, 0.0f);
  }
  return zeros;
}

}  // namespace understudy
