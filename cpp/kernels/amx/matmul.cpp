// A token tile is the A operand as `quantize` lays it out, [16 tokens][32] int8; a group of a
// panel, unpacked to signed int8, is the B operand as the panel lays it out, [8 quads][16 rows][4].
// One instruction gives the exact int32 sums of a group for 16 tokens and 16 rows. What is left
// bounds this kernel, the conversion and scaling of each sum:
//   sum += (float(dot) · w_scale) · a_scale                  (the order of matmul.inl)
// While tiles are in use the core multiplies on one of its two vector ports only, so what can be an
// integer addition is one: with M = 1.5 · 2^23, as_float(dot + as_int(M)) = M + dot for |dot| <
// 2^22, and fma(M + dot, w_scale, -M · w_scale) rounds dot · w_scale once, as the product does,
// because M · w_scale is exact: w_scale is an f16. A block of columns of some panels is unpacked
// once into the L1 cache and all tokens pass over it; their sums rest in a workspace between
// blocks.
#include "matmul.h"

#include <immintrin.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdlib>
#include <cstring>

#include "../avx512_vbmi/simd.h"

namespace understudy::amx {
namespace {

using F = __m512;
using I = __m512i;

constexpr int TOKENS = MAX_TILE;
constexpr int PANELS = BLOCK_PANELS;  // panels that a token tile meets while it is in the L1 cache
constexpr int BLOCK_GROUPS = 18;      // groups unpacked at a time, half as many for 12-bit inputs
constexpr int TILE = GROUP * PANEL_ROWS;

// What one panel's group becomes: the B operand, then scales (and minima) as floats.
struct alignas(64) Unpacked {
  int8_t weights[2 * TILE];
  float scale[PANEL_ROWS], minimum[PANEL_ROWS];
};

struct alignas(64) Scratch {
  Unpacked panels[PANELS][BLOCK_GROUPS];
  int32_t dots[4][TOKENS][PANEL_ROWS];
};

// 12-bit inputs take 64 columns where 16·w fits a byte, and else a product of their own for the low
// bytes.
constexpr bool is_wide(Format format) { return format == Format::Q8 || format == Format::Q3; }
constexpr bool is_joined(Format format, bool is_int12) { return is_int12 && !is_wide(format); }
constexpr bool is_split(Format format, bool is_int12) { return is_int12 && is_wide(format); }

struct Config {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

// Tiles 0, 1: sums; 2, 3: tokens; 4, 5: weights; 6, 7: sums of low bytes.
void configure(int columns) {
  Config config;
  for (int i = 0; i < 8; ++i) {
    config.rows[i] = i == 4 || i == 5 ? static_cast<uint8_t>(columns / 4) : TOKENS;
    config.bytes[i] = i == 2 || i == 3 ? static_cast<uint16_t>(columns) : 4 * PANEL_ROWS;
  }
  asm volatile(
      "ldtilecfg %0" ::"m"(config));  // gcc 12's intrinsic claims to read 8 of the 64 bytes
}

UNDERSTUDY_INLINE F load_f16(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// Joined, 16·w stands before w: the operands of q's high and low bytes.
template <bool IS_JOINED>
UNDERSTUDY_INLINE void store_weights(int quad, I w, Unpacked& out) {
  if (IS_JOINED)
    _mm512_store_si512(out.weights + 64 * quad,
                       _mm512_slli_epi16(_mm512_and_si512(w, _mm512_set1_epi8(15)), 4));
  _mm512_store_si512(out.weights + (IS_JOINED ? TILE : 0) + 64 * quad, w);
}

// Three-bit codes, looked up as signed values; the rows' scales are for the end of the sums.
void unpack_q3(const uint8_t* group, Unpacked& out) {
  const I rows = _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(group)));
  _mm512_store_ps(out.scale, _mm512_cvtepi32_ps(_mm512_srai_epi32(rows, 1)));
  const avx512::Weights w =
      avx512::shift_q3(avx512_vbmi::unpack_q3(group + PANEL_ROWS), avx512::q3_shifts(group));
  for (int i = 0; i < 8; ++i)
    store_weights<false>(i, _mm512_sub_epi8(w.quad[i], _mm512_set1_epi8(Q3_OFFSET)), out);
}

template <Format FORMAT, bool IS_INT12>
void unpack(const uint8_t* group, Unpacked& out) {
  if constexpr (FORMAT == Format::Q3) return unpack_q3(group, out);
  constexpr int HEADER = FORMAT == Format::Q4_1 ? 64 : 32;
  const I low = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8), top = _mm512_set1_epi8(-128);
  const auto put = [&](int quad, I u) {
    const I w = FORMAT == Format::Q4   ? _mm512_sub_epi8(u, eight)
                : FORMAT == Format::Q8 ? _mm512_xor_si512(u, top)
                                       : u;
    store_weights<is_joined(FORMAT, IS_INT12)>(quad, w, out);
  };
  _mm512_store_ps(out.scale, load_f16(group));
  if (FORMAT == Format::Q4_1) _mm512_store_ps(out.minimum, load_f16(group + 32));
  if (FORMAT == Format::Q8) {
    for (int i = 0; i < 8; ++i) put(i, _mm512_loadu_si512(group + HEADER + 64 * i));
    return;
  }
  for (int i = 0; i < 4; ++i) {
    const I packed = _mm512_loadu_si512(group + HEADER + 64 * i);
    put(i, _mm512_and_si512(packed, low));
    put(i + 4, _mm512_and_si512(_mm512_srli_epi16(packed, 4), low));
  }
}

// Slice `slice` of a Q4_SPARSE panel: of every four lines the bytes interleaved, as the order of
// its rows wants it.
template <bool IS_INT12>
void unpack_lines(const uint8_t* scales, const uint8_t* lines, int slice, Unpacked& out) {
  const I low = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
  _mm512_store_ps(out.scale, load_f16(scales + 2 * PANEL_ROWS * slice));
  const auto put = [&](auto bytes, auto pairs) __attribute__((always_inline)) {
    for (int quad = 0; quad < 8; ++quad, lines += 4 * LINE_BYTES) {
      const auto line = [&](int c) { return _mm512_loadu_si512(lines + c * LINE_BYTES); };
      const I packed = pairs(bytes(line(0), line(1)), bytes(line(2), line(3)));
      const I u = _mm512_and_si512(slice < 4 ? packed : _mm512_srli_epi16(packed, 4), low);
      store_weights<IS_INT12>(quad, _mm512_sub_epi8(u, eight), out);
    }
  };
  const auto low_bytes = [](I a, I b) { return _mm512_unpacklo_epi8(a, b); };
  const auto high_bytes = [](I a, I b) { return _mm512_unpackhi_epi8(a, b); };
  const auto low_pairs = [](I a, I b) { return _mm512_unpacklo_epi16(a, b); };
  const auto high_pairs = [](I a, I b) { return _mm512_unpackhi_epi16(a, b); };
  switch (slice % 4) {
    case 0: return put(low_bytes, low_pairs);
    case 1: return put(low_bytes, high_pairs);
    case 2: return put(high_bytes, low_pairs);
    default: return put(high_bytes, high_pairs);
  }
}

// A block of groups of a slice of a Q4_SPARSE panel. Each slice prefetches an eighth of what comes
// in the panel's place next.
template <bool IS_INT12>
void unpack_line_panel(const Block& block, int index, int64_t from, int groups, Unpacked* out) {
  constexpr int SLICES = MAX_PANEL_ROWS / PANEL_ROWS;
  const int slice = index % SLICES;
  const uint8_t* panel = block.panels + index / SLICES * block.panel_bytes;
  const uint8_t *scales = panel + from * LINE_SCALES_BYTES,
                *lines = panel + first_line(block.groups) + from * GROUP * LINE_BYTES;
  const bool is_last = (index / SLICES + 1) * SLICES >= block.num_panels;
  const uint8_t* next = is_last ? block.panels : panel + block.panel_bytes;
  const int64_t next_group = is_last ? from + groups : from;
  const uint8_t* next_lines =
      next + first_line(block.groups) + (next_group * GROUP + 4 * slice) * LINE_BYTES;
  const uint8_t* next_scales = next + next_group * LINE_SCALES_BYTES + slice / 2 * 64;
  for (int g = 0; g < groups; ++g, scales += LINE_SCALES_BYTES, lines += GROUP * LINE_BYTES) {
    unpack_lines<IS_INT12>(scales, lines, slice, out[g]);
    _mm_prefetch(reinterpret_cast<const char*>(next_scales + g * LINE_SCALES_BYTES), _MM_HINT_T1);
    for (int i = 0; i < 4; ++i)
      _mm_prefetch(reinterpret_cast<const char*>(next_lines + (g * GROUP + i) * LINE_BYTES),
                   _MM_HINT_T1);
  }
}

// A block of groups of one panel. What will be unpacked in its place next, the same groups of a
// later panel or later ones of a panel of the first set, is prefetched meanwhile: the products in
// between give it time to come from memory.
template <Format FORMAT, bool IS_INT12>
void unpack_panel(const Block& block, int panel, int64_t from, int groups, Unpacked* out) {
  constexpr int64_t SIZE = group_bytes(FORMAT);
  if constexpr (FORMAT == Format::Q4_SPARSE)
    return unpack_line_panel<IS_INT12>(block, panel, from, groups, out);
  const auto at = [&](int index) {
    return block.panels + index * block.panel_bytes + head_bytes(FORMAT) + from * SIZE;
  };
  const uint8_t* group = at(panel);
  const bool is_last_set = panel + PANELS >= block.num_panels;
  const uint8_t* next = is_last_set ? at(panel % PANELS) + groups * SIZE : at(panel + PANELS);
  for (int g = 0; g < groups; ++g, group += SIZE, next += SIZE) {
    unpack<FORMAT, IS_INT12>(group, out[g]);
    for (int64_t line = 0; line < SIZE; line += 64)
      _mm_prefetch(reinterpret_cast<const char*>(next + line), _MM_HINT_T1);
  }
}

// The tile numbers of an instruction are literals; `memory` on the store orders the reads of what
// it wrote.
#define LOAD_TILE(tile, pointer, stride) \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile::"r"(pointer), "r"(static_cast<int64_t>(stride)))
#define STORE_TILE(tile, pointer) \
  asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(pointer), "r"(int64_t{64}) : "memory")
#define DOT(instruction, sum, tokens, weights)                                              \
  asm volatile("tilezero %%tmm" #sum "\n\t" instruction " %%tmm" #weights ", %%tmm" #tokens \
               ", %%tmm" #sum::)
// Minima leave weights unsigned; 16 times as much is so in its byte, too.
#define START(sum, low_sum, a, b, tokens, panel) \
  do {                                           \
    LOAD_TILE(a, tokens, ROW_BYTES);             \
    LOAD_TILE(b, (panel)->weights, 64);          \
    if constexpr (FORMAT == Format::Q4_1)        \
      DOT("tdpbsud", sum, a, b);                 \
    else                                         \
      DOT("tdpbssd", sum, a, b);                 \
    if constexpr (is_split(FORMAT, IS_INT12)) {  \
      LOAD_TILE(a, (tokens) + GROUP, ROW_BYTES); \
      DOT("tdpbssd", low_sum, a, b);             \
    }                                            \
  } while (0)
#define STORE(sum, low_sum, dots)                                                     \
  do {                                                                                \
    STORE_TILE(sum, dots);                                                            \
    if constexpr (is_split(FORMAT, IS_INT12)) STORE_TILE(low_sum, dots + 2 * TOKENS); \
  } while (0)

constexpr float MAGIC = 12582912.0f;

template <Format FORMAT, bool IS_INT12, int WIDTH>
UNDERSTUDY_INLINE void scale_group(const uint8_t* scales, const Unpacked& panel,
                                   const int32_t (*dots)[PANEL_ROWS], F* sums) {
  const float* a_scale = reinterpret_cast<const float*>(scales);
  const F scale = _mm512_load_ps(panel.scale),
          offset = _mm512_mul_ps(scale, _mm512_set1_ps(-MAGIC));
  const I magic = _mm512_castps_si512(_mm512_set1_ps(MAGIC));
  UNDERSTUDY_UNROLL
  for (int t = 0; t < WIDTH; ++t) {
    F product;
    if constexpr (is_split(FORMAT, IS_INT12)) {  // up to 2^23
      const I high = _mm512_slli_epi32(_mm512_load_si512(dots[t]), 4);
      const I dot = _mm512_add_epi32(high, _mm512_load_si512(dots[t + 2 * TOKENS]));
      product = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), scale);
    } else {
      const F dot = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_load_si512(dots[t]), magic));
      product = _mm512_fmadd_ps(dot, scale, offset);
    }
    sums[t] = _mm512_fmadd_ps(product, _mm512_set1_ps(a_scale[t]), sums[t]);
  }
  if (FORMAT != Format::Q4_1) return;
  const float* scaled_sum = a_scale + 2 * WIDTH;
  const F minimum = _mm512_load_ps(panel.minimum);
  UNDERSTUDY_UNROLL
  for (int t = 0; t < WIDTH; ++t)
    sums[t] = _mm512_fmadd_ps(_mm512_set1_ps(scaled_sum[t]), minimum, sums[t]);
}

// Where the sums of a token tile and a panel come from and go to: from nothing before the first
// block, into the output after the last, between them in a place of their own.
struct Sums {
  float* between;
  float* out;
  int64_t stride;
  bool is_first, is_last, accumulate;
  const float* row_scales;  // that end the sums of Q3
};

template <int WIDTH>
UNDERSTUDY_INLINE void begin(const Sums& at, F* sums) {
  UNDERSTUDY_UNROLL
  for (int t = 0; t < WIDTH; ++t)
    sums[t] = at.is_first ? _mm512_setzero_ps() : _mm512_load_ps(at.between + t * PANEL_ROWS);
}

template <Format FORMAT, int WIDTH>
UNDERSTUDY_INLINE void end(const Sums& at, F* sums) {
  UNDERSTUDY_UNROLL
  for (int t = 0; t < WIDTH; ++t) {
    float* y = at.out + t * at.stride;
    if (FORMAT == Format::Q3 && at.is_last)
      sums[t] = _mm512_mul_ps(sums[t], _mm512_loadu_ps(at.row_scales));
    if (!at.is_last)
      _mm512_store_ps(at.between + t * PANEL_ROWS, sums[t]);
    else
      _mm512_storeu_ps(y, at.accumulate ? _mm512_add_ps(_mm512_loadu_ps(y), sums[t]) : sums[t]);
  }
}

// sums (WIDTH tokens, one panel) += one block of groups. Step g loads the operands of group g,
// stores the sums of g - 2, starts the product of g and scales the sums of g - 3: nothing waits for
// the group before it.
template <Format FORMAT, bool IS_INT12, int WIDTH>
__attribute__((noinline)) void add_block(const uint8_t* q, int groups, const Unpacked* panel,
                                         Scratch& scratch, const Sums& at) {
  constexpr int64_t ROW_BYTES = tile_row_bytes(IS_INT12),
                    GROUP_SIZE = WIDTH * tile_bytes_per_token_group(IS_INT12);
  F sums[WIDTH];
  begin<WIDTH>(at, sums);
  int32_t (*const even)[PANEL_ROWS] = scratch.dots[0], (*const odd)[PANEL_ROWS] = scratch.dots[1];
  const uint8_t* scales = q + ROW_BYTES * WIDTH;
  const Unpacked* scaled = panel;
  const auto scale = [&](const int32_t (*dots)[PANEL_ROWS]) __attribute__((always_inline)) {
    scale_group<FORMAT, IS_INT12, WIDTH>(scales, *scaled, dots, sums);
    scales += GROUP_SIZE, ++scaled;
  };
  int g = 0;
  for (; g < groups && g < 2; ++g) {
    if (g == 0)
      START(0, 6, 2, 4, q, panel);
    else
      START(1, 7, 3, 5, q, panel);
    q += GROUP_SIZE, ++panel;
  }
  if (g < groups) {
    STORE(0, 6, even);
    START(0, 6, 2, 4, q, panel);
    q += GROUP_SIZE, ++panel, ++g;
  }
  for (; g + 1 < groups; g += 2) {
    STORE(1, 7, odd);
    START(1, 7, 3, 5, q, panel);
    scale(even);
    STORE(0, 6, even);
    START(0, 6, 2, 4, q + GROUP_SIZE, panel + 1);
    scale(odd);
    q += 2 * GROUP_SIZE, panel += 2;
  }
  if (g < groups) {  // one more, g is odd
    STORE(1, 7, odd);
    START(1, 7, 3, 5, q, panel);
    scale(even);
    ++g;
  }
  for (int left = groups < 3 ? groups : 3; left > 0; --left) {
    const bool is_odd = (groups - left) & 1;
    if (left == 3) {
      // stored already
    } else if (is_odd) {
      STORE(1, 7, odd);
    } else {
      STORE(0, 6, even);
    }
    scale(is_odd ? odd : even);
  }
  end<FORMAT, WIDTH>(at, sums);
}

template <Format FORMAT, bool IS_INT12, int WIDTH = TOKENS>
void add_width(const uint8_t* q, int width, int groups, const Unpacked* panel, Scratch& scratch,
               const Sums& at) {
  if (width == WIDTH) return add_block<FORMAT, IS_INT12, WIDTH>(q, groups, panel, scratch, at);
  if constexpr (WIDTH > 1)
    add_width<FORMAT, IS_INT12, WIDTH - 1>(q, width, groups, panel, scratch, at);
}

// Memory of one thread that only grows: the scratch, and the sums of all tokens for `count` sets of
// three panels.
struct Workspace {
  Scratch* scratch = nullptr;
  float* sums = nullptr;
  size_t size = 0;
  ~Workspace() {
    std::free(scratch);
    std::free(sums);
  }
  void reserve(size_t wanted) {
    if (scratch == nullptr)
      scratch = static_cast<Scratch*>(std::aligned_alloc(64, sizeof(Scratch)));
    if (wanted <= size) return;
    std::free(sums);
    sums = static_cast<float*>(std::aligned_alloc(64, wanted * sizeof(float)));
    size = wanted;
  }
};

}  // namespace

// Columns in blocks of at most BLOCK_GROUPS; inside, some panels; inside, all tokens.
template <Format FORMAT, bool IS_INT12>
static void multiply(const Block& block) {
  constexpr int MAX_GROUPS = IS_INT12 ? BLOCK_GROUPS / 2 : BLOCK_GROUPS;
  thread_local Workspace workspace;
  const int num_panels = block.num_panels;
  const int64_t panel_size = static_cast<int64_t>(block.num_tokens) * PANEL_ROWS;
  const int64_t blocks = (block.groups + MAX_GROUPS - 1) / MAX_GROUPS;
  workspace.reserve(blocks > 1 ? panel_size * num_panels : 0);
  Scratch& scratch = *workspace.scratch;
  configure(is_joined(FORMAT, IS_INT12) ? 2 * GROUP : GROUP);
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t from = block.groups * b / blocks;
    const int groups = static_cast<int>(block.groups * (b + 1) / blocks - from);
    for (int first = 0; first < num_panels; first += PANELS) {
      const int left = num_panels - first, count = left < PANELS ? left : PANELS;
      for (int p = 0; p < count; ++p)
        unpack_panel<FORMAT, IS_INT12>(block, first + p, from, groups, scratch.panels[p]);
      for (int t = 0; t < block.num_tokens; t += TOKENS) {
        const int rest = block.num_tokens - t, width = rest < TOKENS ? rest : TOKENS;
        const uint8_t* q =
            block.q + (t * block.groups + from * width) * tile_bytes_per_token_group(IS_INT12);
        for (int p = 0; p < count; ++p)
          add_width<FORMAT, IS_INT12>(
              q, width, groups, scratch.panels[p], scratch,
              {workspace.sums + (first + p) * panel_size + t * PANEL_ROWS,
               block.out + t * block.stride + (first + p) * PANEL_ROWS, block.stride, b == 0,
               b + 1 == blocks, block.accumulate,
               reinterpret_cast<const float*>(block.panels + (first + p) * block.panel_bytes)});
      }
    }
  }
  asm volatile("tilerelease");
}

template <Format FORMAT>
void matmul_block(const Block& block) {
  (block.is_int12 ? multiply<FORMAT, true> : multiply<FORMAT, false>)(block);
}

int64_t peak_loop(int64_t rounds) {
  static const int8_t zeros[1024] = {};
  Config config;
  for (int i = 0; i < 8; ++i) config.rows[i] = 16, config.bytes[i] = 64;
  asm volatile("ldtilecfg %0" ::"m"(config));
  LOAD_TILE(4, zeros, 64);
  LOAD_TILE(5, zeros, 64);
  for (int64_t round = 0; round < rounds; ++round)
    asm volatile(
        "tdpbssd %%tmm4, %%tmm5, %%tmm0\n\ttdpbssd %%tmm4, %%tmm5, %%tmm1\n\t"
        "tdpbssd %%tmm4, %%tmm5, %%tmm2\n\ttdpbssd %%tmm4, %%tmm5, %%tmm3" ::);
  asm volatile("tilerelease");
  return rounds * 4 * 16 * 16 * 64 * 2;
}

bool request_tiles() {
#if defined(__linux__)
  constexpr int REQUEST_PERMISSION = 0x1023,
                TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
  return false;
#endif
}

template void matmul_block<Format::Q8>(const Block&);
template void matmul_block<Format::Q4>(const Block&);
template void matmul_block<Format::Q4_1>(const Block&);
template void matmul_block<Format::Q3>(const Block&);
template void matmul_block<Format::Q4_SPARSE>(const Block&);

}  // namespace understudy::amx
