// The forward pass over a batch of tokens: embedding, layers, logits.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cache.h"
#include "kernels/kernels.h"
#include "spec.h"
#include "tensor.h"
#include "threads.h"

namespace understudy {

using TensorMap = std::unordered_map<std::string, PackedTensor>;

// With `is_fine` the input is taken as integers of 12 bits instead of 8.
struct Linear {
  PackedTensor weight;
  const float* bias = nullptr;
  bool is_fine = false;
  bool wants(bool fine) const { return is_integer(weight.format) && is_fine == fine; }
};

struct NormWeights {
  const float* gain = nullptr;
  const float* bias = nullptr;
};

struct Layer {
  NormWeights attention_norm, mlp_norm;
  Linear q, k, v, o, gate, up, down;
};

// One step's work: token i stands at positions[i] of the sequence with page table row slots[i].
struct Batch {
  int num_tokens;
  const int32_t *tokens, *positions, *slots;
  const int32_t* page_tables;
  int max_pages;
  int num_logits;
  const int32_t* logit_rows;
  const int32_t* frequency_sets;  // by sequence, an index into Spec::frequency_sets
};

class Model {
 public:
  // Tensors are named as in Hugging Face files and must outlive the model; `fine` names matrices by the last part of
  // their name (q_proj, ..., lm_head). Throws std::invalid_argument.
  Model(const Spec& spec, const TensorMap& tensors, const Kernels& kernels, int num_threads,
        const std::vector<std::string>& fine);

  const Spec& spec() const { return spec_; }
  const Kernels& kernels() const { return kernels_; }
  int num_threads() const { return team_.size(); }
  size_t weight_bytes_per_token() const;

  // logits: (num_logits, vocab_size). Not to be called from two threads at once.
  void step(const Batch& batch, Cache& cache, float* logits);

  // Share of exact zeros after the MLP's activation, by layer, since counting was switched on.
  void count_zeros(bool is_on);
  std::vector<double> zero_shares() const;

 private:
  struct Buffers;
  void run(const Batch& batch, Cache& cache, float* logits);
  void embed(const Batch& batch);
  void norm_and_quantize(const NormWeights& norm, int num_tokens, const int32_t* rows,
                         std::initializer_list<const Linear*> next);
  void quantize(const float* x, int64_t columns, int num_tokens, const Linear& linear);
  void quantize_tile(const Tile& tile, int64_t from, int64_t count);
  Tile tile(const float* x, int64_t columns, int num_tokens, int64_t index, bool is_fine) const;
  uint8_t* inputs(bool is_fine) const;
  struct Product {
    const Linear* linear;
    float* out;
    bool accumulate;
    int64_t stride;
  };
  const Lines* find_lines(int64_t columns) const;
  void multiply(const Product* products, int count, const float* x, int64_t columns, int num_tokens);
  int64_t multiply_block(const Product& product, int64_t begin, int64_t end, int num_tokens, bool in_blocks);
  void add_bias(const Linear& linear, float* out, int num_tokens);
  void rotate_and_store(int layer, const Batch& batch, Cache& cache);
  void attend(int layer, const Batch& batch, Cache& cache);
  void activate(int layer, int num_tokens);
  void plan(const Batch& batch);

  Spec spec_;
  const Kernels& kernels_;
  Team team_;
  PackedTensor embedding_;
  Linear head_;
  NormWeights final_norm_;
  std::vector<Layer> layers_;
  std::unique_ptr<Buffers> buffers_;
  std::vector<std::unique_ptr<float[]>> padded_;  // norms and biases, copied and padded
  bool count_zeros_ = false, has_fine_ = false;
  std::vector<int64_t> zeros_, activations_;

 public:
  ~Model();
};

}  // namespace understudy
