// Products of packed panels with tiles of tokens: part of generic.inl.

template <int WIDTH>
UNDERSTUDY_INLINE void finish(const F* sums, float* out, int64_t stride, bool accumulate) {
  UNDERSTUDY_UNROLL
  for (int t = 0; t < WIDTH; ++t) {
    float* y = out + t * stride;
    store(y, accumulate ? add(load(y), sums[t]) : sums[t]);
  }
}

constexpr int MAX_SHIFTED_STARTS = 4;  // tokens: more share the addition of shifts to the weights

// Sums of Q3 by the scales of their rows, which stand before the panel's groups.
template <int WIDTH>
UNDERSTUDY_INLINE void scale_rows(F* sums, const uint8_t* scales) {
  const F scale = load(reinterpret_cast<const float*>(scales));
  UNDERSTUDY_UNROLL
  for (int t = 0; t < WIDTH; ++t) sums[t] = mul(sums[t], scale);
}

// LANES rows of a group of a panel, part `part` of them.
template <Format FORMAT, bool HAS_SHIFTS = true>
UNDERSTUDY_INLINE Weights unpack(const uint8_t* group, int part) {
  if constexpr (FORMAT == Format::Q3) {
    const Weights w = unpack_q3(group + PANEL_ROWS + part * LANES * 4);
    return HAS_SHIFTS ? shift_q3(w, q3_shifts(group + part * LANES)) : w;
  }
  const uint8_t* quads = group + (FORMAT == Format::Q4_1 ? 64 : 32) + part * LANES * 4;
  return FORMAT == Format::Q8 ? unpack_q8(quads) : unpack_q4(quads);
}

// What multiplies the integer sums of LANES rows of a group.
template <Format FORMAT>
UNDERSTUDY_INLINE F group_scale(const uint8_t* group, int part) {
  if constexpr (FORMAT == Format::Q3) return q3_multipliers(group + part * LANES);
  return load_f16(reinterpret_cast<const uint16_t*>(group) + part * LANES);
}

// Σ w·q over the group for token `t`, exact in int32.
template <Format FORMAT, bool IS_INT12>
UNDERSTUDY_INLINE I dot_group(const Weights& w, const TileGroup& tokens, int t) {
  const auto dot = [&](const int8_t* part, int32_t correction) __attribute__((always_inline)) {
    return FORMAT == Format::Q8   ? dot_q8(w, part, correction)
           : FORMAT == Format::Q3 ? dot_q3(w, part, splat_int(Q3_OFFSET / 8 * correction))
                                  : dot_q4(w, part, correction);
  };
  const int8_t* q = tokens.q + t * tile_row_bytes(IS_INT12);
  const int32_t correction = FORMAT == Format::Q4_1 ? 0 : tokens.minus_8_sum[t];
  return IS_INT12 ? add_int(shift_left_4(dot(q, 0)), dot(q + GROUP, correction))
                  : dot(q, correction);
}

// The same of q3 with weights whose shifts were left out: the sum starts where they would move it.
template <bool IS_INT12>
UNDERSTUDY_INLINE I dot_shifted(const Weights& w, const TileGroup& tokens, int t, Shifts shifts) {
  const int32_t eighth = tokens.minus_8_sum[t] >> 3;  // -Σq, exactly
  const I start = q3_start(Q3_OFFSET * eighth, (Q3_OFFSET - Q3_SHIFT) * eighth, shifts);
  const int8_t* q = tokens.q + t * tile_row_bytes(IS_INT12);
  return IS_INT12 ? add_int(shift_left_4(dot_q3(w, q, splat_int(0))), dot_q3(w, q + GROUP, start))
                  : dot_q3(w, q, start);
}

// Integer formats, PANELS panels side by side. For each group of each: unpack the weights of LANES
// rows once, then for every token one exact int32 dot product, converted and scaled: sum += (dot ·
// w_scale) · a_scale. The order of additions does not depend on WIDTH or PANELS. Every panel is a
// stream of its own for the hardware's prefetching.
template <Format FORMAT, int WIDTH, int PANELS, bool IS_INT12>
UNDERSTUDY_NOINLINE static void matmul_integer(const uint8_t* panels, int64_t groups,
                                               const uint8_t* tile, float* out, int64_t stride,
                                               bool accumulate) {
  constexpr int64_t SIZE = group_bytes(FORMAT), HEAD = head_bytes(FORMAT),
                    DISTANCE =
                        PANELS == 1 ? PREFETCH_BYTES : STREAMS_PREFETCH_BYTES / PANELS / 64 * 64;
  const int64_t panel_bytes = HEAD + groups * SIZE;
  // One token waits for memory: all rows in one pass. More need the registers, and pass once for
  // every LANES rows.
  constexpr int ROWS = panel_rows(FORMAT), PARTS = WIDTH == 1 ? ROWS / LANES : 1;
  constexpr bool STARTS_SHIFTED = FORMAT == Format::Q3 && WIDTH <= MAX_SHIFTED_STARTS;
  for (int first = 0; first < ROWS / LANES; first += PARTS) {
    F sums[PANELS][PARTS][WIDTH];
    UNDERSTUDY_UNROLL
    for (int i = 0; i < PANELS; ++i) UNDERSTUDY_UNROLL
    for (int part = 0; part < PARTS; ++part) UNDERSTUDY_UNROLL
    for (int t = 0; t < WIDTH; ++t) sums[i][part][t] = zero();
    const uint8_t *group = panels + HEAD, *a = tile;
    for (int64_t g = 0; g < groups;
         ++g, group += SIZE, a += WIDTH * tile_bytes_per_token_group(IS_INT12)) {
      // What lies behind a panel's end is the next one's begin, read already: go on where the next
      // PANELS begin.
      const int64_t distance = HEAD + g * SIZE + DISTANCE < panel_bytes
                                   ? DISTANCE
                                   : DISTANCE + (PANELS - 1) * panel_bytes;
      const TileGroup tokens = tile_group(a, WIDTH, IS_INT12);
      UNDERSTUDY_UNROLL
      for (int i = 0; i < PANELS; ++i) {
        const uint8_t* p = group + i * panel_bytes;
        for (int64_t line = 0; first == 0 && line < SIZE; line += 64)
          prefetch_l2(p + distance + line);
        UNDERSTUDY_UNROLL
        for (int part = 0; part < PARTS; ++part) {
          const int lanes = (first + part) * LANES;
          const F w_scale = group_scale<FORMAT>(p, first + part);
          const Weights w = unpack<FORMAT, !STARTS_SHIFTED>(p, first + part);
          F* y = sums[i][part];
          UNDERSTUDY_UNROLL
          for (int t = 0; t < WIDTH; ++t) {
            I dot;
            if constexpr (STARTS_SHIFTED)
              dot = dot_shifted<IS_INT12>(w, tokens, t, q3_shifts(p + lanes));
            else
              dot = dot_group<FORMAT, IS_INT12>(w, tokens, t);
            y[t] = fma(mul(to_float(dot), w_scale), set(tokens.scale[t]), y[t]);
          }
          if (FORMAT != Format::Q4_1) continue;
          const F minimum = load_f16(reinterpret_cast<const uint16_t*>(p + 32) + lanes);
          UNDERSTUDY_UNROLL
          for (int t = 0; t < WIDTH; ++t) y[t] = fma(set(tokens.scaled_sum[t]), minimum, y[t]);
        }
      }
    }
    UNDERSTUDY_UNROLL
    for (int i = 0; i < PANELS; ++i) UNDERSTUDY_UNROLL
    for (int part = 0; part < PARTS; ++part) {
      const int lanes = (first + part) * LANES;
      if (FORMAT == Format::Q3)
        scale_rows<WIDTH>(sums[i][part], panels + i * panel_bytes + 4 * lanes);
      finish<WIDTH>(sums[i][part], out + i * ROWS + lanes, stride, accumulate);
    }
  }
}

// Float formats: sum += w · x, columns in rising order.
template <Format FORMAT, int WIDTH>
UNDERSTUDY_NOINLINE static void matmul_float(const uint8_t* panel, int64_t groups,
                                             const TileIn& tile, float* out, int64_t stride,
                                             bool accumulate) {
  for (int half = 0; half < HALVES; ++half) {
    F sums[WIDTH];
    UNDERSTUDY_UNROLL
    for (int t = 0; t < WIDTH; ++t) sums[t] = zero();
    for (int64_t c = 0; c < groups * GROUP; ++c) {
      const int64_t at = c * PANEL_ROWS + half * LANES;
      const F w = FORMAT == Format::F32 ? load(reinterpret_cast<const float*>(panel) + at)
                                        : load_bf16(reinterpret_cast<const uint16_t*>(panel) + at);
      UNDERSTUDY_UNROLL
      for (int t = 0; t < WIDTH; ++t) sums[t] = fma(w, set(tile.x[t * tile.x_stride + c]), sums[t]);
    }
    finish<WIDTH>(sums, out + half * LANES, stride, accumulate);
  }
}

template <Format FORMAT, int WIDTH>
static void matmul_width(const uint8_t* panel, int64_t groups, const TileIn& tile, float* out,
                         int64_t stride, bool accumulate) {
  if constexpr (is_integer(FORMAT))
    (tile.is_int12
         ? matmul_integer<FORMAT, WIDTH, 1, true>
         : matmul_integer<FORMAT, WIDTH, 1, false>)(panel, groups, tile.q, out, stride, accumulate);
  else
    matmul_float<FORMAT, WIDTH>(panel, groups, tile, out, stride, accumulate);
}

template <Format FORMAT, int WIDTH = TILE_TOKENS>
static void matmul(const uint8_t* panel, int64_t groups, const TileIn& tile, float* out,
                   int64_t stride, bool accumulate) {
  if (tile.width == WIDTH)
    return matmul_width<FORMAT, WIDTH>(panel, groups, tile, out, stride, accumulate);
  if constexpr (WIDTH > 1) matmul<FORMAT, WIDTH - 1>(panel, groups, tile, out, stride, accumulate);
}

// PANELS panels from `first` on for one tile of tokens.
template <Format FORMAT, int PANELS, bool IS_INT12, int WIDTH = TILE_TOKENS>
static void matmul_tile(const Block& block, int first, int token) {
  if constexpr (WIDTH > 1)
    if (block.num_tokens - token < WIDTH)
      return matmul_tile<FORMAT, PANELS, IS_INT12, WIDTH - 1>(block, first, token);
  matmul_integer<FORMAT, WIDTH, PANELS, IS_INT12>(
      block.panels + first * block.panel_bytes, block.groups,
      block.q + token * block.groups * tile_bytes_per_token_group(IS_INT12),
      block.out + token * block.stride + first * panel_rows(FORMAT), block.stride,
      block.accumulate);
}

// As many times PANELS panels as there are, each for the tokens up to `last_token` while it is in
// the cache; returns the first panel that is left.
template <Format FORMAT, int PANELS, int MAX_TOKENS = TILE_TOKENS>
static int matmul_side_by_side(const Block& block, int first, int first_token, int last_token) {
  for (; first + PANELS <= block.num_panels; first += PANELS)
    for (int token = first_token; token < last_token; token += TILE_TOKENS)
      (block.is_int12 ? matmul_tile<FORMAT, PANELS, true, MAX_TOKENS>
                      : matmul_tile<FORMAT, PANELS, false, MAX_TOKENS>)(block, first, token);
  return first;
}

// Few tokens wait for memory, so their panels go side by side; many have no registers for that, but
// inputs to keep in the L2 cache.
template <Format FORMAT>
static void matmul_panels(const Block& block) {
  const int tokens = block.num_tokens;
  int first = 0;
  if (block.panel_bytes >= MIN_STREAM_BYTES && tokens <= MAX_STREAM_TOKENS) {
    if (tokens == 1) first = matmul_side_by_side<FORMAT, 3 * STREAMS, 1>(block, first, 0, 1);
    first = matmul_side_by_side<FORMAT, STREAMS>(block, first, 0, tokens);
  }
  for (int token = 0; token < tokens; token += CACHED_TOKENS) {
    const int last = tokens - token < CACHED_TOKENS ? tokens : token + CACHED_TOKENS;
    matmul_side_by_side<FORMAT, 1>(block, first, token, last);
  }
}
