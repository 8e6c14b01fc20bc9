// A matrix is shared out by panels. A piece of panels stays in the L2 cache of the thread that
// takes it while all tiles of tokens pass over it.
#include "linear.h"

#include <algorithm>
#include <cstring>

namespace understudy {
namespace {

constexpr int64_t PIECE_BYTES = 256 * 1024;  // of weights, at most: half of a small L2 cache
constexpr int PIECES_PER_THREAD = 8;  // at least, so that no thread waits long for the last piece
constexpr int SPARSE_PIECES_PER_THREAD = 4;  // panels of Q4_SPARSE are few and wide
constexpr int MAX_BLOCK_SETS = 4;            // of `block_panels` panels, in one piece
constexpr int BIAS_TOKENS = 4;               // that a piece adds biases to

}  // namespace

// How a product of some matrices is shared out. Panels are counted over all of them.
struct Multiplier::Plan {
  int64_t num_panels = 0, grain = 1;
  bool in_blocks = false;
  const Lines* lines = nullptr;
};

// Panels [first, last) of one product.
struct Multiplier::Span {
  const Product& product;
  int64_t first, last;
};

void Multiplier::reserve(int64_t num_tokens, int64_t columns, bool has_int12) {
  const int64_t groups = num_tokens * (padded_columns(columns) / GROUP);
  int8_.reserve(groups * tile_bytes_per_token_group(false) + BLOCK_OVERREAD);
  if (has_int12) int12_.reserve(groups * tile_bytes_per_token_group(true) + BLOCK_OVERREAD);
}

int64_t Multiplier::num_tiles(int num_tokens) const {
  return (num_tokens + kernels_.tile_tokens - 1) / kernels_.tile_tokens;
}

TileOut Multiplier::tile(const Activations& activations, int64_t index, bool is_int12) {
  const int width = kernels_.tile_tokens;
  const int64_t from = index * width, stride = padded_columns(activations.columns);
  return {static_cast<int>(std::min<int64_t>(width, activations.num_tokens - from)),
          activations.x + from * stride, stride, integers(activations, from, is_int12), is_int12};
}

// Where those of a row begin.
uint8_t* Multiplier::integers(const Activations& activations, int64_t row, bool is_int12) {
  const int64_t groups = padded_columns(activations.columns) / GROUP;
  return (is_int12 ? int12_ : int8_).data() +
         (activations.first_row + row) * groups * tile_bytes_per_token_group(is_int12);
}

void Multiplier::quantize(const TileOut& tile, int64_t from, int64_t count) const {
  const int64_t offset = from / GROUP * tile.width * tile_bytes_per_token_group(tile.is_int12);
  kernels_.quantize(tile.x + from, tile.x_stride, tile.width, count, tile.is_int12,
                    tile.q + offset);
}

void Multiplier::quantize(const Activations& activations, const Linear& next) {
  if (!next.reads_integers()) return;
  pool_.share(num_tiles(activations.num_tokens), 1, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; ++index)
      quantize(tile(activations, index, next.is_int12), 0, activations.columns);
  });
}

void Multiplier::multiply(std::initializer_list<Product> products, const Activations& activations) {
  const Plan plan = make_plan(products, activations);
  pool_.share(plan.num_panels, plan.grain, [&](int64_t first, int64_t last) {
    int64_t before = 0;  // panels of the products passed
    for (const Product& product : products) {
      const int64_t panels = product.linear->weight.panels();
      const Span span{product, std::max<int64_t>(first - before, 0),
                      std::min(last - before, panels)};
      if (span.first < span.last) multiply_span(span, activations, plan);
      before += panels;
    }
  });
  for (const Product& product : products)
    if (product.linear->bias != nullptr) add_bias(product, activations.num_tokens);
}

void Multiplier::multiply_each(const std::vector<Task>& tasks) {
  std::vector<Plan> plans;
  int64_t num_panels = 0, grain = 1;
  for (const Task& task : tasks) {
    plans.push_back(make_plan({task.product}, task.input, plans.size()));
    num_panels += plans.back().num_panels;
  }
  for (size_t i = 0; i < tasks.size(); ++i) {
    plans[i].num_panels = num_panels;
    const PackedTensor& w = tasks[i].product.linear->weight;
    grain = std::max(grain, panels_of_a_piece(w, plans[i], w.panel_bytes()));
  }
  pool_.share(num_panels, grain, [&](int64_t first, int64_t last) {
    int64_t before = 0;  // panels of the tasks passed
    for (size_t i = 0; i < tasks.size() && before < last; ++i) {
      const int64_t panels = tasks[i].product.linear->weight.panels();
      const Span span{tasks[i].product, std::max<int64_t>(first - before, 0),
                      std::min(last - before, panels)};
      if (span.first < span.last) multiply_span(span, tasks[i].input, plans[i]);
      before += panels;
    }
  });
}

Multiplier::Plan Multiplier::make_plan(std::initializer_list<Product> products,
                                       const Activations& activations, size_t task) {
  Plan plan;
  size_t panel_bytes = 1;
  for (const Product& product : products) {
    plan.num_panels += product.linear->weight.panels();
    panel_bytes = std::max(panel_bytes, product.linear->weight.panel_bytes());
  }
  const Linear& only =
      *products.begin()->linear;  // a matrix in Q4_SPARSE shares its input with no other
  plan.in_blocks = kernels_.block_tokens > 0 && activations.num_tokens >= kernels_.block_tokens;
  plan.lines = find_lines(only, activations, task);
  plan.grain = panels_of_a_piece(only.weight, plan, panel_bytes);
  return plan;
}

int64_t Multiplier::panels_of_a_piece(const PackedTensor& weight, const Plan& plan,
                                      size_t panel_bytes) const {
  const int64_t pieces = static_cast<int64_t>(PIECES_PER_THREAD) * pool_.size();
  const int64_t fair = (plan.num_panels + pieces - 1) / pieces;
  if (plan.in_blocks)
    return std::min<int64_t>(round_up(fair, kernels_.block_panels),
                             MAX_BLOCK_SETS * kernels_.block_panels);
  if (weight.format == Format::Q4_SPARSE) {
    const int64_t few = plan.num_panels / (SPARSE_PIECES_PER_THREAD * pool_.size());
    return std::max<int64_t>(1, std::min<int64_t>(kernels_.panel_streams, few));
  }
  const int64_t cached = PIECE_BYTES / static_cast<int64_t>(panel_bytes);
  const int64_t grain = std::max<int64_t>(1, std::min(fair, cached));
  const bool is_streamed = panel_bytes >= static_cast<size_t>(MIN_STREAM_BYTES) &&
                           kernels_.matmul_panels[index_of(weight.format)] != nullptr;
  return is_streamed ? round_up(grain, kernels_.panel_streams) : grain;
}

// What one token's integers need of Q4_SPARSE weights, found once for all panels; null where all
// are read.
const Lines* Multiplier::find_lines(const Linear& linear, const Activations& activations,
                                    size_t task) {
  const bool can_skip = activations.num_tokens == 1 && !linear.is_int12 &&
                        linear.weight.format == Format::Q4_SPARSE && kernels_.find_lines != nullptr;
  if (!can_skip) return nullptr;
  while (lines_.size() <= task) lines_.emplace_back(new Lines);
  const int64_t groups = padded_columns(activations.columns) / GROUP;
  Lines* lines = lines_[task].get();
  return kernels_.find_lines(integers(activations, 0, false), groups, lines) ? lines : nullptr;
}

void Multiplier::multiply_span(Span span, const Activations& activations, const Plan& plan) {
  const Product& product = span.product;
  if (plan.lines == nullptr) span.first = multiply_together(span, activations, plan);
  if (span.first == span.last) return;
  for (int64_t index = 0; index < num_tiles(activations.num_tokens); ++index) {
    const TileOut made = tile(activations, index, product.linear->is_int12);
    const TileIn input{made.width, made.x, made.x_stride, made.q, made.is_int12, plan.lines};
    float* out = product.out + index * kernels_.tile_tokens * product.stride;
    for (int64_t panel = span.first; panel < span.last; ++panel)
      multiply_panel(product, panel, input, out);
  }
}

// The first panels of a span, as far as whole slices of 16 rows lie inside the output, for all
// tokens in one call, where this target can; returns the first panel that is left.
int64_t Multiplier::multiply_together(const Span& span, const Activations& activations,
                                      const Plan& plan) {
  const Product& product = span.product;
  const PackedTensor& w = product.linear->weight;
  const auto& slots = plan.in_blocks ? kernels_.matmul_block : kernels_.matmul_panels;
  const auto matmul = slots[index_of(w.format)];
  const int64_t rows = panel_rows(w.format);
  int64_t last = span.last, last_row = std::min(last * rows, product.stride);
  if (last_row % PANEL_ROWS != 0) {
    last = last_row / rows;
    last_row = last * rows;
  }
  if (matmul == nullptr || span.first >= last) return span.first;
  const int slices = static_cast<int>((last_row - span.first * rows) / PANEL_ROWS);
  const bool is_int12 = product.linear->is_int12;
  matmul({w.panel(span.first), static_cast<int64_t>(w.panel_bytes()), w.groups(), slices,
          activations.num_tokens, integers(activations, 0, is_int12), is_int12,
          product.out + span.first * rows, product.stride, product.accumulate});
  return last;
}

// One panel and one tile. The last panel may hang over the end of the output's rows: then it goes
// by a copy.
void Multiplier::multiply_panel(const Product& product, int64_t panel, const TileIn& tile,
                                float* out) const {
  const PackedTensor& w = product.linear->weight;
  const auto matmul = kernels_.matmul[index_of(w.format)];
  const int64_t rows = panel_rows(w.format);
  float* target = out + panel * rows;
  if ((panel + 1) * rows <= product.stride)
    return matmul(w.panel(panel), w.groups(), tile, target, product.stride, product.accumulate);
  float edge[MAX_TILE * MAX_PANEL_ROWS];
  const size_t inside = static_cast<size_t>(product.stride - panel * rows) * sizeof(float);
  for (int t = 0; product.accumulate && t < tile.width; ++t)
    std::memcpy(edge + t * rows, target + t * product.stride, inside);
  matmul(w.panel(panel), w.groups(), tile, edge, rows, product.accumulate);
  for (int t = 0; t < tile.width; ++t)
    std::memcpy(target + t * product.stride, edge + t * rows, inside);
}

void Multiplier::add_bias(const Product& product, int num_tokens) {
  pool_.share(num_tokens, BIAS_TOKENS, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      kernels_.add(product.linear->bias, product.out + t * product.stride,
                   product.linear->weight.rows);
  });
}

}  // namespace understudy
