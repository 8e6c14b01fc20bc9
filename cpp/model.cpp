// The forward pass. What a token's result is never depends on which other tokens are in the batch,
// nor on the number of threads: they share the pieces of a phase, and every sum has one order.
//
//   x = E[token]
//   for each layer:  h = norm(x);  x += mixer(h);  h = norm(x);  x += Wdown · act(Wup h, Wgate h)
//   logits = Whead · norm(x)
// A mixer is attention (q, k, v = W h; rotate q, k; store k, v; Wo · attention(q)) or recurrent
// (recurrent.h). Where the spec says so there is no mixer or no MLP, what is added to x is normed
// or scaled first, and embedding and logits are scaled.
#include "model.h"

#include <algorithm>
#include <cmath>

#include "blocks.h"

namespace understudy {
namespace {

constexpr int ROTATE_TOKENS = 4;         // in a piece, where there are many tokens
constexpr int TOKENS_PER_THREAD = 8;     // from so many on
constexpr int TILES_PER_THREAD = 4;      // from so many on a piece of activations is a tile, else
constexpr int64_t SPLIT_COLUMNS = 1024;  // of one

}  // namespace

size_t Model::weight_bytes_per_token() const {
  size_t bytes = head_.weight.bytes();
  for (const Layer& l : layers_)
    for (const Linear* w : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down, &l.in, &l.in_z,
                            &l.in_b, &l.in_a, &l.out})
      if (w->weight.data != nullptr) bytes += w->weight.bytes();
  for (const Layer& l : layers_)
    if (l.block.has_experts) bytes += l.experts.bytes_per_token(spec_.experts.used);
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

void Model::step(const Batch& batch, Cache& cache, StatePool* states, float* logits) {
  reserve(std::max(batch.num_tokens, batch.num_logits));
  find_angles(batch);
  attention_.plan(batch);
  adapters_.plan(batch);
  if (states != nullptr) recurrent_.plan(batch);
  embed(batch);
  for (int i = 0; i < spec_.num_layers; ++i) {
    const Layer& layer = layers_[i];
    if (layer.block.mixer == Mixer::ATTENTION)
      run_attention(layer, batch, cache);
    else if (layer.block.mixer != Mixer::NONE)
      run_recurrent(layer, batch, *states);
    if (layer.block.has_mlp) run_mlp(i, batch.num_tokens);
  }
  if (batch.num_logits == 0) return;
  norm_and_quantize(final_norm_, batch.num_logits, batch.logit_rows, {&head_});
  const Product head{&head_, logits, spec_.vocab_size};
  const Activations normed{buffers_.h.data(), spec_.hidden_size, batch.num_logits};
  multiplier_.multiply({head}, normed);
  adapters_.apply({head}, normed, Adapters::Rows::LOGITS);
  if (spec_.logit_scale != 1) scale_logits(batch.num_logits, logits);
}

// The products of the batch's tokens, and what adapters add to them.
void Model::multiply(std::initializer_list<Product> products, const Activations& input) {
  multiplier_.multiply(products, input);
  adapters_.apply(products, input);
}

void Model::scale_logits(int64_t num_rows, float* logits) {
  pool_.share(num_rows, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first * spec_.vocab_size; i < last * spec_.vocab_size; ++i)
      logits[i] *= spec_.logit_scale;
  });
}

void Model::reserve(int64_t n) {
  const Spec& s = spec_;
  Buffers& b = buffers_;
  b.x.reserve(n * padded_columns(s.hidden_size));
  b.h.reserve(n * padded_columns(s.hidden_size));
  b.q.reserve(n * padded_columns(s.query_size()));
  if (s.output_gate) b.gated_q.reserve(n * padded_columns(s.projected_query_size()));
  b.attention.reserve(n * padded_columns(s.query_size()));
  b.k.reserve(n * padded_columns(s.kv_size()));
  b.v.reserve(n * padded_columns(s.kv_size()));
  const int inner_size = std::max(s.intermediate_size, s.experts.shared_size);
  b.up.reserve(n * padded_columns(inner_size));
  if (s.gated) b.gate.reserve(n * padded_columns(inner_size));
  for (auto* angles : {&b.cos, &b.sin}) angles->reserve(n * (s.rotary_dim / 2));
  if (!s.local_frequencies.empty())
    for (auto* angles : {&b.local_cos, &b.local_sin}) angles->reserve(n * (s.rotary_dim / 2));
  const int mixed = std::max({s.mamba2.inner_size(), s.gated_delta.value_size(),
                              s.count(Mixer::SHORT_CONV) > 0 ? s.hidden_size : 0});
  b.projected.reserve(n * projected_stride());
  b.mixed.reserve(n * padded_columns(mixed));
  multiplier_.reserve(n, std::max({s.hidden_size, s.query_size(), inner_size, mixed}), has_int12_);
}

// Of a row of what a recurrent mixer's products give.
int64_t Model::projected_stride() const {
  const GatedDelta& g = spec_.gated_delta;
  const int64_t mamba = spec_.mamba2.projected_size(),
                conv = spec_.count(Mixer::SHORT_CONV) > 0 ? 3 * spec_.hidden_size : 0,
                delta = padded_columns(g.conv_channels()) + padded_columns(g.value_size()) +
                        2 * padded_columns(g.num_heads);
  return std::max(padded_columns(std::max(mamba, conv)), delta);
}

void Model::find_angles(const Batch& batch) {
  find_angles(batch, nullptr, buffers_.cos.data(), buffers_.sin.data());
  if (!spec_.local_frequencies.empty())
    find_angles(batch, &spec_.local_frequencies, buffers_.local_cos.data(),
                buffers_.local_sin.data());
}

// Of all tokens by these frequencies; null: by those that their sequences turn by.
void Model::find_angles(const Batch& batch, const std::vector<float>* given, float* cos,
                        float* sin) const {
  const int half = spec_.rotary_dim / 2;
  const float factor = given == nullptr ? spec_.attention_factor : 1.0f;
  for (int t = 0; t < batch.num_tokens; ++t) {
    const auto& frequencies =
        given ? *given : spec_.frequency_sets[batch.frequency_sets[batch.slots[t]]];
    for (int i = 0; i < half; ++i) {
      const float angle = static_cast<float>(batch.positions[t]) * frequencies[i];
      cos[t * half + i] = std::cos(angle) * factor;
      sin[t * half + i] = std::sin(angle) * factor;
    }
  }
}

void Model::run_attention(const Layer& layer, const Batch& batch, Cache& cache) {
  const int n = batch.num_tokens;
  const int64_t query_stride = padded_columns(spec_.query_size()),
                kv_stride = padded_columns(spec_.kv_size());
  Buffers& b = buffers_;
  norm_and_quantize(layer.mixer_norm, n, nullptr, {&layer.q, &layer.k, &layer.v});
  const int64_t q_stride =
      spec_.output_gate ? padded_columns(spec_.projected_query_size()) : query_stride;
  multiply({{&layer.q, spec_.output_gate ? b.gated_q.data() : b.q.data(), q_stride},
            {&layer.k, b.k.data(), kv_stride},
            {&layer.v, b.v.data(), kv_stride}},
           {b.h.data(), spec_.hidden_size, n});
  rotate_and_store(layer, batch, cache);
  attention_.attend(layer.index, layer.block.window, batch, cache, b.q.data(), b.attention.data());
  if (spec_.output_gate) gate_attention(n);
  const Activations attention{b.attention.data(), spec_.query_size(), n};
  multiplier_.quantize(attention, layer.o);
  add_to_stream(layer.o, attention, layer.mixer_post_norm);
}

// attention = attention · sigmoid(gate), head by head.
void Model::gate_attention(int num_tokens) {
  const int d = spec_.head_dim;
  const int64_t stride = padded_columns(spec_.query_size()),
                q_stride = padded_columns(spec_.projected_query_size());
  pool_.share(num_tokens, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      for (int64_t h = 0; h < spec_.num_heads; ++h)
        kernels_.sigmoid_gate(buffers_.gated_q.data() + t * q_stride + (2 * h + 1) * d,
                              buffers_.attention.data() + t * stride + h * d, d);
  });
}

void Model::run_gated_delta(const Layer& layer, const Batch& batch, StatePool& states) {
  const int n = batch.num_tokens;
  const GatedDelta& g = spec_.gated_delta;
  Buffers& b = buffers_;
  const int64_t stride = projected_stride();
  float *qkv = b.projected.data(), *z = qkv + padded_columns(g.conv_channels()),
        *beta = z + padded_columns(g.value_size()), *time = beta + padded_columns(g.num_heads);
  norm_and_quantize(layer.mixer_norm, n, nullptr,
                    {&layer.in, &layer.in_z, &layer.in_b, &layer.in_a});
  multiply({{&layer.in, qkv, stride},
            {&layer.in_z, z, stride},
            {&layer.in_b, beta, stride},
            {&layer.in_a, time, stride}},
           {b.h.data(), spec_.hidden_size, n});
  recurrent_.gated_delta(layer.index, layer.recurrent, batch, states, {qkv, z, beta, time, stride},
                         b.mixed.data());
  const Activations mixed{b.mixed.data(), layer.out.weight.columns, n};
  multiplier_.quantize(mixed, layer.out);
  add_to_stream(layer.out, mixed, layer.mixer_post_norm);
}

void Model::run_recurrent(const Layer& layer, const Batch& batch, StatePool& states) {
  if (layer.block.mixer == Mixer::GATED_DELTA) return run_gated_delta(layer, batch, states);
  const int n = batch.num_tokens;
  const bool is_mamba = layer.block.mixer == Mixer::MAMBA2;
  Buffers& b = buffers_;
  norm_and_quantize(layer.mixer_norm, n, nullptr, {&layer.in});
  multiply({{&layer.in, b.projected.data(), padded_columns(layer.in.weight.rows)}},
           {b.h.data(), spec_.hidden_size, n});
  if (is_mamba)
    recurrent_.mamba2(layer.index, layer.recurrent, batch, states, b.projected.data(),
                      b.mixed.data());
  else
    recurrent_.short_conv(layer.index, layer.recurrent, batch, states, b.projected.data(),
                          b.mixed.data());
  const Activations mixed{b.mixed.data(), layer.out.weight.columns, n};
  multiplier_.quantize(mixed, layer.out);
  add_to_stream(layer.out, mixed, layer.mixer_post_norm);
}

// An MLP, or a mixture of experts, of which one may be shared: a plain MLP beside them.
void Model::run_mlp(int index, int n) {
  const Layer& layer = layers_[index];
  const int64_t inner_size = layer.up.weight.rows, inner_stride = padded_columns(inner_size);
  const bool has_experts = layer.block.has_experts;
  Buffers& b = buffers_;
  const Activations normed{b.h.data(), spec_.hidden_size, n};
  const Product up{&layer.up, b.up.data(), inner_stride},
      gate{&layer.gate, b.gate.data(), inner_stride};
  norm_and_quantize(layer.mlp_norm, n, nullptr, {&layer.up, spec_.gated ? &layer.gate : &layer.up});
  if (has_experts) experts_.run(layer.experts, b.h.data(), n, has_int12_);
  if (inner_size > 0) {
    if (spec_.gated)
      multiply({up, gate}, normed);
    else
      multiply({up}, normed);
    activate(index, n);
    add_to_stream(layer.down, {b.up.data(), inner_size, n}, layer.mlp_post_norm);
  }
  if (has_experts) experts_.add(n, spec_.residual_scale, b.x.data());
}

// x += scale · norm(W input + b), where there is a norm.
void Model::add_to_stream(const Linear& linear, const Activations& input,
                          const NormWeights& post_norm) {
  const int64_t stride = padded_columns(spec_.hidden_size);
  const float scale = spec_.residual_scale;
  if (post_norm.gain == nullptr && scale == 1)
    return multiply({{&linear, buffers_.x.data(), stride, true}}, input);
  multiply({{&linear, buffers_.h.data(), stride}}, input);
  pool_.share(input.num_tokens, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      float *h = buffers_.h.data() + t * stride, *x = buffers_.x.data() + t * stride;
      if (post_norm.gain != nullptr)
        kernels_.rms_norm(h, post_norm.gain, spec_.hidden_size, spec_.norm_eps, h);
      for (int i = 0; scale != 1 && i < spec_.hidden_size; ++i) h[i] *= scale;
      kernels_.add(h, x, spec_.hidden_size);
    }
  });
}

void Model::embed(const Batch& batch) {
  pool_.share(batch.num_tokens, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      unpack_row(embedding_, batch.tokens[t],
                 buffers_.x.data() + t * padded_columns(spec_.hidden_size));
  });
  const int64_t stride = padded_columns(spec_.hidden_size);
  adapters_.embed(batch, matrices_.at(EMBEDDING_NAME).id, buffers_.x.data(), stride);
  const float scale = spec_.embedding_scale;
  for (int64_t i = 0; scale != 1 && i < batch.num_tokens * stride; ++i) buffers_.x[i] *= scale;
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

void Model::rotate_and_store(const Layer& layer, const Batch& batch, Cache& cache) {
  const int grain = batch.num_tokens >= TOKENS_PER_THREAD * pool_.size() ? ROTATE_TOKENS : 1;
  pool_.share(batch.num_tokens, grain, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) rotate_token(layer, static_cast<int>(t), batch, cache);
  });
}

// Norms each query and key head where the spec says so, rotates its first rotary_dim values (pairs
// i, i + rotary_dim / 2), scales the queries and writes keys and values to their pages.
void Model::rotate_token(const Layer& layer, int t, const Batch& batch, Cache& cache) {
  const int d = spec_.head_dim, half = spec_.rotary_dim / 2;
  const bool is_local = layer.block.rotation == Rotation::LOCAL,
             is_turned = layer.block.rotation != Rotation::NONE;
  const float* cos = (is_local ? buffers_.local_cos : buffers_.cos).data() + t * half;
  const float* sin = (is_local ? buffers_.local_sin : buffers_.sin).data() + t * half;
  const auto rotate = [&](float* head, const NormWeights& norm) {
    if (norm.gain != nullptr) kernels_.rms_norm(head, norm.gain, d, spec_.norm_eps, head);
    for (int i = 0; is_turned && i < half; ++i) {
      const float low = head[i], high = head[i + half];
      head[i] = low * cos[i] - high * sin[i];
      head[i + half] = high * cos[i] + low * sin[i];
    }
  };
  const float scale =
      spec_.attention_scale != 0 ? spec_.attention_scale : 1.0f / std::sqrt(static_cast<float>(d));
  float* q = buffers_.q.data() + t * padded_columns(spec_.query_size());
  if (spec_.output_gate) {
    const float* gated = buffers_.gated_q.data() + t * padded_columns(spec_.projected_query_size());
    for (int h = 0; h < spec_.num_heads; ++h) std::copy_n(gated + 2 * h * d, d, q + h * d);
  }
  for (int h = 0; h < spec_.num_heads; ++h) rotate(q + h * d, layer.q_norm);
  for (int i = 0; i < spec_.query_size(); ++i) q[i] *= scale;
  float* k = buffers_.k.data() + t * padded_columns(spec_.kv_size());
  const float* v = buffers_.v.data() + t * padded_columns(spec_.kv_size());
  const int position = batch.positions[t];
  const int64_t page = batch.page_table(batch.slots[t])[position / PAGE];
  for (int h = 0; h < spec_.num_kv_heads; ++h) {
    rotate(k + h * d, layer.k_norm);
    cache.store(cache.piece(layer.index, page, h), position % PAGE, k + h * d, v + h * d);
  }
}

// up = act(up) or act(gate)·up, and its tiles. Few tokens: columns are shared instead of tiles.
void Model::activate(int layer, int num_tokens) {
  const int64_t inner = layers_[layer].up.weight.rows, tiles = multiplier_.num_tiles(num_tokens);
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
  const ActivationKernel act = activation_kernel(kernels_, spec_.activation);
  int64_t zeros = 0;
  for (int t = 0; t < tile.width; ++t) {
    const int64_t at = tile.x - buffers_.up.data() + t * tile.x_stride + from;
    float* x = buffers_.up.data() + at;
    if (spec_.gated)
      act.gated(buffers_.gate.data() + at, x, count);
    else
      act.plain(x, count);
    if (count_zeros_) zeros += std::count(x, x + count, 0.0f);
  }
  return zeros;
}

}  // namespace understudy
