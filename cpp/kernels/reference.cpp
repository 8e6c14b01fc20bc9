// The reference target: every slot in plain C++, slow and obvious. It defines what the other
// targets must compute.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "../half.h"
#include "kernels.h"

namespace understudy {
namespace {

inline float read_f16(const uint8_t* p, int i) {
  uint16_t h;
  std::memcpy(&h, p + 2 * i, 2);
  return f16_to_float(h);
}

void finish(const float* sums, int rows, int width, float* out, int64_t stride, bool accumulate) {
  for (int t = 0; t < width; ++t)
    for (int r = 0; r < rows; ++r) {
      float& y = out[t * stride + r];
      y = accumulate ? y + sums[t * rows + r] : sums[t * rows + r];
    }
}

template <bool IS_BF16>
void matmul_float(const uint8_t* panel, int64_t groups, const TileIn& tile, float* out,
                  int64_t stride, bool accumulate) {
  float sums[MAX_TILE * PANEL_ROWS] = {};
  for (int64_t c = 0; c < groups * GROUP; ++c)
    for (int r = 0; r < PANEL_ROWS; ++r) {
      float w;
      if (IS_BF16) {
        uint16_t half;
        std::memcpy(&half, panel + 2 * (c * PANEL_ROWS + r), 2);
        w = bf16_to_float(half);
      } else {
        std::memcpy(&w, panel + 4 * (c * PANEL_ROWS + r), 4);
      }
      for (int t = 0; t < tile.width; ++t) {
        float& s = sums[t * PANEL_ROWS + r];
        s = std::fma(w, tile.x[t * tile.x_stride + c], s);
      }
    }
  finish(sums, PANEL_ROWS, tile.width, out, stride, accumulate);
}

// The scale of a row's group, and the stored weight, of formats whose groups lie whole one after
// the other.
template <Format FORMAT>
struct Panel {
  const uint8_t* panel;
  int64_t groups;
  const uint8_t* group(int64_t g) const {
    return panel + static_cast<size_t>(g) * group_bytes(FORMAT);
  }
  float scale(int64_t g, int r) const { return read_f16(group(g), r); }
  float minimum(int64_t g, int r) const { return read_f16(group(g) + 32, r); }
  int weight(int64_t g, int r, int c) const {
    const uint8_t* quads = group(g) + (FORMAT == Format::Q4_1 ? 64 : 32);
    const int quad = c / 4, byte = r * 4 + c % 4;
    return FORMAT == Format::Q8 ? quads[quad * 64 + byte]
                                : (quads[quad % 4 * 64 + byte] >> (quad < 4 ? 0 : 4)) & 15;
  }
};

struct LinePanel {
  const uint8_t* panel;
  int64_t groups;
  float scale(int64_t g, int r) const {
    return read_f16(panel + static_cast<size_t>(g) * LINE_SCALES_BYTES, r);
  }
  float minimum(int64_t, int) const { return 0; }
  int weight(int64_t g, int r, int c) const {
    const uint8_t* line =
        panel + first_line(groups) + static_cast<size_t>(g * GROUP + c) * LINE_BYTES;
    return (line[line_byte(r)] >> line_shift(r)) & 15;
  }
};

struct ThreeBitPanel {
  const uint8_t* panel;
  int64_t groups;
  const uint8_t* group(int64_t g) const {
    return panel + head_bytes(Format::Q3) + static_cast<size_t>(g) * group_bytes(Format::Q3);
  }
  int multiplier_and_shift(int64_t g, int r) const { return static_cast<int8_t>(group(g)[r]); }
  float scale(int64_t g, int r) const {
    return static_cast<float>(multiplier_and_shift(g, r) >> 1);
  }
  float minimum(int64_t, int) const { return 0; }
  int weight(int64_t g, int r, int c) const {
    const int code = q3_code(group(g) + PANEL_ROWS, r, c);
    return Q3_LEVELS[code] + Q3_SHIFT * (multiplier_and_shift(g, r) & 1);
  }
  float row_scale(int r) const {
    float scale;
    std::memcpy(&scale, panel + 4 * r, 4);
    return scale;
  }
};

template <Format FORMAT>
using PanelOf =
    std::conditional_t<FORMAT == Format::Q4_SPARSE, LinePanel,
                       std::conditional_t<FORMAT == Format::Q3, ThreeBitPanel, Panel<FORMAT>>>;

// How many times -8 Σq a sum starts at, for the offset of the stored weights.
constexpr int start_of(Format format) {
  switch (format) {
    case Format::Q8: return 16;
    case Format::Q3: return Q3_OFFSET / 8;
    case Format::Q4_1: return 0;
    default: return 1;
  }
}

template <Format FORMAT>
void matmul_integer(const uint8_t* panel, int64_t groups, const TileIn& tile, float* out,
                    int64_t stride, bool accumulate) {
  constexpr int ROWS = panel_rows(FORMAT);
  float sums[MAX_TILE * ROWS] = {};
  const PanelOf<FORMAT> w{panel, groups};
  for (int64_t g = 0; g < groups; ++g) {
    const TileGroup a =
        tile_group(tile.q + g * tile.width * tile_bytes_per_token_group(tile.is_int12), tile.width,
                   tile.is_int12);
    for (int t = 0; t < tile.width; ++t)
      for (int r = 0; r < ROWS; ++r) {
        int32_t dot = start_of(FORMAT) * a.minus_8_sum[t];
        for (int c = 0; c < GROUP; ++c) {
          const int8_t* q = a.q + t * tile_row_bytes(tile.is_int12) + c;
          dot += w.weight(g, r, c) * (tile.is_int12 ? 16 * q[0] + q[GROUP] : q[0]);
        }
        float& s = sums[t * ROWS + r];
        s = std::fma(static_cast<float>(dot) * w.scale(g, r), a.scale[t], s);
        if (FORMAT == Format::Q4_1) s = std::fma(a.scaled_sum[t], w.minimum(g, r), s);
      }
  }
  if constexpr (FORMAT == Format::Q3)
    for (int i = 0; i < tile.width * ROWS; ++i) sums[i] *= w.row_scale(i % ROWS);
  finish(sums, ROWS, tile.width, out, stride, accumulate);
}

void quantize(const float* x, int64_t stride, int width, int64_t columns, bool is_int12,
              uint8_t* tile) {
  const int64_t groups = round_up(columns, GROUP) / GROUP, row_bytes = tile_row_bytes(is_int12);
  const auto top = static_cast<float>(largest_input(is_int12));
  for (int64_t g = 0; g < groups; ++g, tile += width * tile_bytes_per_token_group(is_int12))
    for (int t = 0; t < width; ++t) {
      const float* row = x + t * stride + g * GROUP;
      const int count = static_cast<int>(std::min<int64_t>(GROUP, columns - g * GROUP));
      float largest = 0;
      for (int c = 0; c < count; ++c) largest = std::max(largest, std::fabs(row[c]));
      const float scale = largest / top, inverse = largest > 0 ? top / largest : 0.0f;
      int32_t sum = 0;
      for (int c = 0; c < GROUP; ++c) {
        const int q = c < count ? static_cast<int>(std::nearbyintf(row[c] * inverse)) : 0;
        const int high = is_int12 ? (q + 8) >> 4 : q;
        tile[t * row_bytes + c] = static_cast<uint8_t>(high);
        if (is_int12) tile[t * row_bytes + GROUP + c] = static_cast<uint8_t>(q - 16 * high);
        sum += q;
      }
      const int32_t minus_8_sum = -8 * sum;
      const float scaled_sum = scale * static_cast<float>(sum);
      std::memcpy(tile + row_bytes * width + 4 * t, &scale, 4);
      std::memcpy(tile + (row_bytes + 4) * width + 4 * t, &minus_8_sum, 4);
      std::memcpy(tile + (row_bytes + 8) * width + 4 * t, &scaled_sum, 4);
    }
}

void layer_norm(const float* x, const float* gain, const float* bias, int64_t n, float eps,
                float* y) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i];
  const double mean = sum / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
  for (int64_t i = 0; i < n; ++i)
    y[i] = static_cast<float>((x[i] - mean) * inverse) * gain[i] + bias[i];
}

void rms_norm(const float* x, const float* gain, int64_t n, float eps, float* y) {
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
  const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i] * inverse) * gain[i];
}

float silu_of(float x) { return x / (1.0f + std::exp(-x)); }
float relu2_of(float x) { return x > 0 ? x * x : 0.0f; }

void relu2(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = relu2_of(x[i]);
}
void silu(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = silu_of(x[i]);
}
void silu_gate(const float* gate, float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = silu_of(gate[i]) * x[i];
}
void relu2_gate(const float* gate, float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = relu2_of(gate[i]) * x[i];
}
float gelu_of(float x) {
  const double u = 0.7978845608028654 * (x + 0.044715 * static_cast<double>(x) * x * x);
  return static_cast<float>(0.5 * x * (1.0 + std::tanh(u)));
}
void gelu(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = gelu_of(x[i]);
}
void gelu_gate(const float* gate, float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = gelu_of(gate[i]) * x[i];
}

void scan(const ScanStep& s) {
  for (int d = 0; d < s.padded_dim; ++d) {
    float sum = 0;
    for (int n = 0; n < s.state_size; ++n) {
      float& h = s.state[static_cast<int64_t>(n) * s.padded_dim + d];
      h = h * s.decay + s.dt * s.b[n] * s.x[d];
      sum += s.c[n] * h;
    }
    s.y[d] = sum + s.skip * s.x[d];
  }
}

void delta(const DeltaStep& s) {
  for (int d = 0; d < s.padded_dim; ++d) {
    float known = 0, sum = 0;
    for (int n = 0; n < s.key_dim; ++n)
      known += s.k[n] * (s.decay * s.state[static_cast<int64_t>(n) * s.padded_dim + d]);
    const float change = s.beta * (s.v[d] - known);
    for (int n = 0; n < s.key_dim; ++n) {
      float& h = s.state[static_cast<int64_t>(n) * s.padded_dim + d];
      h = s.decay * h + s.k[n] * change;
      sum += s.q[n] * h;
    }
    s.y[d] = sum;
  }
}

void sigmoid_gate(const float* gate, float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] /= 1.0f + std::exp(-gate[i]);
}

void add(const float* a, float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += a[i];
}

float low_rank_value(const LowRank& w, const uint8_t* p, int64_t i) {
  if (w.format == Format::F32) return reinterpret_cast<const float*>(p)[i];
  if (w.format == Format::Q8) return static_cast<float>(reinterpret_cast<const int8_t*>(p)[i]);
  return bf16_to_float(reinterpret_cast<const uint16_t*>(p)[i]);
}

void shrink(const LowRank& w, const float* x, int64_t stride, int width, float factor,
            float* sums) {
  for (int t = 0; t < width; ++t)
    for (int k = 0; k < w.rank; ++k) {
      float sum = 0;
      for (int64_t c = 0; c < w.columns; ++c)
        sum = std::fma(low_rank_value(w, w.a, k * w.padded_columns() + c), x[t * stride + c], sum);
      sums[t * w.rank + k] = factor * w.scales[k] * sum;
    }
}

void expand(const LowRank& w, const float* sums, int width, float* y, int64_t stride) {
  for (int t = 0; t < width; ++t)
    for (int64_t r = 0; r < w.rows; ++r) {
      const int64_t panel = r / LOW_RANK_ROWS * w.rank * LOW_RANK_ROWS + r % LOW_RANK_ROWS;
      float sum = 0;
      for (int k = 0; k < w.rank; ++k)
        sum =
            std::fma(low_rank_value(w, w.b, panel + k * LOW_RANK_ROWS), sums[t * w.rank + k], sum);
      y[t * stride + r] += sum;
    }
}

float page_value(const uint8_t* page, KvFormat format, int64_t index) {
  if (format == KvFormat::INT8)
    return static_cast<float>(reinterpret_cast<const int8_t*>(page)[index]);
  if (format == KvFormat::F32) return reinterpret_cast<const float*>(page)[index];
  return read_f16(page, static_cast<int>(index));
}

float page_scale(const AttendChunk& c, const uint8_t* page, bool is_value, int position) {
  if (c.format != KvFormat::INT8) return 1.0f;
  float scale;
  const int64_t offset = static_cast<int64_t>(c.head_dim + c.padded_dim) * PAGE;
  std::memcpy(&scale, page + offset + 4 * ((is_value ? PAGE : 0) + position), 4);
  return scale;
}

void attend_row(const AttendChunk& c, int row) {
  float* scores = c.scores + row * CHUNK;
  float* out = c.out + static_cast<int64_t>(row) * c.padded_dim;
  const int count = std::min(c.num_pages * PAGE, c.limits[row] - c.start + 1);
  const int begin = c.firsts == nullptr ? 0 : std::max(0, c.firsts[row] - c.start);
  float m = -1e30f, l = 0;
  for (int i = begin; i < count; ++i) {
    const uint8_t* page = c.pages[i / PAGE];
    const int p = i % PAGE;
    float dot = 0;
    for (int d = 0; d < c.head_dim; ++d)
      dot +=
          c.q[row][d] *
          page_value(page, c.format, (static_cast<int64_t>(p / 16) * c.head_dim + d) * 16 + p % 16);
    scores[i] = dot * page_scale(c, page, false, p);
    m = std::max(m, scores[i]);
  }
  std::fill(out, out + c.padded_dim, 0.0f);
  for (int i = begin; i < count; ++i) {
    const uint8_t* page = c.pages[i / PAGE];
    const int p = i % PAGE;
    const float weight = std::exp(scores[i] - m), scaled = weight * page_scale(c, page, true, p);
    l += weight;
    for (int d = 0; d < c.padded_dim; ++d) {
      const int64_t index = static_cast<int64_t>(c.head_dim) * PAGE +
                            (static_cast<int64_t>(d / 32) * PAGE + p) * 32 + d % 32;
      out[d] += scaled * page_value(page, c.format, index);
    }
  }
  c.m[row] = m;
  c.l[row] = l;
}

void attend(const AttendChunk& chunk) {
  for (int row = 0; row < chunk.num_queries; ++row) attend_row(chunk, row);
}

void merge(float* m, float* l, float* acc, float m2, float l2, const float* acc2, int padded_dim) {
  const float top = std::max(*m, m2), a = std::exp(*m - top), b = std::exp(m2 - top);
  for (int d = 0; d < padded_dim; ++d) acc[d] = acc[d] * a + acc2[d] * b;
  *l = *l * a + l2 * b;
  *m = top;
}

float sum_exp(const float* x, int64_t n, float max) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - max);
  return static_cast<float>(sum);
}

float max_value(const float* x, int64_t n) { return *std::max_element(x, x + n); }

int64_t peak_loop(int64_t rounds) {
  volatile int32_t a = 3, b = 5;
  int32_t sums[8] = {};
  for (int64_t i = 0; i < rounds; ++i)
    for (int j = 0; j < 8; ++j) sums[j] += a * b + j;
  volatile int32_t sink = sums[0] ^ sums[7];
  (void)sink;
  return rounds * 16;
}

Kernels make_table() {
  Kernels k;
  k.name = "reference";
  k.tile_tokens = 4;
  k.attend_queries = 4;
  k.matmul[index_of(Format::F32)] = matmul_float<false>;
  k.matmul[index_of(Format::BF16)] = matmul_float<true>;
  k.matmul[index_of(Format::Q8)] = matmul_integer<Format::Q8>;
  k.matmul[index_of(Format::Q4)] = matmul_integer<Format::Q4>;
  k.matmul[index_of(Format::Q4_1)] = matmul_integer<Format::Q4_1>;
  k.matmul[index_of(Format::Q3)] = matmul_integer<Format::Q3>;
  k.matmul[index_of(Format::Q4_SPARSE)] = matmul_integer<Format::Q4_SPARSE>;
  k.quantize = quantize;
  k.layer_norm = layer_norm;
  k.rms_norm = rms_norm;
  k.relu2 = relu2;
  k.silu = silu;
  k.relu2_gate = relu2_gate;
  k.silu_gate = silu_gate;
  k.gelu = gelu;
  k.gelu_gate = gelu_gate;
  k.scan = scan;
  k.delta = delta;
  k.sigmoid_gate = sigmoid_gate;
  k.add = add;
  for (const Format format : {Format::F32, Format::BF16, Format::Q8}) {
    k.shrink[index_of(format)] = shrink;
    k.expand[index_of(format)] = expand;
  }
  k.attend = attend;
  k.merge = merge;
  k.sum_exp = sum_exp;
  k.max_value = max_value;
  k.peak_loop = peak_loop;
  return k;
}

}  // namespace

const Kernels& reference_kernels() {
  static const Kernels table = make_table();
  return table;
}

}  // namespace understudy
