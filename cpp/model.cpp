// The forward pass. Every function below `step` runs on all members of the team at once and ends its phases with a
// barrier; what a token's result is never depends on which other tokens are in the batch.
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
#include "memory.h"

namespace understudy {
namespace {

constexpr size_t PIECE_BYTES =
    256 * 1024;  // weights that a thread takes at a time: they stay in its second-level cache

int64_t padded(int64_t columns) { return round_up(columns, GROUP); }

const PackedTensor& require(const TensorMap& tensors, const std::string& name, int64_t rows, int64_t columns) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw std::invalid_argument("missing tensor " + name);
  const PackedTensor& t = found->second;
  if (t.rows != rows || t.columns != columns)
    throw std::invalid_argument("tensor " + name + " has shape (" + std::to_string(t.rows) + ", " +
                                std::to_string(t.columns) + "), expected (" + std::to_string(rows) + ", " +
                                std::to_string(columns) + ")");
  return t;
}

}  // namespace

// One attention task: some consecutive tokens of one sequence.
struct AttendTask {
  int first_token, num_tokens, slot, last_position;
  int num_chunks() const { return last_position / CHUNK + 1; }
};

struct Model::Buffers {
  Memory<float> x, h, q, k, v, attention, up, gate, cos, sin, partials;
  Memory<uint8_t> quantized, fine;  // inputs of 8 and of 12 bits
  std::vector<AttendTask> tasks;
  int max_chunks = 0;
  bool split_chunks = false;  // few tasks: chunks are shared between members and merged afterwards
  size_t partial_size = 0;    // floats of one (task, head, chunk)

  void reserve(const Spec& s, int64_t n, bool has_fine) {
    const int64_t widest = std::max({padded(s.hidden_size), padded(s.query_size()), padded(s.intermediate_size)});
    x.reserve(n * padded(s.hidden_size));
    h.reserve(n * padded(s.hidden_size));
    q.reserve(n * padded(s.query_size()));
    attention.reserve(n * padded(s.query_size()));
    k.reserve(n * padded(s.kv_size()));
    v.reserve(n * padded(s.kv_size()));
    up.reserve(n * padded(s.intermediate_size));
    if (s.gated) gate.reserve(n * padded(s.intermediate_size));
    cos.reserve(n * (s.rotary_dim / 2));
    sin.reserve(n * (s.rotary_dim / 2));
    quantized.reserve(n * (widest / GROUP) * tile_bytes_per_token_group(false) + BLOCK_OVERREAD);
    if (has_fine) fine.reserve(n * (widest / GROUP) * tile_bytes_per_token_group(true) + BLOCK_OVERREAD);
  }
};

Model::~Model() = default;

Model::Model(const Spec& spec, const TensorMap& tensors, const Kernels& kernels, int num_threads,
             const std::vector<std::string>& fine)
    : spec_(spec), kernels_(kernels), team_(num_threads), buffers_(new Buffers) {
  const int64_t hidden = spec.hidden_size, inner = spec.intermediate_size;
  const auto vector = [&](const std::string& name, int64_t size, bool is_optional) -> const float* {
    if (is_optional && tensors.find(name) == tensors.end()) return nullptr;
    const PackedTensor& t = require(tensors, name, 1, size);
    padded_.emplace_back(new float[padded(size)]());
    std::memcpy(padded_.back().get(), t.data, size * sizeof(float));
    return padded_.back().get();
  };
  const auto linear = [&](const std::string& name, int64_t rows, int64_t columns) {
    const std::string last = name.substr(name.rfind('.') + 1);
    const bool is_fine = std::find(fine.begin(), fine.end(), last) != fine.end();
    has_fine_ = has_fine_ || is_fine;
    const PackedTensor& weight = require(tensors, name + ".weight", rows, columns);
    return Linear{weight, vector(name + ".bias", rows, true), is_fine && is_integer(weight.format)};
  };
  const auto norm = [&](const std::string& name) {
    return NormWeights{vector(name + ".weight", hidden, false),
                       spec.is_layer_norm ? vector(name + ".bias", hidden, false) : nullptr};
  };
  embedding_ = require(tensors, "model.embed_tokens.weight", spec.vocab_size, hidden);
  if (tensors.count("lm_head.weight")) {
    head_ = linear("lm_head", spec.vocab_size, hidden);
  } else {
    const bool is_fine = std::find(fine.begin(), fine.end(), "lm_head") != fine.end() && is_integer(embedding_.format);
    has_fine_ = has_fine_ || is_fine;
    head_ = Linear{embedding_, nullptr, is_fine};
  }
  final_norm_ = norm("model.norm");
  for (int i = 0; i < spec.num_layers; ++i) {
    const std::string p = "model.layers." + std::to_string(i) + ".";
    Layer layer;
    layer.attention_norm = norm(p + "input_layernorm");
    layer.mlp_norm = norm(p + "post_attention_layernorm");
    layer.q = linear(p + "self_attn.q_proj", spec.query_size(), hidden);
    layer.k = linear(p + "self_attn.k_proj", spec.kv_size(), hidden);
    layer.v = linear(p + "self_attn.v_proj", spec.kv_size(), hidden);
    layer.o = linear(p + "self_attn.o_proj", hidden, spec.query_size());
    if (spec.gated) layer.gate = linear(p + "mlp.gate_proj", inner, hidden);
    layer.up = linear(p + "mlp.up_proj", inner, hidden);
    layer.down = linear(p + "mlp.down_proj", hidden, inner);
    layers_.push_back(layer);
  }
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
    shares.push_back(activations_[i] ? static_cast<double>(zeros_[i]) / static_cast<double>(activations_[i]) : 0.0);
  return shares;
}

void Model::step(const Batch& batch, Cache& cache, float* logits) {
  plan(batch);
  if (count_zeros_)
    for (int64_t& count : activations_) count += static_cast<int64_t>(batch.num_tokens) * spec_.intermediate_size;
  team_.run([&](int) { run(batch, cache, logits); });
}

// What all members need to know beforehand: angles, attention tasks, buffer sizes.
void Model::plan(const Batch& batch) {
  Buffers& b = *buffers_;
  b.reserve(spec_, std::max(batch.num_tokens, batch.num_logits), has_fine_);
  const int half = spec_.rotary_dim / 2;
  for (int t = 0; t < batch.num_tokens; ++t) {
    const std::vector<float>& frequencies = spec_.frequency_sets[batch.frequency_sets[batch.slots[t]]];
    for (int i = 0; i < half; ++i) {
      const float angle = static_cast<float>(batch.positions[t]) * frequencies[i];
      b.cos[t * half + i] = std::cos(angle) * spec_.attention_factor;
      b.sin[t * half + i] = std::sin(angle) * spec_.attention_factor;
    }
  }
  b.tasks.clear();
  b.max_chunks = 0;
  const int per_task = std::max(1, MAX_ATTEND_ROWS / spec_.group_size());
  for (int t = 0; t < batch.num_tokens;) {
    int end = t + 1;
    while (end < batch.num_tokens && end - t < per_task && batch.slots[end] == batch.slots[t] &&
           batch.positions[end] == batch.positions[end - 1] + 1)
      ++end;
    b.tasks.push_back({t, end - t, batch.slots[t], batch.positions[end - 1]});
    b.max_chunks = std::max(b.max_chunks, b.tasks.back().num_chunks());
    t = end;
  }
  const int64_t pairs = static_cast<int64_t>(b.tasks.size()) * spec_.num_kv_heads;
  b.split_chunks = b.max_chunks > 1 && pairs < 16 * team_.size();
  b.partial_size =
      static_cast<size_t>(std::max(MAX_ATTEND_ROWS, spec_.group_size())) * (round_up(spec_.head_dim, 32) + 2);
  if (b.split_chunks) b.partials.reserve(b.partial_size * pairs * b.max_chunks);
}

void Model::run(const Batch& batch, Cache& cache, float* logits) {
  const int n = batch.num_tokens;
  const int64_t hidden = spec_.hidden_size, stride = padded(hidden);
  Buffers& b = *buffers_;
  embed(batch);
  for (int i = 0; i < spec_.num_layers; ++i) {
    const Layer& layer = layers_[i];
    norm_and_quantize(layer.attention_norm, n, nullptr, {&layer.q, &layer.k, &layer.v});
    const Product qkv[] = {{&layer.q, b.q.data(), false, padded(spec_.query_size())},
                           {&layer.k, b.k.data(), false, padded(spec_.kv_size())},
                           {&layer.v, b.v.data(), false, padded(spec_.kv_size())}};
    multiply(qkv, 3, b.h.data(), hidden, n);
    rotate_and_store(i, batch, cache);
    attend(i, batch, cache);
    quantize(b.attention.data(), spec_.query_size(), n, layer.o);
    const Product output = {&layer.o, b.x.data(), true, stride};
    multiply(&output, 1, b.attention.data(), spec_.query_size(), n);

    norm_and_quantize(layer.mlp_norm, n, nullptr, {&layer.up, spec_.gated ? &layer.gate : &layer.up});
    const Product inner[] = {{&layer.up, b.up.data(), false, padded(spec_.intermediate_size)},
                             {&layer.gate, b.gate.data(), false, padded(spec_.intermediate_size)}};
    multiply(inner, spec_.gated ? 2 : 1, b.h.data(), hidden, n);
    activate(i, n);
    const Product down = {&layer.down, b.x.data(), true, stride};
    multiply(&down, 1, b.up.data(), spec_.intermediate_size, n);
  }
  if (batch.num_logits == 0) return;
  norm_and_quantize(final_norm_, batch.num_logits, batch.logit_rows, {&head_});
  const Product product = {&head_, logits, false, spec_.vocab_size};
  multiply(&product, 1, b.h.data(), hidden, batch.num_logits);
}

void Model::embed(const Batch& batch) {
  team_.share(batch.num_tokens, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      unpack_row(embedding_, batch.tokens[t], buffers_->x.data() + t * padded(spec_.hidden_size));
  });
}

// h[i] = norm(x[rows ? rows[i] : i]), then its tiles as the next products want them.
void Model::norm_and_quantize(const NormWeights& norm, int num_tokens, const int32_t* rows,
                              std::initializer_list<const Linear*> next) {
  Buffers& b = *buffers_;
  const int64_t stride = padded(spec_.hidden_size);
  const int width = kernels_.tile_tokens;
  team_.share((num_tokens + width - 1) / width, 1, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; ++index) {
      const int from = static_cast<int>(index) * width, count = std::min(width, num_tokens - from);
      for (int t = from; t < from + count; ++t) {
        const float* x = b.x.data() + (rows ? rows[t] : t) * stride;
        if (spec_.is_layer_norm)
          kernels_.layer_norm(x, norm.gain, norm.bias, spec_.hidden_size, spec_.norm_eps, b.h.data() + t * stride);
        else
          kernels_.rms_norm(x, norm.gain, spec_.hidden_size, spec_.norm_eps, b.h.data() + t * stride);
      }
      for (const bool is_fine : {false, true})
        if (std::any_of(next.begin(), next.end(), [&](const Linear* linear) { return linear->wants(is_fine); }))
          quantize_tile(tile(b.h.data(), spec_.hidden_size, num_tokens, index, is_fine), 0, spec_.hidden_size);
    }
  });
}

void Model::quantize(const float* x, int64_t columns, int num_tokens, const Linear& linear) {
  if (!is_integer(linear.weight.format)) return;
  const int width = kernels_.tile_tokens;
  team_.share((num_tokens + width - 1) / width, 1, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; ++index)
      quantize_tile(tile(x, columns, num_tokens, index, linear.is_fine), 0, columns);
  });
}

// Integers of `count` columns from column `from` on (a multiple of GROUP).
void Model::quantize_tile(const Tile& tile, int64_t from, int64_t count) {
  const int64_t offset = from / GROUP * tile.width * tile_bytes_per_token_group(tile.is_fine);
  kernels_.quantize(tile.x + from, tile.x_stride, tile.width, count, tile.is_fine,
                    const_cast<uint8_t*>(tile.q) + offset);
}

uint8_t* Model::inputs(bool is_fine) const { return (is_fine ? buffers_->fine : buffers_->quantized).data(); }

Tile Model::tile(const float* x, int64_t columns, int num_tokens, int64_t index, bool is_fine) const {
  const int width = kernels_.tile_tokens;
  const int64_t from = index * width, stride = padded(columns);
  return {static_cast<int>(std::min<int64_t>(width, num_tokens - from)), x + from * stride, stride,
          inputs(is_fine) + from * (stride / GROUP) * tile_bytes_per_token_group(is_fine), is_fine};
}

// out (+)= W x + b for some matrices that share their input. A piece of panels stays in the cache while all tiles
// of tokens pass over it.
void Model::multiply(const Product* products, int count, const float* x, int64_t columns, int num_tokens) {
  int64_t total = 0;
  size_t panel_bytes = 1;
  for (int i = 0; i < count; ++i) {
    total += products[i].linear->weight.panels();
    panel_bytes = std::max(panel_bytes, products[i].linear->weight.panel_bytes());
  }
  const int64_t tiles = (num_tokens + kernels_.tile_tokens - 1) / kernels_.tile_tokens;
  const int64_t fair = (total + 8 * team_.size() - 1) / (8 * team_.size());
  int64_t grain = std::max<int64_t>(1, std::min<int64_t>(fair, static_cast<int64_t>(PIECE_BYTES / panel_bytes)));
  const bool in_blocks = kernels_.block_tokens > 0 && num_tokens >= kernels_.block_tokens;
  const Format format = products[0].linear->weight.format;
  const bool is_long = panel_bytes >= static_cast<size_t>(MIN_STREAM_BYTES);
  if (format == Format::Q4S)  // few and wide: runs of them where every member still gets four
    grain = std::max<int64_t>(1, std::min<int64_t>(kernels_.panel_streams, total / (4 * team_.size())));
  else if (is_long && kernels_.matmul_panels[static_cast<int>(format)] != nullptr)
    grain = round_up(grain, kernels_.panel_streams);
  if (in_blocks) grain = std::min<int64_t>(round_up(fair, kernels_.block_panels), 4 * kernels_.block_panels);
  const Linear& only = *products[0].linear;  // down_proj, where the format is Q4S
  const bool can_skip = num_tokens == 1 && only.weight.format == Format::Q4S && !only.is_fine;
  const Lines* lines = can_skip ? find_lines(columns) : nullptr;
  team_.share(total, grain, [&](int64_t first, int64_t last) {
    for (int i = 0; i < count;
         first -= products[i].linear->weight.panels(), last -= products[i].linear->weight.panels(), ++i) {
      const Product& product = products[i];
      const PackedTensor& w = product.linear->weight;
      const int64_t rows = panel_rows(w.format);
      int64_t begin = std::max<int64_t>(first, 0);
      const int64_t end = std::min(last, w.panels());
      if (lines == nullptr) begin = multiply_block(product, begin, end, num_tokens, in_blocks);
      for (int64_t index = 0; index < tiles && begin < end; ++index) {
        Tile input = tile(x, columns, num_tokens, index, product.linear->is_fine);
        input.lines = lines;
        float* out = product.out + index * kernels_.tile_tokens * product.stride;
        for (int64_t p = begin; p < end; ++p) {
          const auto matmul = kernels_.matmul[static_cast<int>(w.format)];
          if ((p + 1) * rows <= product.stride) {
            matmul(w.panel(p), w.groups(), input, out + p * rows, product.stride, product.accumulate);
            continue;
          }
          float edge[MAX_TILE * MAX_PANEL_ROWS];  // the last panel hangs over the end of the output's rows
          const size_t inside = static_cast<size_t>(product.stride - p * rows) * sizeof(float);
          for (int t = 0; product.accumulate && t < input.width; ++t)
            std::memcpy(edge + t * rows, out + t * product.stride + p * rows, inside);
          matmul(w.panel(p), w.groups(), input, edge, rows, product.accumulate);
          for (int t = 0; t < input.width; ++t)
            std::memcpy(out + t * product.stride + p * rows, edge + t * rows, inside);
        }
      }
    }
  });
  for (int i = 0; i < count; ++i)
    if (products[i].linear->bias != nullptr) add_bias(*products[i].linear, products[i].out, num_tokens);
}

// What one token's inputs need of Q4S weights, found once for all panels that this member takes.
const Lines* Model::find_lines(int64_t columns) const {
  thread_local Lines found;
  const bool fits =
      kernels_.find_lines != nullptr && kernels_.find_lines(inputs(false), padded(columns) / GROUP, &found);
  return fits ? &found : nullptr;
}

// The panels from `begin` on, as far as whole slices of 16 rows lie inside the output, in blocks or side by side where
// this row of kernels can; returns the first panel that is left.
int64_t Model::multiply_block(const Product& product, int64_t begin, int64_t end, int num_tokens, bool in_blocks) {
  const PackedTensor& w = product.linear->weight;
  const auto matmul = (in_blocks ? kernels_.matmul_block : kernels_.matmul_panels)[static_cast<int>(w.format)];
  const int64_t rows = panel_rows(w.format);
  int64_t last_row = std::min(end * rows, product.stride);
  if (last_row % PANEL_ROWS != 0) end = last_row / rows, last_row = end * rows;
  if (matmul == nullptr || begin >= end) return begin;
  const int slices = static_cast<int>((last_row - begin * rows) / PANEL_ROWS);
  matmul({w.panel(begin), static_cast<int64_t>(w.panel_bytes()), w.groups(), slices, num_tokens,
          inputs(product.linear->is_fine), product.linear->is_fine, product.out + begin * rows, product.stride,
          product.accumulate});
  return end;
}

void Model::add_bias(const Linear& linear, float* out, int num_tokens) {
  const int64_t rows = linear.weight.rows;
  team_.share(num_tokens, 4, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) kernels_.add(linear.bias, out + t * padded(rows), rows);
  });
}

// Rotates the first rotary_dim of each query and key head (pairs i, i + rotary_dim / 2), scales the queries by
// 1/sqrt(head_dim) and writes keys and values to their pages.
void Model::rotate_and_store(int layer, const Batch& batch, Cache& cache) {
  Buffers& b = *buffers_;
  const int d = spec_.head_dim, half = spec_.rotary_dim / 2;
  const float scale = 1.0f / std::sqrt(static_cast<float>(d));
  const auto rotate = [&](float* head, int t) {
    const float *cos = b.cos.data() + t * half, *sin = b.sin.data() + t * half;
    for (int i = 0; i < half; ++i) {
      const float low = head[i], high = head[i + half];
      head[i] = low * cos[i] - high * sin[i];
      head[i + half] = high * cos[i] + low * sin[i];
    }
  };
  const int grain = batch.num_tokens >= 8 * team_.size() ? 4 : 1;
  team_.share(batch.num_tokens, grain, [&](int64_t first, int64_t last) {
    for (int t = static_cast<int>(first); t < last; ++t) {
      float* q = b.q.data() + t * padded(spec_.query_size());
      for (int h = 0; h < spec_.num_heads; ++h) rotate(q + h * d, t);
      for (int i = 0; i < spec_.query_size(); ++i) q[i] *= scale;
      float* k = b.k.data() + t * padded(spec_.kv_size());
      const float* v = b.v.data() + t * padded(spec_.kv_size());
      const int position = batch.positions[t];
      const int64_t page = batch.page_tables[static_cast<int64_t>(batch.slots[t]) * batch.max_pages + position / PAGE];
      for (int h = 0; h < spec_.num_kv_heads; ++h) {
        rotate(k + h * d, t);
        cache.store(cache.piece(layer, page, h), position % PAGE, k + h * d, v + h * d);
      }
    }
  });
}

namespace {

// Everything that one attention task needs for one head; rows are (token, query head of the group).
struct HeadTask {
  const AttendTask& task;
  const Spec& spec;
  const Kernels& kernels;
  const Cache& cache;
  const Batch& batch;
  const float* q;
  int layer, head;

  int num_rows() const { return task.num_tokens * spec.group_size(); }

  // Attends to one chunk; rows that see none of it are left out. Returns the first row that takes part.
  int chunk(int index, float* scores, float* out, float* m, float* l) const {
    const int group = spec.group_size(), start = index * CHUNK;
    const int first_token = std::max(0, start - (task.last_position - task.num_tokens + 1));
    const uint8_t* pages[CHUNK / PAGE];
    const int num_pages = std::min(CHUNK / PAGE, task.last_position / PAGE + 1 - index * (CHUNK / PAGE));
    const int32_t* table = batch.page_tables + static_cast<int64_t>(task.slot) * batch.max_pages;
    for (int p = 0; p < num_pages; ++p) pages[p] = cache.piece(layer, table[index * (CHUNK / PAGE) + p], head);
    constexpr int MOST = 256;
    const float* queries[MOST];
    int32_t limits[MOST];
    int rows = 0;
    for (int t = first_token; t < task.num_tokens; ++t)
      for (int g = 0; g < group; ++g, ++rows) {
        queries[rows] = q + (task.first_token + t) * padded(spec.query_size()) + (head * group + g) * spec.head_dim;
        limits[rows] = batch.positions[task.first_token + t];
      }
    const int first_row = first_token * group, width = cache.padded_dim();
    kernels.attend({pages, num_pages, start, spec.head_dim, width, rows, cache.format(), queries, limits, scores,
                    out + static_cast<int64_t>(first_row) * width, m + first_row, l + first_row});
    return first_row;
  }

  void write(const float* acc, const float* l, float* attention) const {
    const int group = spec.group_size(), width = cache.padded_dim();
    for (int row = 0; row < num_rows(); ++row) {
      float* out = attention + (task.first_token + row / group) * padded(spec.query_size()) +
                   (head * group + row % group) * spec.head_dim;
      const float inverse = 1.0f / l[row];
      for (int d = 0; d < spec.head_dim; ++d) out[d] = acc[static_cast<int64_t>(row) * width + d] * inverse;
    }
  }

  void merge(int first_row, float* acc, float* m, float* l, const float* acc2, const float* m2, const float* l2) const {
    const int64_t width = cache.padded_dim();
    for (int row = first_row; row < num_rows(); ++row)
      kernels.merge(m + row, l + row, acc + row * width, m2[row], l2[row], acc2 + row * width, static_cast<int>(width));
  }
};

}  // namespace

void Model::attend(int layer, const Batch& batch, Cache& cache) {
  Buffers& b = *buffers_;
  const int heads = spec_.num_kv_heads, width = cache.padded_dim();
  const int most_rows = std::max(MAX_ATTEND_ROWS, spec_.group_size());
  const auto head_task = [&](int64_t pair) {
    return HeadTask{b.tasks[pair / heads],         spec_, kernels_, cache, batch, b.q.data(), layer,
                    static_cast<int>(pair % heads)};
  };
  const int64_t pairs = static_cast<int64_t>(b.tasks.size()) * heads;
  thread_local std::vector<float> scratch;
  scratch.resize(std::max(scratch.size(), static_cast<size_t>(most_rows) * (CHUNK + 2 * width + 4)));
  float* scores = scratch.data();
  float *acc = scores + most_rows * CHUNK, *m = acc + most_rows * width, *l = m + most_rows;
  float *acc2 = l + most_rows, *m2 = acc2 + most_rows * width, *l2 = m2 + most_rows;

  if (!b.split_chunks) {
    team_.share(pairs, 1, [&](int64_t first, int64_t last) {
      for (int64_t pair = first; pair < last; ++pair) {
        const HeadTask work = head_task(pair);
        work.chunk(0, scores, acc, m, l);
        for (int c = 1; c < work.task.num_chunks(); ++c)
          work.merge(work.chunk(c, scores, acc2, m2, l2), acc, m, l, acc2, m2, l2);
        work.write(acc, l, b.attention.data());
      }
    });
    return;
  }
  const auto partial = [&](int64_t pair, int chunk) {
    return b.partials.data() + (pair * b.max_chunks + chunk) * b.partial_size;
  };
  team_.share(pairs * b.max_chunks, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const HeadTask work = head_task(i / b.max_chunks);
      const int chunk = static_cast<int>(i % b.max_chunks);
      if (chunk >= work.task.num_chunks()) continue;
      float* out = partial(i / b.max_chunks, chunk);
      work.chunk(chunk, scores, out, out + most_rows * width, out + most_rows * (width + 1));
    }
  });
  team_.share(pairs, 1, [&](int64_t first, int64_t last) {
    for (int64_t pair = first; pair < last; ++pair) {
      const HeadTask work = head_task(pair);
      float* base = partial(pair, 0);
      float *base_m = base + most_rows * width, *base_l = base_m + most_rows;
      for (int c = 1; c < work.task.num_chunks(); ++c) {
        const float* other = partial(pair, c);
        const int before = c * CHUNK - (work.task.last_position - work.task.num_tokens + 1);
        work.merge(std::max(0, before) * spec_.group_size(), base, base_m, base_l, other, other + most_rows * width,
                   other + most_rows * (width + 1));
      }
      work.write(base, base_l, b.attention.data());
    }
  });
}

// up = act(up) or act(gate)·up, and its int8 tiles. Few tokens: columns are shared instead of tiles.
void Model::activate(int layer, int num_tokens) {
  Buffers& b = *buffers_;
  const int64_t inner = spec_.intermediate_size, stride = padded(inner);
  const int width = kernels_.tile_tokens;
  const int64_t tiles = (num_tokens + width - 1) / width;
  const int64_t step = tiles >= 4 * team_.size() ? stride : 1024, splits = (inner + step - 1) / step;
  const bool integer = is_integer(layers_[layer].down.weight.format);
  team_.share(tiles * splits, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const Tile out = tile(b.up.data(), inner, num_tokens, i / splits, layers_[layer].down.is_fine);
      const int64_t from = i % splits * step, count = std::min(step, inner - from);
      int64_t zeros = 0;
      for (int t = 0; t < out.width; ++t) {
        float* x = const_cast<float*>(out.x) + t * stride + from;
        const float* gate = spec_.gated ? b.gate.data() + (x - b.up.data()) : nullptr;
        if (spec_.gated)
          (spec_.is_relu2 ? kernels_.relu2_gate : kernels_.silu_gate)(gate, x, count);
        else
          (spec_.is_relu2 ? kernels_.relu2 : kernels_.silu)(x, count);
        if (count_zeros_) zeros += std::count(x, x + count, 0.0f);
      }
      if (count_zeros_) __atomic_fetch_add(&zeros_[layer], zeros, __ATOMIC_RELAXED);
      if (integer) quantize_tile(out, from, count);
    }
  });
}

}  // namespace understudy
