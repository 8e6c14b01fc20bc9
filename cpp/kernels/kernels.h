// The kernel table: every operation of the forward pass that is worth code for an instruction set.
// The reference target (reference.cpp) is the definition; the others overwrite the slots that they
// have.
#pragma once
#include <cstdint>

#include "../tensor.h"

// The compiler must see one straight line of register operations inside a tile, whatever its own
// estimate says.
#define UNDERSTUDY_INLINE __attribute__((always_inline)) static inline
#define UNDERSTUDY_UNROLL _Pragma("GCC unroll 16")

namespace understudy {

constexpr int PAGE = 32;  // positions in a page of the cache
constexpr int CHUNK =
    256;  // positions that one softmax pass covers; chunks are merged in rising order
constexpr int MAX_TILE = 16;            // tokens that one matmul call covers at most
constexpr int MAX_ATTEND_QUERIES = 12;  // queries that one attention call covers at most

enum class KvFormat : int { F16 = 0, INT8 = 1, F32 = 2 };

// Distances and limits below were measured: docs/log.md.
constexpr int64_t PREFETCH_BYTES = 4096;  // how far before its use a weight is prefetched,
constexpr int64_t STREAMS_PREFETCH_BYTES =
    6144;  // of all panels together that are read side by side,
constexpr int64_t MIN_STREAM_BYTES = 16 * 1024;  // as panels are from this size on,
constexpr int MAX_STREAM_TOKENS = 16;  // and up to so many tokens: more need the registers
constexpr int CACHED_TOKENS = 64;  // whose inputs stay in the L2 cache while panels pass over them
constexpr int MAX_SPARSE_GROUPS = 1024;  // of a Q4_SPARSE panel; a wider matrix is read densely
constexpr int PREFETCH_LINES = 32;  // prefetch distance where some lines of Q4_SPARSE are read,
constexpr int PREFETCH_GROUPS = 8;  // of the scales of the groups that they belong to,
constexpr int64_t PREFETCH_LINES_BYTES = 8192;  // and where all lines are

// What one token needs of a Q4_SPARSE panel, the same for all panels that it meets: the groups in
// which an input is not zero, and of these the columns, in quads, the last of a group filled up
// with inputs of zero. Where a line lies is counted from the panel's begin; the lists of places go
// on into the next panel.
struct Lines {
  int64_t num_groups;
  int num_quads[MAX_SPARSE_GROUPS];
  float input_scale[MAX_SPARSE_GROUPS];
  int32_t minus_8_sum[MAX_SPARSE_GROUPS];
  uint32_t scales[MAX_SPARSE_GROUPS + PREFETCH_GROUPS];
  uint32_t columns[MAX_SPARSE_GROUPS * GROUP + PREFETCH_LINES];
  int8_t inputs[MAX_SPARSE_GROUPS * GROUP + GROUP];
};

// Activations of `width` tokens. Float formats read `x`; integer formats read `q`, which `quantize`
// writes: for each group of 32 columns, [width][32] int8, then [width] float scale, [width] int32
// -8·Σq and [width] float scale·Σq (44 · width bytes a group). With `is_int12`, q has 12 bits and
// comes in two bytes, q = 16·high + low with low in -8 … 7: [width][32 high, 32 low] int8 (76 ·
// width bytes a group).
struct TileOut {  // to be quantized
  int width;
  const float* x;
  int64_t x_stride;
  uint8_t* q;
  bool is_int12 = false;
};
struct TileIn {  // read by the products
  int width;
  const float* x;
  int64_t x_stride;
  const uint8_t* q;
  bool is_int12 = false;
  const Lines* lines = nullptr;  // for one token, what `find_lines` found of `q`; null reads all
};
constexpr int64_t tile_row_bytes(bool is_int12) { return is_int12 ? 2 * GROUP : GROUP; }
constexpr int64_t tile_bytes_per_token_group(bool is_int12) {
  return tile_row_bytes(is_int12) + 12;
}
constexpr int largest_input(bool is_int12) { return is_int12 ? 127 * 16 : 127; }

// One group of a tile: rows of tile_row_bytes, and what belongs to each.
struct TileGroup {
  const int8_t* q;
  const float* scale;
  const int32_t* minus_8_sum;
  const float* scaled_sum;
};
UNDERSTUDY_INLINE TileGroup tile_group(const uint8_t* group, int width, bool is_int12) {
  const uint8_t* scales = group + tile_row_bytes(is_int12) * width;
  return {reinterpret_cast<const int8_t*>(group), reinterpret_cast<const float*>(scales),
          reinterpret_cast<const int32_t*>(scales + 4 * width),
          reinterpret_cast<const float*>(scales + 8 * width)};
}

// Some panels of one matrix for all tokens of a batch: tile i of 16 tokens (the last may be
// narrower) begins at q + i · 16 · groups · tile_bytes_per_token_group. Up to BLOCK_OVERREAD bytes
// behind the last may be read.
struct Block {
  const uint8_t* panels;
  int64_t panel_bytes, groups;
  int num_panels;  // of 16 rows; of Q4_SPARSE all slices of every panel, or of the last one those
                   // inside the output
  int num_tokens;
  const uint8_t* q;
  bool is_int12;
  float* out;  // of the first panel's first row
  int64_t stride;
  bool accumulate;
};
constexpr int64_t BLOCK_OVERREAD = MAX_TILE * tile_row_bytes(true);

// What an adapter adds to a matrix of (rows, columns): B A, of low rank, in F32, BF16 or int8 (Q8),
// filled up with zeros. A is [rank][columns up to a multiple of 16]; B is in panels of 64 rows,
// [rank][64]. For the embedding A is [columns][rank], one row a token of the vocabulary. `scales`
// are by rank: the adapter's scale, times those of the integers of A's row and B's column.
struct LowRank {
  Format format = Format::F32;
  int64_t rows = 0, columns = 0;
  int rank = 0;  // a multiple of LOW_RANK_MULTIPLE
  const uint8_t *a = nullptr, *b = nullptr;
  const float* scales = nullptr;

  int64_t padded_columns() const { return round_up(columns, PANEL_ROWS); }
};
constexpr int LOW_RANK_MULTIPLE = 4;
constexpr int LOW_RANK_ROWS = 64;
constexpr int MAX_LOW_RANK = 1024;
constexpr int LOW_RANK_TOKENS = 16;  // that one call covers at most
constexpr int NUM_LOW_RANK_FORMATS = 3;
constexpr int64_t low_rank_bytes(Format format) {  // of a value
  return format == Format::F32 ? 4 : format == Format::BF16 ? 2 : 1;
}

// One chunk of attention for `num_queries` queries that share a key/value head.
//   s = (q·k)·k_scale for positions start .. start + 32·num_pages - 1, -inf beyond each query's
//   limit m = max s, l = Σ exp(s - m), out = Σ exp(s - m)·v
// Page layout for one head: K [2][head_dim][16 positions], then V [padded_dim / 32][32
// positions][32], in f16 or f32; int8 pages hold the same in int8, followed by 32 float key scales
// and 32 float value scales.
struct AttendChunk {
  const uint8_t* const* pages;
  int num_pages, start, head_dim, padded_dim, num_queries;
  KvFormat format;
  const float* const* q;  // pointers to head_dim floats, already scaled by 1/sqrt(head_dim)
  const int32_t* limits;  // last position that each query may see (>= start)
  float* scores;          // scratch, num_queries x CHUNK
  float* out;             // num_queries x padded_dim
  float *m, *l;           // num_queries
  const int32_t* firsts = nullptr;  // first position that each query may see; null: 0
};

// One token of one Mamba-2 head. The state is (state_size, padded_dim), x and y are padded_dim.
//   state = decay·state + (dt·b) xᵀ;  y = cᵀ state + skip·x
struct ScanStep {
  float* state;
  const float *x, *b, *c;
  float decay, dt, skip;
  int state_size, padded_dim;  // the second a multiple of SCAN_PADDING
  float* y;
};
constexpr int SCAN_PADDING = 16;

// One token of one value head of a gated delta mixer. The state is (key_dim, padded_dim), v and y
// are padded_dim.
//   state = decay·state;  state += k (beta·(v - kᵀ state));  y = qᵀ state
struct DeltaStep {
  float* state;
  const float *q, *k, *v;
  float decay, beta;
  int key_dim, padded_dim;  // the second a multiple of SCAN_PADDING
  float* y;
};

struct Kernels {
  const char* name = nullptr;
  int tile_tokens = 0;     // best tile width, <= MAX_TILE
  int attend_queries = 0;  // best number of queries, <= MAX_ATTEND_QUERIES

  // out[t·stride + r] (= or +=) Σ_c W[r, c]·x[t, c] for the rows of one panel; indexed by Format.
  void (*matmul[NUM_FORMATS])(const uint8_t* panel, int64_t groups, const TileIn& tile, float* out,
                              int64_t stride, bool accumulate) = {};
  // The same bits for several panels, `panel_streams` of them side by side: memory answers several
  // streams faster than one. Null where a target gains nothing by it.
  int panel_streams = 0;
  void (*matmul_panels[NUM_FORMATS])(const Block& block) = {};
  // The same bits for several panels and all tokens at once, from `block_tokens` tokens on; null
  // where a target gains nothing by it.
  int block_tokens = 0;
  int block_panels = 0;  // panels that it takes together
  void (*matmul_block[NUM_FORMATS])(const Block& block) = {};
  // The lines of Q4_SPARSE that one token's tile (not a 12-bit one) needs; false where a panel is
  // too wide for the lists. Null where a target reads all anyway.
  bool (*find_lines)(const uint8_t* q, int64_t groups, Lines* lines) = nullptr;
  // Symmetric integers by group: scale = max|x| / Q, q = round(x · Q / max|x|), Q = 127 or, of 12
  // bits, 2032. Writes the tile described above.
  void (*quantize)(const float* x, int64_t stride, int width, int64_t columns, bool is_int12,
                   uint8_t* tile) = nullptr;
  // y = (x - mean)/sqrt(var + eps)·gain + bias, or y = x/sqrt(mean x² + eps)·gain
  void (*layer_norm)(const float* x, const float* gain, const float* bias, int64_t n, float eps,
                     float* y) = nullptr;
  void (*rms_norm)(const float* x, const float* gain, int64_t n, float eps, float* y) = nullptr;
  void (*relu2)(float* x, int64_t n) = nullptr;                          // x = max(x, 0)²
  void (*silu)(float* x, int64_t n) = nullptr;                           // x = x / (1 + exp(-x))
  void (*silu_gate)(const float* gate, float* x, int64_t n) = nullptr;   // x = silu(gate)·x
  void (*relu2_gate)(const float* gate, float* x, int64_t n) = nullptr;  // x = relu(gate)²·x
  void (*gelu)(float* x, int64_t n) = nullptr;  // x = x/2 (1 + tanh(√(2/π)(x + 0.044715 x³)))
  void (*gelu_gate)(const float* gate, float* x, int64_t n) = nullptr;     // x = gelu(gate)·x
  void (*sigmoid_gate)(const float* gate, float* x, int64_t n) = nullptr;  // x /= 1 + exp(-gate)
  void (*add)(const float* a, float* x, int64_t n) = nullptr;              // x += a
  void (*scan)(const ScanStep& step) = nullptr;
  void (*delta)(const DeltaStep& step) = nullptr;
  // sums[t·rank + k] = factor·scales[k] Σ_c A[k, c]·x[t·stride + c], and y[t·stride + r] += Σ_k
  // B[r, k]·sums[t·rank + k], for `width` tokens; indexed by Format, of F32, BF16 and Q8.
  void (*shrink[NUM_LOW_RANK_FORMATS])(const LowRank& w, const float* x, int64_t stride, int width,
                                       float factor, float* sums) = {};
  void (*expand[NUM_LOW_RANK_FORMATS])(const LowRank& w, const float* sums, int width, float* y,
                                       int64_t stride) = {};
  void (*attend)(const AttendChunk& chunk) = nullptr;
  // (m, l, acc) <- merge of itself with (m2, l2, acc2): softmax over both chunks.
  void (*merge)(float* m, float* l, float* acc, float m2, float l2, const float* acc2,
                int padded_dim) = nullptr;
  float (*sum_exp)(const float* x, int64_t n, float max) = nullptr;  // Σ exp(x - max)
  float (*max_value)(const float* x, int64_t n) = nullptr;
  // Peak throughput: nothing but int8 products in registers: returns the operations done (two a
  // product). The limit of this core.
  int64_t (*peak_loop)(int64_t rounds) = nullptr;
};

const Kernels& reference_kernels();
// Targets that this CPU can run, best last; always holds the reference. `count` receives their
// number.
const Kernels* const* available_kernels(int* count);
const Kernels& best_kernels();
const Kernels* find_kernels(const char* name);  // nullptr when unknown or not runnable here

}  // namespace understudy
