// Attention over pages of keys and values, and the merge of its chunks: part of generic.inl.

template <KvFormat KV>
UNDERSTUDY_INLINE F load_page(const uint8_t* page, int64_t index) {
  if (KV == KvFormat::INT8) return load_i8(reinterpret_cast<const int8_t*>(page) + index);
  if (KV == KvFormat::F32) return load(reinterpret_cast<const float*>(page) + index);
  return load_f16(reinterpret_cast<const uint16_t*>(page) + index);
}

constexpr int64_t element_bytes(KvFormat format) {
  return format == KvFormat::INT8 ? 1 : format == KvFormat::F16 ? 2 : 4;
}

// Pages of a head lie apart, so the hardware's stream detection starts anew at each: while the keys
// or the values of one page are worked on, those of the page `PREFETCH_HALVES` half pages later are
// prefetched, first all keys, then all values.
constexpr int PREFETCH_HALVES = 2;
template <KvFormat KV>
UNDERSTUDY_INLINE const uint8_t* prefetched_half(const AttendChunk& c, int half) {
  const int last = 2 * c.num_pages - 1,
            at = half + PREFETCH_HALVES < last ? half + PREFETCH_HALVES : last;
  const bool is_value = at >= c.num_pages;
  return c.pages[is_value ? at - c.num_pages : at] +
         (is_value ? c.head_dim * PAGE * element_bytes(KV) : 0);
}

// Scores of ROWS queries against the 32 positions of PAGES pages: lanes are positions, dimensions
// are summed in order.
template <KvFormat KV, int ROWS, int PAGES>
UNDERSTUDY_INLINE void score_pages(const AttendChunk& c, int first_page, int first_row,
                                   float* scores) {
  F sums[PAGES][ROWS][BLOCK_VECTORS];
  UNDERSTUDY_UNROLL
  for (int i = 0; i < PAGES; ++i) UNDERSTUDY_UNROLL
  for (int r = 0; r < ROWS; ++r) UNDERSTUDY_UNROLL
  for (int v = 0; v < BLOCK_VECTORS; ++v) sums[i][r][v] = zero();
  const float* q[ROWS];
  UNDERSTUDY_UNROLL
  for (int r = 0; r < ROWS; ++r) q[r] = c.q[first_row + r];
  const uint8_t *page[PAGES], *next[PAGES];
  UNDERSTUDY_UNROLL
  for (int i = 0; i < PAGES; ++i)
    page[i] = c.pages[first_page + i], next[i] = prefetched_half<KV>(c, first_page + i);
  for (int d = 0; d < c.head_dim; ++d) {
    UNDERSTUDY_UNROLL
    for (int i = 0; i < PAGES; ++i) {
      F key[BLOCK_VECTORS];
      prefetch(next[i] + d * PAGE * element_bytes(KV));
      UNDERSTUDY_UNROLL
      for (int v = 0; v < BLOCK_VECTORS; ++v) {
        const int position = v * LANES;
        key[v] = load_page<KV>(
            page[i], (static_cast<int64_t>(position / 16) * c.head_dim + d) * 16 + position % 16);
      }
      UNDERSTUDY_UNROLL
      for (int r = 0; r < ROWS; ++r) {
        const F query = set(q[r][d]);
        UNDERSTUDY_UNROLL
        for (int v = 0; v < BLOCK_VECTORS; ++v) sums[i][r][v] = fma(query, key[v], sums[i][r][v]);
      }
    }
  }
  UNDERSTUDY_UNROLL
  for (int i = 0; i < PAGES; ++i) {
    const float* scale = reinterpret_cast<const float*>(
        page[i] + static_cast<int64_t>(c.head_dim + c.padded_dim) * PAGE);
    UNDERSTUDY_UNROLL
    for (int r = 0; r < ROWS; ++r) UNDERSTUDY_UNROLL
    for (int v = 0; v < BLOCK_VECTORS; ++v)
      store(scores + r * CHUNK + i * PAGE + v * LANES,
            KV == KvFormat::INT8 ? mul(sums[i][r][v], load(scale + v * LANES)) : sums[i][r][v]);
  }
}

// What stands before a query's window is as unlikely as what it may not see yet.
UNDERSTUDY_INLINE void mask_before(float* scores, int count, int first) {
  const float before = static_cast<float>(-first);  // i < first where -i > -first
  for (int i = 0; i < count && i < first; i += LANES) {
    const F backwards = sub(zero(), add(iota(), set(static_cast<float>(i))));
    store(scores + i, select_above(backwards, before, load(scores + i), set(-1e30f)));
  }
}

// The numerators of softmax: scores <- exp(s - max), with positions beyond the query's limit at
// exactly 0; then int8 value scales are folded in.
template <KvFormat KV>
UNDERSTUDY_INLINE void softmax_numerators(const AttendChunk& c, int row, float* scores) {
  const int count = c.num_pages * PAGE;
  const float last = static_cast<float>(c.limits[row] - c.start);
  if (c.firsts != nullptr) mask_before(scores, count, c.firsts[row] - c.start);
  F top = set(-1e30f);
  for (int i = 0; i < count; i += LANES) {
    const F s =
        select_above(add(iota(), set(static_cast<float>(i))), last, load(scores + i), set(-1e30f));
    store(scores + i, s);
    top = max(top, s);
  }
  const float m = reduce_max(top);
  F total = zero();
  for (int i = 0; i < count; i += LANES) {
    const F weight = exponential(sub(load(scores + i), set(m)));
    total = add(total, weight);
    store(scores + i, weight);
  }
  c.m[row] = m;
  c.l[row] = reduce_add(total);
  if (KV != KvFormat::INT8) return;
  for (int page = 0; page < c.num_pages; ++page) {
    const float* scale =
        reinterpret_cast<const float*>(c.pages[page] +
                                       static_cast<int64_t>(c.head_dim + c.padded_dim) * PAGE) +
        PAGE;
    for (int i = 0; i < PAGE; i += LANES)
      store(scores + page * PAGE + i, mul(load(scores + page * PAGE + i), load(scale + i)));
  }
}

// out[row] = Σ weight · v for ROWS rows and BLOCKS times 32 dimensions from block `first` on:
// positions in rising order. The sums stay in registers over all pages, so that a page's values are
// read as they lie.
template <KvFormat KV, int ROWS, int BLOCKS>
UNDERSTUDY_INLINE void weighted_values_blocks(const AttendChunk& c, int first_row,
                                              const float* scores, int last_position, int first) {
  F sums[BLOCKS][ROWS][BLOCK_VECTORS];
  UNDERSTUDY_UNROLL
  for (int b = 0; b < BLOCKS; ++b) UNDERSTUDY_UNROLL
  for (int r = 0; r < ROWS; ++r) UNDERSTUDY_UNROLL
  for (int v = 0; v < BLOCK_VECTORS; ++v) sums[b][r][v] = zero();
  const int64_t begin =
      static_cast<int64_t>(c.head_dim) * PAGE + static_cast<int64_t>(first) * PAGE * 32;
  for (int page = 0; page < c.num_pages; ++page) {
    const uint8_t* next =
        prefetched_half<KV>(c, c.num_pages + page) + first * PAGE * 32 * element_bytes(KV);
    const int left = last_position - page * PAGE + 1, count = left < PAGE ? left : PAGE;
    for (int p = 0; p < count; ++p) {
      UNDERSTUDY_UNROLL
      for (int b = 0; b < BLOCKS; ++b) {
        const int64_t offset = begin + b * PAGE * 32;
        F value[BLOCK_VECTORS];
        prefetch(next + (b * PAGE + p) * 32 * element_bytes(KV));
        UNDERSTUDY_UNROLL
        for (int v = 0; v < BLOCK_VECTORS; ++v)
          value[v] = load_page<KV>(c.pages[page], offset + p * 32 + v * LANES);
        UNDERSTUDY_UNROLL
        for (int r = 0; r < ROWS; ++r) {
          const F weight = set(scores[r * CHUNK + page * PAGE + p]);
          UNDERSTUDY_UNROLL
          for (int v = 0; v < BLOCK_VECTORS; ++v)
            sums[b][r][v] = fma(weight, value[v], sums[b][r][v]);
        }
      }
    }
  }
  UNDERSTUDY_UNROLL
  for (int b = 0; b < BLOCKS; ++b) UNDERSTUDY_UNROLL
  for (int r = 0; r < ROWS; ++r) UNDERSTUDY_UNROLL
  for (int v = 0; v < BLOCK_VECTORS; ++v)
    store(c.out + static_cast<int64_t>(first_row + r) * c.padded_dim + (first + b) * 32 + v * LANES,
          sums[b][r][v]);
}

// All dimensions, as many at a time as there are registers for their sums.
template <KvFormat KV, int ROWS, int BLOCKS = 4>
UNDERSTUDY_INLINE void weighted_values(const AttendChunk& c, int first_row, const float* scores,
                                       int last_position, int first = 0) {
  if constexpr (BLOCKS * ROWS <= ATTEND_QUERIES || BLOCKS == 1)
    for (; first + BLOCKS <= c.padded_dim / 32; first += BLOCKS)
      weighted_values_blocks<KV, ROWS, BLOCKS>(c, first_row, scores, last_position, first);
  if constexpr (BLOCKS > 1)
    weighted_values<KV, ROWS, BLOCKS / 2>(c, first_row, scores, last_position, first);
}

template <KvFormat KV, int ROWS>
UNDERSTUDY_NOINLINE static void attend_queries(const AttendChunk& c, int first_row) {
  float* scores = c.scores + first_row * CHUNK;
  int page = 0;
  if constexpr (2 * ROWS <= ATTEND_QUERIES)
    for (; page + 2 <= c.num_pages; page += 2)
      score_pages<KV, ROWS, 2>(c, page, first_row, scores + page * PAGE);
  for (; page < c.num_pages; ++page)
    score_pages<KV, ROWS, 1>(c, page, first_row, scores + page * PAGE);
  int last_position = 0;
  UNDERSTUDY_UNROLL
  for (int r = 0; r < ROWS; ++r) {
    softmax_numerators<KV>(c, first_row + r, scores + r * CHUNK);
    const int last = c.limits[first_row + r] - c.start;
    last_position = last > last_position ? last : last_position;
  }
  weighted_values<KV, ROWS>(c, first_row, scores, last_position);
}

template <KvFormat KV, int ROWS = ATTEND_QUERIES>
static void attend_dispatch(const AttendChunk& c, int first_row, int rows) {
  if (rows == ROWS) return attend_queries<KV, ROWS>(c, first_row);
  if constexpr (ROWS > 1) attend_dispatch<KV, ROWS - 1>(c, first_row, rows);
}

static void attend(const AttendChunk& c) {
  for (int row = 0; row < c.num_queries; row += ATTEND_QUERIES) {
    const int rows = c.num_queries - row < ATTEND_QUERIES ? c.num_queries - row : ATTEND_QUERIES;
    switch (c.format) {
      case KvFormat::F16: attend_dispatch<KvFormat::F16>(c, row, rows); break;
      case KvFormat::INT8: attend_dispatch<KvFormat::INT8>(c, row, rows); break;
      case KvFormat::F32: attend_dispatch<KvFormat::F32>(c, row, rows); break;
    }
  }
}

static void merge(float* m, float* l, float* acc, float m2, float l2, const float* acc2,
                  int padded_dim) {
  const float top = *m > m2 ? *m : m2;
  float both[LANES] = {*m - top, m2 - top};
  store(both, exponential(load(both)));
  const F a = set(both[0]), b = set(both[1]);
  for (int d = 0; d < padded_dim; d += LANES)
    store(acc + d, fma(load(acc2 + d), b, mul(load(acc + d), a)));
  *l = *l * both[0] + l2 * both[1];
  *m = top;
}
