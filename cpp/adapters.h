// What the adapters of a batch's sequences add to the products of a step.
#pragma once
#include <initializer_list>
#include <vector>

#include "adapter.h"
#include "batch.h"
#include "kernels/kernels.h"
#include "linear.h"
#include "threads.h"

namespace understudy {

class Adapters {
 public:
  Adapters(const Kernels& kernels, ThreadPool& pool) : kernels_(kernels), pool_(pool) {}

  // Which rows of the products are the tokens of the batch, or those that logits are wanted of.
  enum class Rows { TOKENS, LOGITS };

  // Finds the neighbours that share adapters; to be called once a step.
  void plan(const Batch& batch);
  // out += factor · scale · B (A x) of each product, whose own sums are there.
  void apply(std::initializer_list<Product> products, const Activations& input,
             Rows rows = Rows::TOKENS) const;
  // x += what adapters add to the embedding, matrix `id`.
  void embed(const Batch& batch, int id, float* x, int64_t stride) const;

 private:
  struct Tile {
    const AdapterMix* mix;
    int first, width;
  };

  void add_tiles(const Batch& batch, const int32_t* rows, int count,
                 std::vector<Tile>& tiles) const;
  void apply_to_tile(const Tile& tile, const Product& product, const Activations& input) const;

  const Kernels& kernels_;
  ThreadPool& pool_;
  std::vector<Tile> tiles_, logit_tiles_;
};

}  // namespace understudy
