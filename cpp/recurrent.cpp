#include "recurrent.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace understudy {
namespace {

constexpr int64_t CHANNELS_OF_A_PIECE = 512;
constexpr int MAX_HEAD_DIM = 1024;
constexpr float SOFTPLUS_LINEAR = 20;  // from here on softplus(x) = x, as transformers has it

constexpr float L2_EPS = 1e-6f;  // of the norms of query and key

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
float softplus(float x) { return x > SOFTPLUS_LINEAR ? x : std::log1p(std::exp(x)); }

}  // namespace

// A causal convolution of each channel with its own taps:
//   out[t] = bias + Σ_k taps[k] · in[t - (size - 1) + k], where inputs before the first are the
//   tail
struct Recurrent::Convolution {
  const RecurrentWeights& weights;
  const Batch& batch;
  StatePool& states;
  int layer, size;
  int64_t channels;
  const float* in;
  int64_t in_stride;
  float* out;
  int64_t out_stride;
  bool has_silu;

  // Input `index` of a run, counted from its first token; null where nothing came before.
  const float* input(const Run& run, int index) const {
    if (index >= 0) return in + (run.first_token + index) * in_stride;
    if (run.source < 0) return nullptr;
    return states.tail(layer, run.source) + (size - 1 + index) * channels;
  }

  void compute(const Run& run, int64_t from, int64_t count) const {
    for (int t = 0; t < run.num_tokens; ++t) {
      float* y = out + (run.first_token + t) * out_stride + from;
      if (weights.conv_bias != nullptr)
        std::memcpy(y, weights.conv_bias + from, static_cast<size_t>(count) * sizeof(float));
      else
        std::fill(y, y + count, 0.0f);
      for (int k = 0; k < size; ++k) {
        const float* x = input(run, t - (size - 1) + k);
        if (x == nullptr) continue;
        const float* tap = weights.taps + k * channels + from;
        for (int64_t c = 0; c < count; ++c) y[c] += tap[c] * x[from + c];
      }
    }
  }

  // The last inputs up to token t. Old ones move towards the front, so the order allows that the
  // state is the one that is read.
  void save(const Run& run, int t, int64_t state, int64_t from, int64_t count) const {
    float* tail = states.tail(layer, state);
    for (int j = 0; j < size - 1; ++j) {
      const float* x = input(run, t - (size - 2) + j);
      float* row = tail + j * channels + from;
      if (x == nullptr)
        std::fill(row, row + count, 0.0f);
      else
        std::memmove(row, x + from, static_cast<size_t>(count) * sizeof(float));
    }
  }
};

// What one head remembers while the tokens of a run pass: begun from nothing or from the state that
// the run goes on from, kept where the batch wants it.
struct Recurrent::HeadState {
  StatePool& states;
  const Batch& batch;
  int layer;
  int64_t at, size;  // among all heads' values
  float* values;

  HeadState(StatePool& pool, const Batch& batch, int layer, const Run& run, int64_t at,
            int64_t size)
      : states(pool),
        batch(batch),
        layer(layer),
        at(at),
        size(size),
        values(pool.heads(layer, run.target) + at) {
    if (run.source < 0)
      std::fill(values, values + size, 0.0f);
    else if (run.source != run.target)
      std::memcpy(values, pool.heads(layer, run.source) + at, bytes());
  }
  size_t bytes() const { return static_cast<size_t>(size) * sizeof(float); }
  void save(int token) const {
    if (batch.state_saves != nullptr && batch.state_saves[token] >= 0)
      std::memcpy(states.heads(layer, batch.state_saves[token]) + at, values, bytes());
  }
};

void Recurrent::plan(const Batch& batch) {
  runs_.clear();
  num_tokens_ = batch.num_tokens;
  for (int t = 0; t < batch.num_tokens;) {
    int end = t + 1;
    while (end < batch.num_tokens && batch.slots[end] == batch.slots[t]) ++end;
    const int32_t* states = batch.states + 2 * static_cast<int64_t>(batch.slots[t]);
    runs_.push_back({t, end - t, states[0], states[1]});
    t = end;
  }
}

void Recurrent::convolve(const Convolution& work) {
  const int64_t pieces = (work.channels + CHANNELS_OF_A_PIECE - 1) / CHANNELS_OF_A_PIECE;
  pool_.share(static_cast<int64_t>(runs_.size()) * pieces, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const Run& run = runs_[static_cast<size_t>(i / pieces)];
      const int64_t from = i % pieces * CHANNELS_OF_A_PIECE;
      const int64_t count = std::min(CHANNELS_OF_A_PIECE, work.channels - from);
      work.compute(run, from, count);
      for (int t = 0; work.batch.state_saves != nullptr && t < run.num_tokens; ++t)
        if (const int32_t state = work.batch.state_saves[run.first_token + t]; state >= 0)
          work.save(run, t, state, from, count);
      work.save(run, run.num_tokens - 1, run.target, from, count);
      for (int t = 0; work.has_silu && t < run.num_tokens; ++t)
        kernels_.silu(work.out + (run.first_token + t) * work.out_stride + from, count);
    }
  });
}

void Recurrent::mamba2(int layer, const RecurrentWeights& weights, const Batch& batch,
                       StatePool& states, const float* projected, float* out) {
  const Mamba2& m = spec_.mamba2;
  const int64_t stride = padded_columns(m.conv_channels());
  mixed_.reserve(static_cast<size_t>(num_tokens_ * stride) + MAX_HEAD_DIM);
  convolve({weights, batch, states, layer, m.conv_size, m.conv_channels(),
            projected + m.inner_size(), padded_columns(m.projected_size()), mixed_.data(), stride,
            true});
  pool_.share(static_cast<int64_t>(runs_.size()) * m.num_heads, 1,
              [&](int64_t first, int64_t last) {
                for (int64_t i = first; i < last; ++i)
                  scan_head(layer, weights, runs_[static_cast<size_t>(i / m.num_heads)],
                            static_cast<int>(i % m.num_heads), batch, states, projected, out);
              });
  gate_and_norm(weights, num_tokens_, projected, out);
}

// The tokens of a run through one head:
//   dt = max(softplus(dt + bias), min);  h = exp(dt·a) h + dt·B xᵀ;  y = C h + D x
void Recurrent::scan_head(int layer, const RecurrentWeights& weights, const Run& run, int head,
                          const Batch& batch, StatePool& states, const float* projected,
                          float* out) {
  const Mamba2& m = spec_.mamba2;
  const int padded = static_cast<int>(round_up(m.head_dim, SCAN_PADDING));
  const int64_t size = static_cast<int64_t>(m.state_size) * padded;
  const HeadState state(states, batch, layer, run, head * size, size);
  const int group = head / (m.num_heads / m.num_groups);
  float x[MAX_HEAD_DIM] = {}, y[MAX_HEAD_DIM];
  for (int t = run.first_token; t < run.first_token + run.num_tokens; ++t) {
    const float* mixed = mixed_.data() + t * padded_columns(m.conv_channels());
    const float* b = mixed + m.inner_size() + static_cast<int64_t>(group) * m.state_size;
    const float raw = projected[t * padded_columns(m.projected_size()) + m.inner_size() +
                                m.conv_channels() + head];
    const float dt = std::max(softplus(raw + weights.dt_bias[head]), m.min_time_step);
    std::memcpy(x, mixed + static_cast<int64_t>(head) * m.head_dim, m.head_dim * sizeof(float));
    kernels_.scan({state.values, x, b, b + static_cast<int64_t>(m.num_groups) * m.state_size,
                   std::exp(dt * weights.a[head]), dt, weights.d[head], m.state_size, padded, y});
    std::memcpy(out + t * padded_columns(m.inner_size()) + static_cast<int64_t>(head) * m.head_dim,
                y, m.head_dim * sizeof(float));
    state.save(t);
  }
}

// out = norm(silu(z) · out), group by group.
void Recurrent::gate_and_norm(const RecurrentWeights& weights, int num_tokens,
                              const float* projected, float* out) {
  const Mamba2& m = spec_.mamba2;
  const int64_t size = m.inner_size() / m.norm_groups;
  pool_.share(num_tokens, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      float* y = out + t * padded_columns(m.inner_size());
      kernels_.silu_gate(projected + t * padded_columns(m.projected_size()), y, m.inner_size());
      for (int64_t at = 0; at < m.inner_size(); at += size)
        kernels_.rms_norm(y + at, weights.norm + at, size, spec_.norm_eps, y + at);
    }
  });
}

void Recurrent::gated_delta(int layer, const RecurrentWeights& weights, const Batch& batch,
                            StatePool& states, const DeltaInputs& inputs, float* out) {
  const GatedDelta& g = spec_.gated_delta;
  const int64_t stride = padded_columns(g.conv_channels()),
                out_stride = padded_columns(g.value_size());
  mixed_.reserve(static_cast<size_t>(num_tokens_ * stride) + MAX_HEAD_DIM);
  convolve({weights, batch, states, layer, g.conv_size, g.conv_channels(), inputs.qkv,
            inputs.stride, mixed_.data(), stride, true});
  pool_.share(num_tokens_, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first * 2 * g.num_key_heads; i < last * 2 * g.num_key_heads; ++i) {
      const int64_t t = i / (2 * g.num_key_heads), head = i % (2 * g.num_key_heads);
      float* x = mixed_.data() + t * stride + head * g.key_dim;
      kernels_.rms_norm(x, head < g.num_key_heads ? weights.unit_query : weights.unit_key,
                        g.key_dim, L2_EPS / static_cast<float>(g.key_dim), x);
    }
  });
  pool_.share(static_cast<int64_t>(runs_.size()) * g.num_heads, 1,
              [&](int64_t first, int64_t last) {
                for (int64_t i = first; i < last; ++i)
                  delta_head(layer, weights, runs_[static_cast<size_t>(i / g.num_heads)],
                             static_cast<int>(i % g.num_heads), batch, states, inputs, out);
              });
  pool_.share(num_tokens_, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      float* y = out + t * out_stride;
      for (int64_t at = 0; at < g.value_size(); at += g.value_dim)
        kernels_.rms_norm(y + at, weights.norm, g.value_dim, spec_.norm_eps, y + at);
      kernels_.silu_gate(inputs.z + t * inputs.stride, y, g.value_size());
    }
  });
}

// The tokens of a run through one value head.
void Recurrent::delta_head(int layer, const RecurrentWeights& weights, const Run& run, int head,
                           const Batch& batch, StatePool& states, const DeltaInputs& inputs,
                           float* out) {
  const GatedDelta& g = spec_.gated_delta;
  const int padded = static_cast<int>(round_up(g.value_dim, SCAN_PADDING));
  const int64_t size = static_cast<int64_t>(g.key_dim) * padded;
  const HeadState state(states, batch, layer, run, head * size, size);
  const int64_t key = static_cast<int64_t>(head / g.group_size()) * g.key_dim,
                value = static_cast<int64_t>(head) * g.value_dim;
  const size_t value_bytes = static_cast<size_t>(g.value_dim) * sizeof(float);
  float v[MAX_HEAD_DIM] = {}, y[MAX_HEAD_DIM];
  for (int t = run.first_token; t < run.first_token + run.num_tokens; ++t) {
    const float* mixed = mixed_.data() + t * padded_columns(g.conv_channels());
    std::memcpy(v, mixed + 2 * g.key_size() + value, value_bytes);
    const float time = softplus(inputs.a[t * inputs.stride + head] + weights.dt_bias[head]);
    kernels_.delta({state.values, mixed + key, mixed + g.key_size() + key, v,
                    std::exp(weights.a[head] * time), sigmoid(inputs.b[t * inputs.stride + head]),
                    g.key_dim, padded, y});
    std::memcpy(out + t * padded_columns(g.value_size()) + value, y, value_bytes);
    state.save(t);
  }
}

void Recurrent::short_conv(int layer, const RecurrentWeights& weights, const Batch& batch,
                           StatePool& states, float* projected, float* out) {
  const int64_t hidden = spec_.hidden_size, stride = padded_columns(3 * hidden);
  pool_.share(num_tokens_, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      float *b = projected + t * stride, *x = b + 2 * hidden;
      for (int64_t i = 0; i < hidden; ++i) x[i] *= b[i];
    }
  });
  const int64_t out_stride = padded_columns(hidden);
  convolve({weights, batch, states, layer, spec_.conv_size, hidden, projected + 2 * hidden, stride,
            out, out_stride, false});
  pool_.share(num_tokens_, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const float* c = projected + t * stride + hidden;
      for (int64_t i = 0; i < hidden; ++i) out[t * out_stride + i] *= c[i];
    }
  });
}

}  // namespace understudy
