// Products of Q3 panels with many tokens: part of generic.inl.

constexpr int UNPACKED_GROUPS = 16;  // together in the L1 cache
constexpr int MAX_PACKED_TOKENS =    // up to so many a group is unpacked anew for every tile
    TILE_TOKENS < MAX_TILE ? 2 * TILE_TOKENS : TILE_TOKENS;

// Looking codes up takes twice the instructions of splitting nibbles: for many tokens a group is
// unpacked once.
struct alignas(64) UnpackedGroup {
  uint8_t quads[PANEL_ROWS * GROUP];
  float scales[PANEL_ROWS];
};
UNDERSTUDY_INLINE void unpack_group(const uint8_t* group, UnpackedGroup* out) {
  UNDERSTUDY_UNROLL
  for (int part = 0; part < HALVES; ++part) {
    store_quads(out->quads + part * LANES * 4, unpack<Format::Q3>(group, part));
    store(out->scales + part * LANES, group_scale<Format::Q3>(group, part));
  }
}

// What `count` groups give to one tile of tokens and LANES rows: sums += …, as `matmul_integer`
// does it.
template <int WIDTH, bool IS_INT12>
UNDERSTUDY_NOINLINE static void add_groups(const UnpackedGroup* groups, int count, int part,
                                           const uint8_t* tile, float* out) {
  F sums[WIDTH];
  UNDERSTUDY_UNROLL
  for (int t = 0; t < WIDTH; ++t) sums[t] = load(out + t * LANES);
  for (int g = 0; g < count; ++g, tile += WIDTH * tile_bytes_per_token_group(IS_INT12)) {
    const TileGroup tokens = tile_group(tile, WIDTH, IS_INT12);
    const Weights w = load_quads(groups[g].quads + part * LANES * 4);
    const F w_scale = load(groups[g].scales + part * LANES);
    UNDERSTUDY_UNROLL
    for (int t = 0; t < WIDTH; ++t) {
      const I dot = dot_group<Format::Q3, IS_INT12>(w, tokens, t);
      sums[t] = fma(mul(to_float(dot), w_scale), set(tokens.scale[t]), sums[t]);
    }
  }
  UNDERSTUDY_UNROLL
  for (int t = 0; t < WIDTH; ++t) store(out + t * LANES, sums[t]);
}

template <bool IS_INT12, int WIDTH = TILE_TOKENS>
UNDERSTUDY_INLINE void add_groups_to(int width, const UnpackedGroup* groups, int count, int part,
                                     const uint8_t* tile, float* out) {
  if (width == WIDTH) return add_groups<WIDTH, IS_INT12>(groups, count, part, tile, out);
  if constexpr (WIDTH > 1)
    add_groups_to<IS_INT12, WIDTH - 1>(width, groups, count, part, tile, out);
}

// One panel for up to CACHED_TOKENS tokens.
template <bool IS_INT12>
static void matmul_unpacked(const uint8_t* panel, int64_t groups, const uint8_t* q, int num_tokens,
                            float* out, int64_t stride, bool accumulate) {
  constexpr int64_t SIZE = group_bytes(Format::Q3),
                    TOKEN_BYTES = tile_bytes_per_token_group(IS_INT12);
  UnpackedGroup unpacked[UNPACKED_GROUPS];
  alignas(64) float sums[CACHED_TOKENS * PANEL_ROWS];
  for (int i = 0; i < num_tokens * PANEL_ROWS; i += LANES) store(sums + i, zero());
  const uint8_t* group = panel + head_bytes(Format::Q3);
  for (int64_t g = 0; g < groups; g += UNPACKED_GROUPS) {
    const int together =
        groups - g < UNPACKED_GROUPS ? static_cast<int>(groups - g) : UNPACKED_GROUPS;
    for (int i = 0; i < together; ++i, group += SIZE) {
      for (int64_t line = 0; line < SIZE; line += 64) prefetch_l2(group + PREFETCH_BYTES + line);
      unpack_group(group, unpacked + i);
    }
    for (int token = 0; token < num_tokens; token += TILE_TOKENS) {
      const int left = num_tokens - token, width = left < TILE_TOKENS ? left : TILE_TOKENS;
      const uint8_t* tile = q + (token * groups + g * width) * TOKEN_BYTES;
      for (int part = 0; part < HALVES; ++part)
        add_groups_to<IS_INT12>(width, unpacked, together, part, tile,
                                sums + token * PANEL_ROWS + part * width * LANES);
    }
  }
  for (int t = 0; t < num_tokens; ++t) {
    const int tile = t / TILE_TOKENS * TILE_TOKENS, left = num_tokens - tile,
              width = left < TILE_TOKENS ? left : TILE_TOKENS;
    for (int part = 0; part < HALVES; ++part) {
      F sum = load(sums + tile * PANEL_ROWS + (part * width + t - tile) * LANES);
      scale_rows<1>(&sum, panel + 4 * part * LANES);
      finish<1>(&sum, out + t * stride + part * LANES, stride, accumulate);
    }
  }
}

static void matmul_q3_panels(const Block& block) {
  if (block.num_tokens <= MAX_PACKED_TOKENS) return matmul_panels<Format::Q3>(block);
  const int64_t token_bytes = block.groups * tile_bytes_per_token_group(block.is_int12);
  for (int token = 0; token < block.num_tokens; token += CACHED_TOKENS) {
    const int left = block.num_tokens - token, count = left < CACHED_TOKENS ? left : CACHED_TOKENS;
    for (int i = 0; i < block.num_panels; ++i)
      (block.is_int12 ? matmul_unpacked<true>
                      : matmul_unpacked<false>)(block.panels + i * block.panel_bytes, block.groups,
                                                block.q + token * token_bytes, count,
                                                block.out + token * block.stride + i * PANEL_ROWS,
                                                block.stride, block.accumulate);
  }
}
