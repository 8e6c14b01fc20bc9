// Adapters (LoRA): what each adds to the matrices of a model, computed beside them at run time.
//
//   y += factor · scale · B (A x)   for the tokens of the sequences that asked for the adapter
//
// Sequences with different adapters, mixtures of them, and without any stand in one batch. What is
// added to a token depends on its own input alone, in one order of sums.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/kernels.h"
#include "memory.h"

namespace understudy {

// The matrices of a model that an adapter may change.
struct MatrixSize {
  int id;
  int64_t rows, columns;
};
using MatrixSizes = std::unordered_map<std::string, MatrixSize>;
constexpr const char* EMBEDDING_NAME = "model.embed_tokens";

// A: (rank, columns), B: (rows, rank), row-major. Of the embedding A is (rank, vocabulary).
struct AdapterMatrix {
  std::string name;
  int rank;
  const float *a, *b;
  int64_t rows, columns;
  float scale;
};

class Adapter {
 public:
  // Copies and packs the matrices as F32, BF16 or Q8 (int8, a scale by rank), one behind the other
  // in the order of the model's. Throws std::invalid_argument.
  Adapter(const MatrixSizes& sizes, const std::vector<AdapterMatrix>& matrices, Format format);

  const LowRank* find(int id) const {
    return by_id_[static_cast<size_t>(id)].rank > 0 ? &by_id_[static_cast<size_t>(id)] : nullptr;
  }
  size_t bytes() const { return bytes_; }

 private:
  struct Place;  // of a matrix in the storage
  Place place(const AdapterMatrix& matrix, int64_t* end) const;
  void pack(const AdapterMatrix& matrix, const Place& place, LowRank& to);
  void put(uint8_t* to, int64_t index, float value) const;

  Format format_;
  size_t bytes_ = 0;
  std::vector<LowRank> by_id_;
  Memory<uint8_t> storage_;
};

// Adapters that act together on a sequence, in this order, each with a factor.
struct AdapterPart {
  std::shared_ptr<const Adapter> adapter;
  float factor;
  bool operator==(const AdapterPart& other) const {
    return adapter == other.adapter && factor == other.factor;
  }
};
using AdapterMix = std::vector<AdapterPart>;

}  // namespace understudy
