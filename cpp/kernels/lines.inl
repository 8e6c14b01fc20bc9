// Products of panels by column, Q4_SPARSE: part of generic.inl.

constexpr int LINE_PARTS = panel_rows(Format::Q4_SPARSE) / LANES;

// Bytes of four columns, interleaved: quads of LANES rows, two of them in each byte's halves.
struct Quads {
  I slice[4];
};
UNDERSTUDY_INLINE Quads interleave(const uint8_t* a, const uint8_t* b, const uint8_t* c,
                                   const uint8_t* d) {
  const I first = load_bytes(a), second = load_bytes(b), third = load_bytes(c),
          fourth = load_bytes(d);
  const I left = unpacklo_bytes(first, second), right = unpacklo_bytes(third, fourth);
  const I left_end = unpackhi_bytes(first, second), right_end = unpackhi_bytes(third, fourth);
  return {{unpacklo_pairs(left, right), unpackhi_pairs(left, right),
           unpacklo_pairs(left_end, right_end), unpackhi_pairs(left_end, right_end)}};
}

#ifndef UNDERSTUDY_LISTS_COLUMNS
// Appends where the lines of a group's columns with an input that is not zero lie, and these
// inputs; returns how many. Up to GROUP entries of both lists are written.
UNDERSTUDY_INLINE int list_columns(const int8_t* a, uint32_t first_line, uint32_t* columns,
                                   int8_t* inputs) {
  int count = 0;
  for (int c = 0; c < GROUP; ++c) {
    columns[count] = first_line + static_cast<uint32_t>(c * LINE_BYTES);
    inputs[count] = a[c];
    count += a[c] != 0;
  }
  return count;
}
#endif

static bool find_lines(const uint8_t* q, int64_t groups, Lines* lines) {
  if (groups > MAX_SPARSE_GROUPS) return false;
  const uint32_t panel_bytes = static_cast<uint32_t>(groups) * group_bytes(Format::Q4_SPARSE);
  uint32_t scales = 0, line = static_cast<uint32_t>(first_line(groups));
  int count = 0, used = 0;
  for (int64_t g = 0; g < groups; ++g, q += tile_bytes_per_token_group(false)) {
    const int first = count;
    const TileGroup token = tile_group(q, 1, false);
    count += list_columns(token.q, line, lines->columns + first, lines->inputs + first);
    const uint32_t group_scales = scales;
    line += GROUP * LINE_BYTES, scales += LINE_SCALES_BYTES;
    if (count == first) continue;
    for (; count % 4 != 0; ++count)
      lines->columns[count] = lines->columns[first], lines->inputs[count] = 0;
    lines->num_quads[used] = (count - first) / 4;
    lines->input_scale[used] = *token.scale;
    lines->minus_8_sum[used] = *token.minus_8_sum;
    lines->scales[used++] = group_scales;
  }
  lines->num_groups = used;
  for (int i = 0; i < PREFETCH_LINES; ++i)
    lines->columns[count + i] = count > 0 ? panel_bytes + lines->columns[i] : 0;
  for (int i = 0; i < PREFETCH_GROUPS; ++i)
    lines->scales[used + i] = used > 0 ? panel_bytes + lines->scales[i] : 0;
  return true;
}

// For one token: columns whose input is zero are neither prefetched nor read. They would add
// nothing to an exact sum, and a group of zeros nothing to the float one, so the bits are those of
// `matmul_dense_lines`.
UNDERSTUDY_NOINLINE static void matmul_sparse(const uint8_t* panel, const Lines& lines, float* out,
                                              bool accumulate) {
  F sums[LINE_PARTS];
  UNDERSTUDY_UNROLL
  for (int i = 0; i < LINE_PARTS; ++i) sums[i] = zero();
  const uint32_t* column = lines.columns;
  const int8_t* inputs = lines.inputs;
  for (int64_t g = 0; g < lines.num_groups; ++g) {
    for (size_t at = 0; at < LINE_SCALES_BYTES; at += 64)
      prefetch_l2(panel + lines.scales[g + PREFETCH_GROUPS] + at);
    I dots[LINE_PARTS];
    UNDERSTUDY_UNROLL
    for (int i = 0; i < LINE_PARTS; ++i) dots[i] = splat_int(lines.minus_8_sum[g]);
    for (int quad = 0; quad < lines.num_quads[g]; ++quad, column += 4, inputs += 4) {
      UNDERSTUDY_UNROLL
      for (int c = 0; c < 4; ++c) prefetch_l2(panel + column[PREFETCH_LINES + c]);
      UNDERSTUDY_UNROLL
      for (int half = 0; half < HALVES; ++half) {
        const uint8_t* from = panel + half * LANES * 4;
        const Quads w =
            interleave(from + column[0], from + column[1], from + column[2], from + column[3]);
        UNDERSTUDY_UNROLL
        for (int i = 0; i < 4; ++i) {
          I &low = dots[i * HALVES + half], &high = dots[(i + 4) * HALVES + half];
          low = dot_quad(low, low_nibbles(w.slice[i]), inputs);
          high = dot_quad(high, high_nibbles(w.slice[i]), inputs);
        }
      }
    }
    const F input_scale = set(lines.input_scale[g]);
    const uint16_t* scales = reinterpret_cast<const uint16_t*>(panel + lines.scales[g]);
    UNDERSTUDY_UNROLL
    for (int i = 0; i < LINE_PARTS; ++i)
      sums[i] = fma(mul(to_float(dots[i]), load_f16(scales + i * LANES)), input_scale, sums[i]);
  }
  UNDERSTUDY_UNROLL
  for (int i = 0; i < LINE_PARTS; ++i) finish<1>(sums + i, out + i * LANES, 0, accumulate);
}

// The lines of a group as bytes: for every 16 rows eight quads, [8][16 rows][4 columns].
UNDERSTUDY_INLINE void unpack_lines(const uint8_t* lines, uint8_t* out) {
  for (int quad = 0; quad < GROUP / 4; ++quad) UNDERSTUDY_UNROLL
  for (int half = 0; half < HALVES; ++half) {
    const uint8_t* from = lines + 4 * quad * LINE_BYTES + half * LANES * 4;
    uint8_t* to = out + 64 * quad + half * LANES * 4;
    const Quads w =
        interleave(from, from + LINE_BYTES, from + 2 * LINE_BYTES, from + 3 * LINE_BYTES);
    UNDERSTUDY_UNROLL
    for (int i = 0; i < 4; ++i) {
      store_quad(to + 512 * i, low_nibbles(w.slice[i]));
      store_quad(to + 512 * (i + 4), high_nibbles(w.slice[i]));
    }
  }
}

constexpr int LINE_GROUPS = 4;  // unpacked together into the L1 cache,
constexpr int FEW_TOKENS =
    8;  // but for so few tokens, which wait for memory: it likes an even step
constexpr int QUADS_BYTES = MAX_PANEL_ROWS * GROUP;
static_assert(CACHED_TOKENS % TILE_TOKENS == 0,
              "only the last part of a batch may end inside a tile");

// What `count` unpacked groups give to one tile of tokens, the first `parts` times LANES rows: sums
// += …, as `matmul_integer` does it. The lines `next`, if any, are prefetched evenly over the
// products.
template <int WIDTH, bool IS_INT12>
UNDERSTUDY_NOINLINE static void add_lines(const uint8_t* scales, const uint8_t* quads, int parts,
                                          int count, const uint8_t* tile, const uint8_t* next,
                                          float* out) {
  for (int part = 0; part < parts; ++part, out += WIDTH * LANES) {
    F sums[WIDTH];
    UNDERSTUDY_UNROLL
    for (int t = 0; t < WIDTH; ++t) sums[t] = load(out + t * LANES);
    const uint8_t* a = tile;
    for (int g = 0; g < count; ++g, a += WIDTH * tile_bytes_per_token_group(IS_INT12)) {
      for (int line = 0; next != nullptr && line < GROUP / LINE_PARTS; ++line)
        prefetch_l2(next + (g * GROUP + part * (GROUP / LINE_PARTS) + line) * LINE_BYTES);
      const TileGroup tokens = tile_group(a, WIDTH, IS_INT12);
      const Weights w =
          load_quads(quads + g * QUADS_BYTES + part / HALVES * 512 + part % HALVES * LANES * 4);
      const F w_scale = load_f16(reinterpret_cast<const uint16_t*>(scales + g * LINE_SCALES_BYTES) +
                                 part * LANES);
      UNDERSTUDY_UNROLL
      for (int t = 0; t < WIDTH; ++t) {
        const I dot = dot_group<Format::Q4_SPARSE, IS_INT12>(w, tokens, t);
        sums[t] = fma(mul(to_float(dot), w_scale), set(tokens.scale[t]), sums[t]);
      }
    }
    UNDERSTUDY_UNROLL
    for (int t = 0; t < WIDTH; ++t) store(out + t * LANES, sums[t]);
  }
}

template <bool IS_INT12, int WIDTH = TILE_TOKENS>
UNDERSTUDY_INLINE void add_lines_to(int width, const uint8_t* scales, const uint8_t* quads,
                                    int parts, int count, const uint8_t* tile, const uint8_t* next,
                                    float* out) {
  if (width == WIDTH)
    return add_lines<WIDTH, IS_INT12>(scales, quads, parts, count, tile, next, out);
  if constexpr (WIDTH > 1)
    add_lines_to<IS_INT12, WIDTH - 1>(width, scales, quads, parts, count, tile, next, out);
}

// All lines of one panel, the first `parts` times LANES of its rows, for any number of tokens: some
// groups are unpacked once for all of them.
template <bool IS_INT12>
static void matmul_dense_lines(const uint8_t* panel, int64_t groups, int parts, const uint8_t* q,
                               int num_tokens, float* out, int64_t stride, bool accumulate) {
  constexpr int64_t TOKEN_BYTES = tile_bytes_per_token_group(IS_INT12);
  const int max_together = num_tokens > FEW_TOKENS ? LINE_GROUPS : 1;
  alignas(64) uint8_t quads[LINE_GROUPS * QUADS_BYTES];
  alignas(64) float sums[CACHED_TOKENS * MAX_PANEL_ROWS];
  for (int first = 0; first < num_tokens; first += CACHED_TOKENS) {
    const int count = num_tokens - first < CACHED_TOKENS ? num_tokens - first : CACHED_TOKENS;
    for (int i = 0; i < count * MAX_PANEL_ROWS; i += LANES) store(sums + i, zero());
    for (int64_t g = 0; g < groups; g += max_together) {
      const int together = groups - g < max_together ? static_cast<int>(groups - g) : max_together;
      const uint8_t *scales = panel + g * LINE_SCALES_BYTES,
                    *lines = panel + first_line(groups) + g * GROUP * LINE_BYTES;
      for (int i = 0; i < together; ++i) {
        for (size_t at = 0; at < LINE_SCALES_BYTES; at += 64)
          prefetch_l2(scales + (PREFETCH_GROUPS + i) * LINE_SCALES_BYTES + at);
        unpack_lines(lines + i * GROUP * LINE_BYTES, quads + i * QUADS_BYTES);
      }
      for (int token = 0; token < count; token += TILE_TOKENS) {
        const int width = count - token < TILE_TOKENS ? count - token : TILE_TOKENS;
        const uint8_t* a = q + ((first + token) * groups + g * width) * TOKEN_BYTES;
        add_lines_to<IS_INT12>(width, scales, quads, parts, together, a,
                               token > 0 ? nullptr : lines + PREFETCH_LINES_BYTES,
                               sums + token * MAX_PANEL_ROWS);
      }
    }
    for (int t = 0; t < count; ++t) {
      const int tile = t / TILE_TOKENS * TILE_TOKENS,
                width = count - tile < TILE_TOKENS ? count - tile : TILE_TOKENS;
      for (int part = 0; part < parts; ++part) {
        float* y = out + (first + t) * stride + part * LANES;
        const F sum = load(sums + tile * MAX_PANEL_ROWS + (part * width + t - tile) * LANES);
        store(y, accumulate ? add(load(y), sum) : sum);
      }
    }
  }
}

static void matmul_dense_line_panels(const Block& block) {
  constexpr int SLICES = MAX_PANEL_ROWS / PANEL_ROWS;
  for (int first = 0; first < block.num_panels; first += SLICES) {
    const int left = block.num_panels - first, slices = left < SLICES ? left : SLICES;
    (block.is_int12 ? matmul_dense_lines<true>
                    : matmul_dense_lines<false>)(block.panels + first / SLICES * block.panel_bytes,
                                                 block.groups, slices * HALVES, block.q,
                                                 block.num_tokens, block.out + first * PANEL_ROWS,
                                                 block.stride, block.accumulate);
  }
}

static void matmul_lines(const uint8_t* panel, int64_t groups, const TileIn& tile, float* out,
                         int64_t stride, bool accumulate) {
  if (tile.width == 1 && tile.lines != nullptr)
    return matmul_sparse(panel, *tile.lines, out, accumulate);
  (tile.is_int12 ? matmul_dense_lines<true> : matmul_dense_lines<false>)(panel, groups, LINE_PARTS,
                                                                         tile.q, tile.width, out,
                                                                         stride, accumulate);
}
