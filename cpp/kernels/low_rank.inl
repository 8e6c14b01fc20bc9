// Products of low rank (adapters) for tokens that share them: sums = scale · A x, y += B sums.
// Included by generic.inl. Every sum has one order, whatever the number of tokens: of `shrink` 16
// sums of every sixteenth column, added in a fixed tree; of `expand` the ranks in rising order.

constexpr int64_t LOW_RANK_AHEAD = 4096;  // bytes that weights are asked for ahead: they lie in
                                          // the order of their use

template <Format FORMAT>
UNDERSTUDY_INLINE F load_weights(const uint8_t* p, int64_t i) {
  if (FORMAT == Format::Q8) return load_i8(reinterpret_cast<const int8_t*>(p) + i);
  return FORMAT == Format::BF16 ? load_bf16(reinterpret_cast<const uint16_t*>(p) + i)
                                : load(reinterpret_cast<const float*>(p) + i);
}

// `RANKS` rows of A with `TOKENS` tokens, 16 columns at a time.
template <Format FORMAT, int TOKENS, int RANKS>
UNDERSTUDY_INLINE void shrink_block(const LowRank& w, int first_rank, const float* x,
                                    int64_t stride, float factor, float* sums) {
  F totals[RANKS][TOKENS][HALVES];
  UNDERSTUDY_UNROLL
  for (int i = 0; i < RANKS * TOKENS * HALVES; ++i)
    totals[i / (TOKENS * HALVES)][i / HALVES % TOKENS][i % HALVES] = zero();
  const int64_t columns = w.padded_columns();
  const int64_t row = columns * low_rank_bytes(FORMAT);
  const uint8_t* a = w.a + first_rank * row;
  for (int64_t c = 0; c < columns; c += PANEL_ROWS) {
    UNDERSTUDY_UNROLL
    for (int h = 0; h < HALVES; ++h) {
      F inputs[TOKENS];
      UNDERSTUDY_UNROLL
      for (int t = 0; t < TOKENS; ++t) inputs[t] = load(x + t * stride + c + h * LANES);
      UNDERSTUDY_UNROLL
      for (int k = 0; k < RANKS; ++k) {
        const F weights = load_weights<FORMAT>(a + k * row, c + h * LANES);
        UNDERSTUDY_UNROLL
        for (int t = 0; t < TOKENS; ++t) totals[k][t][h] = fma(weights, inputs[t], totals[k][t][h]);
      }
    }
  }
  UNDERSTUDY_UNROLL
  for (int k = 0; k < RANKS; ++k)
    for (int t = 0; t < TOKENS; ++t) {
      const F both = HALVES == 2 ? add(totals[k][t][0], totals[k][t][HALVES - 1]) : totals[k][t][0];
      sums[t * w.rank + first_rank + k] = factor * w.scales[first_rank + k] * reduce_add(both);
    }
}

// All tokens pass over a block of A's rows while it is in the L1 cache.
template <Format FORMAT>
static void shrink(const LowRank& w, const float* x, int64_t stride, int width, float factor,
                   float* sums) {
  constexpr int RANKS = LOW_RANK_MULTIPLE, TOKENS = HALVES == 1 ? 4 : 1;
  const int64_t block = RANKS * w.padded_columns() * low_rank_bytes(FORMAT);
  for (int k = 0; k < w.rank; k += RANKS) {
    for (int64_t i = 0; i < block; i += 64)
      prefetch_l2(w.a + k / RANKS * block + i + LOW_RANK_AHEAD);
    int t = 0;
    for (; t + TOKENS <= width; t += TOKENS)
      shrink_block<FORMAT, TOKENS, RANKS>(w, k, x + t * stride, stride, factor, sums + t * w.rank);
    for (; t < width; ++t)
      shrink_block<FORMAT, 1, RANKS>(w, k, x + t * stride, stride, factor, sums + t * w.rank);
  }
}

// One panel of B, LOW_RANK_ROWS rows, with `TOKENS` tokens. The last panel goes by a copy where it
// hangs over the end of the output.
template <Format FORMAT, int TOKENS>
UNDERSTUDY_INLINE void expand_panel(const uint8_t* b, int rank, const float* sums, int num_rows,
                                    float* y, int64_t stride) {
  constexpr int VECTORS = LOW_RANK_ROWS / LANES;
  F totals[TOKENS][VECTORS];
  UNDERSTUDY_UNROLL
  for (int t = 0; t < TOKENS; ++t) UNDERSTUDY_UNROLL
  for (int v = 0; v < VECTORS; ++v) totals[t][v] = zero();
  for (int k = 0; k < rank; ++k) {
    UNDERSTUDY_UNROLL
    for (int v = 0; v < VECTORS; ++v) {
      const F weights = load_weights<FORMAT>(b, k * LOW_RANK_ROWS + v * LANES);
      UNDERSTUDY_UNROLL
      for (int t = 0; t < TOKENS; ++t)
        totals[t][v] = fma(weights, set(sums[t * rank + k]), totals[t][v]);
    }
  }
  for (int t = 0; t < TOKENS; ++t) {
    float edge[LOW_RANK_ROWS] = {};
    float* out = y + t * stride;
    const bool is_whole = num_rows == LOW_RANK_ROWS;
    for (int r = 0; !is_whole && r < num_rows; ++r) edge[r] = out[r];
    float* target = is_whole ? out : edge;
    UNDERSTUDY_UNROLL
    for (int v = 0; v < VECTORS; ++v)
      store(target + v * LANES, add(load(target + v * LANES), totals[t][v]));
    for (int r = 0; !is_whole && r < num_rows; ++r) out[r] = edge[r];
  }
}

// All tokens pass over a panel of B while it is in the L1 cache.
template <Format FORMAT>
static void expand(const LowRank& w, const float* sums, int width, float* y, int64_t stride) {
  constexpr int TOKENS = HALVES == 1 ? 4 : 1;  // 16 or 8 sums
  const int64_t panel = low_rank_bytes(FORMAT) * LOW_RANK_ROWS * w.rank;
  const uint8_t* b = w.b;
  for (int64_t r = 0; r < w.rows; r += LOW_RANK_ROWS, b += panel) {
    const int64_t left = w.rows - r;
    const int num_rows = left < LOW_RANK_ROWS ? static_cast<int>(left) : LOW_RANK_ROWS;
    for (int64_t i = 0; i < panel; i += 64) prefetch_l2(b + i + LOW_RANK_AHEAD);
    int t = 0;
    for (; t + TOKENS <= width; t += TOKENS)
      expand_panel<FORMAT, TOKENS>(b, w.rank, sums + t * w.rank, num_rows, y + t * stride + r,
                                   stride);
    for (; t < width; ++t)
      expand_panel<FORMAT, 1>(b, w.rank, sums + t * w.rank, num_rows, y + t * stride + r, stride);
  }
}
