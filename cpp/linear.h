// Products of packed matrices with the activations of a batch: out (+)= W x + b.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "kernels/kernels.h"
#include "memory.h"
#include "tensor.h"
#include "threads.h"

namespace understudy {

// With `is_int12` the input is taken as integers of 12 bits instead of 8.
struct Linear {
  PackedTensor weight;
  const float* bias = nullptr;
  bool is_int12 = false;
  int id = -1;  // among the model's matrices, for adapters

  bool reads_integers() const { return is_integer(weight.format); }
  bool reads(bool int12) const { return reads_integers() && is_int12 == int12; }
};

// Activations: num_tokens rows of `columns` floats, padded_columns(columns) apart. Their integers
// begin where those of `first_row` such rows end.
struct Activations {
  const float* x;
  int64_t columns;
  int num_tokens;
  int64_t first_row = 0;
};
constexpr int64_t padded_columns(int64_t columns) { return round_up(columns, GROUP); }

struct Product {
  const Linear* linear;
  float* out;
  int64_t stride;
  bool accumulate = false;
};

// A product with an input of its own.
struct Task {
  Product product;
  Activations input;
};

class Multiplier {
 public:
  Multiplier(const Kernels& kernels, ThreadPool& pool) : kernels_(kernels), pool_(pool) {}

  // Room for quantized activations of so many tokens and columns; `has_int12`: in both widths.
  void reserve(int64_t num_tokens, int64_t columns, bool has_int12);

  int64_t num_tiles(int num_tokens) const;
  // Tile `index` of the batch, where its integers of 8 or 12 bits go.
  TileOut tile(const Activations& activations, int64_t index, bool is_int12);
  // Integers of `count` columns from column `from` on (a multiple of GROUP).
  void quantize(const TileOut& tile, int64_t from, int64_t count) const;
  // All tiles, as `next` wants them; nothing where it reads floats.
  void quantize(const Activations& activations, const Linear& next);

  // Some matrices that share their input, whose integers are there.
  void multiply(std::initializer_list<Product> products, const Activations& activations);
  // Some matrices without biases that have an input each, whose integers are there.
  void multiply_each(const std::vector<Task>& tasks);

 private:
  struct Plan;
  struct Span;
  Plan make_plan(std::initializer_list<Product> products, const Activations& activations,
                 size_t task = 0);
  int64_t panels_of_a_piece(const PackedTensor& weight, const Plan& plan, size_t panel_bytes) const;
  const Lines* find_lines(const Linear& linear, const Activations& activations, size_t task);
  uint8_t* integers(const Activations& activations, int64_t row, bool is_int12);
  void multiply_span(Span span, const Activations& activations, const Plan& plan);
  int64_t multiply_together(const Span& span, const Activations& activations, const Plan& plan);
  void multiply_panel(const Product& product, int64_t panel, const TileIn& tile, float* out) const;
  void add_bias(const Product& product, int num_tokens);

  const Kernels& kernels_;
  ThreadPool& pool_;
  Memory<uint8_t> int8_, int12_;
  std::vector<std::unique_ptr<Lines>> lines_;  // by task
};

}  // namespace understudy
