// Every slot of the kernel table, written once over the SIMD vocabulary of an ISA (its simd.h).
// Included by <isa>/table.cpp inside that ISA's namespace, after simd.h; instantiates nothing by
// itself. No function here uses the standard library: an inline std function compiled with ISA
// flags could be chosen by the linker for the whole program.

#define UNDERSTUDY_NOINLINE __attribute__((noinline))  // one register allocation for each width

constexpr int HALVES = PANEL_ROWS / LANES;  // vectors that hold one value of each panel row
constexpr int BLOCK_VECTORS = 32 / LANES;   // vectors in 32 values

// ---- elementwise
// -------------------------------------------------------------------------------------------------

// exp(x) = 2^n · e^r with n = round(x / ln 2), |r| <= ln2 / 2, e^r by its degree-6 polynomial
// (relative error < 2e-7); 0 below -87.3.
UNDERSTUDY_INLINE F exponential(F x) {
  const F clamped = min(max(x, set(-87.3f)), set(88.3f));
  const F n = round_nearest(mul(clamped, set(1.44269504088896341f)));
  const F r = fma(n, set(2.12194440e-4f), fma(n, set(-0.693359375f), clamped));
  F p = set(1.9875691500e-4f);
  p = fma(p, r, set(1.3981999507e-3f));
  p = fma(p, r, set(8.3334519073e-3f));
  p = fma(p, r, set(4.1665795894e-2f));
  p = fma(p, r, set(1.6666665459e-1f));
  p = fma(p, r, set(5.0000001201e-1f));
  p = fma(p, mul(r, r), add(r, set(1.0f)));
  return zero_below(x, -87.3f, mul(p, exp2_int(n)));
}

UNDERSTUDY_INLINE F silu_of(F x) { return div(x, add(set(1.0f), exponential(sub(zero(), x)))); }
// x/2 (1 + tanh u) = x / (1 + exp(-2u)),  2u = 2√(2/π) x (1 + 0.044715 x²)
UNDERSTUDY_INLINE F gelu_of(F x) {
  const F inner = fma(mul(x, x), set(0.044715f), set(1.0f));
  return div(x, add(set(1.0f), exponential(mul(mul(x, set(-1.5957691216057308f)), inner))));
}
UNDERSTUDY_INLINE F relu2_of(F x) {
  const F positive = max(x, zero());
  return mul(positive, positive);
}

// Runs `body(x vector, second vector) -> vector` over n values; the tail goes through a padded
// copy.
#define UNDERSTUDY_MAP(first, second, n, expression)                                          \
  do {                                                                                        \
    int64_t i = 0;                                                                            \
    for (; i + LANES <= (n); i += LANES) {                                                    \
      const F a = load((first) + i), b = load((second) + i);                                  \
      (void)a, (void)b;                                                                       \
      store((first) + i, expression);                                                         \
    }                                                                                         \
    if (i < (n)) {                                                                            \
      float left[LANES] = {}, right[LANES] = {};                                              \
      for (int64_t j = i; j < (n); ++j) left[j - i] = (first)[j], right[j - i] = (second)[j]; \
      const F a = load(left), b = load(right);                                                \
      (void)a, (void)b;                                                                       \
      store(left, expression);                                                                \
      for (int64_t j = i; j < (n); ++j) (first)[j] = left[j - i];                             \
    }                                                                                         \
  } while (0)

static void relu2(float* x, int64_t n) { UNDERSTUDY_MAP(x, x, n, relu2_of(a)); }
static void silu(float* x, int64_t n) { UNDERSTUDY_MAP(x, x, n, silu_of(a)); }
static void silu_gate(const float* gate, float* x, int64_t n) {
  UNDERSTUDY_MAP(x, gate, n, mul(silu_of(b), a));
}
static void gelu(float* x, int64_t n) { UNDERSTUDY_MAP(x, x, n, gelu_of(a)); }
static void gelu_gate(const float* gate, float* x, int64_t n) {
  UNDERSTUDY_MAP(x, gate, n, mul(gelu_of(b), a));
}
static void relu2_gate(const float* gate, float* x, int64_t n) {
  UNDERSTUDY_MAP(x, gate, n, mul(relu2_of(b), a));
}
static void sigmoid_gate(const float* gate, float* x, int64_t n) {
  UNDERSTUDY_MAP(x, gate, n, div(a, add(set(1.0f), exponential(sub(zero(), b)))));
}
static void add_to(const float* y, float* x, int64_t n) { UNDERSTUDY_MAP(x, y, n, add(a, b)); }
#undef UNDERSTUDY_MAP

static float max_value(const float* x, int64_t n) {
  int64_t i = 0;
  float top = x[0];
  if (n >= LANES) {
    F best = load(x);
    for (; i + LANES <= n; i += LANES) best = max(best, load(x + i));
    top = reduce_max(best);
  }
  for (; i < n; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

static float sum_exp(const float* x, int64_t n, float top) {
  F total = zero();
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) total = add(total, exponential(sub(load(x + i), set(top))));
  if (i < n) {
    float rest[LANES];
    for (int j = 0; j < LANES; ++j) rest[j] = i + j < n ? x[i + j] : -1e30f;
    total = add(total, exponential(sub(load(rest), set(top))));
  }
  return reduce_add(total);
}

// ---- norms
// -------------------------------------------------------------------------------------------------------

static void layer_norm(const float* x, const float* gain, const float* bias, int64_t n, float eps,
                       float* y) {
  F total = zero();
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) total = add(total, load(x + i));
  float tail = 0;
  for (int64_t j = i; j < n; ++j) tail += x[j];
  const float mean = (reduce_add(total) + tail) / static_cast<float>(n);
  F squares = zero();
  for (i = 0; i + LANES <= n; i += LANES) {
    const F centred = sub(load(x + i), set(mean));
    squares = fma(centred, centred, squares);
  }
  tail = 0;
  for (int64_t j = i; j < n; ++j) tail += (x[j] - mean) * (x[j] - mean);
  const float inverse = 1.0f / sqrt((reduce_add(squares) + tail) / static_cast<float>(n) + eps);
  for (i = 0; i + LANES <= n; i += LANES)
    store(y + i,
          fma(mul(sub(load(x + i), set(mean)), set(inverse)), load(gain + i), load(bias + i)));
  for (; i < n; ++i) y[i] = (x[i] - mean) * inverse * gain[i] + bias[i];
}

static void rms_norm(const float* x, const float* gain, int64_t n, float eps, float* y) {
  F squares = zero();
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) squares = fma(load(x + i), load(x + i), squares);
  float tail = 0;
  for (int64_t j = i; j < n; ++j) tail += x[j] * x[j];
  const float inverse = 1.0f / sqrt((reduce_add(squares) + tail) / static_cast<float>(n) + eps);
  for (i = 0; i + LANES <= n; i += LANES)
    store(y + i, mul(mul(load(x + i), set(inverse)), load(gain + i)));
  for (; i < n; ++i) y[i] = x[i] * inverse * gain[i];
}

// ---- quantise
// ----------------------------------------------------------------------------------------------------

// Rounds to integers in [-127, 127], stores them as bytes and returns them.
UNDERSTUDY_INLINE I store_i8(int8_t* p, F x) {
  const I rounded = to_int(x);
  store_bytes(p, rounded);
  return rounded;
}

// The same for [-2032, 2032] in two bytes, 16·high + low.
UNDERSTUDY_INLINE I store_i12(int8_t* high, int8_t* low, F x) {
  const I rounded = to_int(x), upper = shift_right_4_rounded(rounded);
  store_bytes(high, upper);
  store_bytes(low, sub_int(rounded, shift_left_4(upper)));
  return rounded;
}

template <bool IS_INT12>
static void quantize_group(const float* x, int width, int token, uint8_t* group) {
  constexpr int64_t ROW_BYTES = tile_row_bytes(IS_INT12);
  constexpr float TOP = largest_input(IS_INT12);
  F largest_abs = zero();
  for (int i = 0; i < BLOCK_VECTORS; ++i) largest_abs = max(largest_abs, abs(load(x + i * LANES)));
  const float top = reduce_max(largest_abs);
  const float scale = top / TOP, inverse = top > 0 ? TOP / top : 0.0f;
  int8_t* q = reinterpret_cast<int8_t*>(group) + token * ROW_BYTES;
  I total = splat_int(0);
  for (int i = 0; i < BLOCK_VECTORS; ++i, q += LANES) {
    const F scaled = mul(load(x + i * LANES), set(inverse));
    total = add_int(total, IS_INT12 ? store_i12(q, q + GROUP, scaled) : store_i8(q, scaled));
  }
  const int32_t all = reduce_add_int(total);
  uint8_t* scales = group + ROW_BYTES * width;
  reinterpret_cast<float*>(scales)[token] = scale;
  reinterpret_cast<int32_t*>(scales + 4 * width)[token] = -8 * all;
  reinterpret_cast<float*>(scales + 8 * width)[token] = scale * static_cast<float>(all);
}

template <bool IS_INT12>
static void quantize_tile(const float* x, int64_t stride, int width, int64_t columns,
                          uint8_t* tile) {
  const int64_t whole = columns / GROUP;
  const int64_t group_size = width * tile_bytes_per_token_group(IS_INT12);
  for (int t = 0; t < width; ++t) {
    const float* row = x + t * stride;
    for (int64_t g = 0; g < whole; ++g)
      quantize_group<IS_INT12>(row + g * GROUP, width, t, tile + g * group_size);
    if (whole * GROUP < columns) {
      float rest[GROUP] = {};
      for (int64_t c = whole * GROUP; c < columns; ++c) rest[c - whole * GROUP] = row[c];
      quantize_group<IS_INT12>(rest, width, t, tile + whole * group_size);
    }
  }
}

static void quantize(const float* x, int64_t stride, int width, int64_t columns, bool is_int12,
                     uint8_t* tile) {
  (is_int12 ? quantize_tile<true> : quantize_tile<false>)(x, stride, width, columns, tile);
}

// ---- recurrence
// --------------------------------------------------------------------------------------------------

// VECTORS columns of a head's state, from column `first` on: they pass the state once.
template <int VECTORS>
UNDERSTUDY_INLINE void scan_columns(const ScanStep& s, int first) {
  F x[VECTORS], y[VECTORS];
  UNDERSTUDY_UNROLL
  for (int v = 0; v < VECTORS; ++v) {
    x[v] = load(s.x + first + v * LANES);
    y[v] = zero();
  }
  const F decay = set(s.decay);
  float* row = s.state + first;
  for (int n = 0; n < s.state_size; ++n, row += s.padded_dim) {
    const F in = set(s.dt * s.b[n]), out = set(s.c[n]);
    UNDERSTUDY_UNROLL
    for (int v = 0; v < VECTORS; ++v) {
      const F h = fma(in, x[v], mul(load(row + v * LANES), decay));
      store(row + v * LANES, h);
      y[v] = fma(out, h, y[v]);
    }
  }
  UNDERSTUDY_UNROLL
  for (int v = 0; v < VECTORS; ++v) store(s.y + first + v * LANES, fma(set(s.skip), x[v], y[v]));
}

static void scan(const ScanStep& s) {
  constexpr int MOST = 4;
  int first = 0;
  for (; first + MOST * LANES <= s.padded_dim; first += MOST * LANES) scan_columns<MOST>(s, first);
  for (; first < s.padded_dim; first += LANES) scan_columns<1>(s, first);
}

// VECTORS columns of a value head's state, from column `first` on: they pass the state twice, once
// to see what it knows of the key, once to correct it and to read it.
template <int VECTORS>
UNDERSTUDY_INLINE void delta_columns(const DeltaStep& s, int first) {
  F change[VECTORS], y[VECTORS];
  UNDERSTUDY_UNROLL
  for (int v = 0; v < VECTORS; ++v) change[v] = y[v] = zero();
  const F decay = set(s.decay);
  float* row = s.state + first;
  for (int n = 0; n < s.key_dim; ++n, row += s.padded_dim) {
    const F key = set(s.k[n]);
    UNDERSTUDY_UNROLL
    for (int v = 0; v < VECTORS; ++v)
      change[v] = fma(key, mul(load(row + v * LANES), decay), change[v]);
  }
  UNDERSTUDY_UNROLL
  for (int v = 0; v < VECTORS; ++v)
    change[v] = mul(set(s.beta), sub(load(s.v + first + v * LANES), change[v]));
  row = s.state + first;
  for (int n = 0; n < s.key_dim; ++n, row += s.padded_dim) {
    const F key = set(s.k[n]), query = set(s.q[n]);
    UNDERSTUDY_UNROLL
    for (int v = 0; v < VECTORS; ++v) {
      const F h = fma(key, change[v], mul(load(row + v * LANES), decay));
      store(row + v * LANES, h);
      y[v] = fma(query, h, y[v]);
    }
  }
  UNDERSTUDY_UNROLL
  for (int v = 0; v < VECTORS; ++v) store(s.y + first + v * LANES, y[v]);
}

static void delta(const DeltaStep& s) {
  constexpr int MOST = 4;
  int first = 0;
  for (; first + MOST * LANES <= s.padded_dim; first += MOST * LANES) delta_columns<MOST>(s, first);
  for (; first < s.padded_dim; first += LANES) delta_columns<1>(s, first);
}

#include "attention.inl"
#include "low_rank.inl"
#include "matmul.inl"

// Over what matmul.inl has.
#include "lines.inl"
#include "matmul_q3.inl"

static int64_t peak_loop(int64_t rounds) {
  I sums[12];
  const I a = splat_int(0x01020304), b = splat_int(0x04030201);
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 12; ++i) sums[i] = splat_int(i);
  for (int64_t round = 0; round < rounds; ++round) {
    UNDERSTUDY_UNROLL
    for (int i = 0; i < 12; ++i) sums[i] = product_step(sums[i], a, b);
  }
  return rounds * 12 * LANES * 8;
}

// Every slot by name, on top of the reference.
static Kernels make_table(const char* name) {
  Kernels k = reference_kernels();
  k.name = name;
  k.tile_tokens = TILE_TOKENS;
  k.attend_queries = ATTEND_QUERIES;
  k.matmul[index_of(Format::F32)] = matmul<Format::F32>;
  k.matmul[index_of(Format::BF16)] = matmul<Format::BF16>;
  k.matmul[index_of(Format::Q8)] = matmul<Format::Q8>;
  k.matmul[index_of(Format::Q4)] = matmul<Format::Q4>;
  k.matmul[index_of(Format::Q4_1)] = matmul<Format::Q4_1>;
  k.matmul[index_of(Format::Q4_SPARSE)] = matmul_lines;
  k.matmul[index_of(Format::Q3)] = matmul<Format::Q3>;
  k.panel_streams = STREAMS;
  k.matmul_panels[index_of(Format::Q8)] = matmul_panels<Format::Q8>;
  k.matmul_panels[index_of(Format::Q4)] = matmul_panels<Format::Q4>;
  k.matmul_panels[index_of(Format::Q4_1)] = matmul_panels<Format::Q4_1>;
  k.matmul_panels[index_of(Format::Q3)] = matmul_q3_panels;
  k.matmul_panels[index_of(Format::Q4_SPARSE)] = matmul_dense_line_panels;
  k.find_lines = find_lines;
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
  k.add = add_to;
  k.shrink[index_of(Format::F32)] = shrink<Format::F32>;
  k.shrink[index_of(Format::BF16)] = shrink<Format::BF16>;
  k.shrink[index_of(Format::Q8)] = shrink<Format::Q8>;
  k.expand[index_of(Format::Q8)] = expand<Format::Q8>;
  k.expand[index_of(Format::F32)] = expand<Format::F32>;
  k.expand[index_of(Format::BF16)] = expand<Format::BF16>;
  k.attend = attend;
  k.merge = merge;
  k.sum_exp = sum_exp;
  k.max_value = max_value;
  k.peak_loop = peak_loop;
  return k;
}
