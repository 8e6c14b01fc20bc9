// The forward pass over a batch of tokens: embedding, layers, logits.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "adapters.h"
#include "attention.h"
#include "batch.h"
#include "cache.h"
#include "experts.h"
#include "kernels/kernels.h"
#include "linear.h"
#include "memory.h"
#include "recurrent.h"
#include "spec.h"
#include "state.h"
#include "tensor.h"
#include "threads.h"

namespace understudy {

using TensorMap = std::unordered_map<std::string, PackedTensor>;

struct NormWeights {
  const float* gain = nullptr;
  const float* bias = nullptr;
};

struct Layer {
  BlockSpec block;
  int index = 0;  // among the layers with attention, or among the recurrent ones
  NormWeights mixer_norm, mixer_post_norm, mlp_norm, mlp_post_norm, q_norm, k_norm;
  Linear q, k, v, o, gate, up, down;
  Linear in, out;           // of a recurrent mixer
  Linear in_z, in_b, in_a;  // of a gated delta mixer, beside `in`, which gives q, k and v
  RecurrentWeights recurrent;
  ExpertWeights experts;  // whose shared one, if there is, is gate, up and down
};

class Model {
 public:
  // Tensors are named as in Hugging Face files and must outlive the model; `int12` names matrices
  // by the last part of their name (q_proj, ..., lm_head) whose inputs are integers of 12 bits.
  // Throws std::invalid_argument.
  Model(const Spec& spec, const TensorMap& tensors, const Kernels& kernels, int num_threads,
        const std::vector<std::string>& int12);

  const Spec& spec() const { return spec_; }
  const Kernels& kernels() const { return kernels_; }
  int num_threads() const { return pool_.size(); }
  size_t weight_bytes_per_token() const;

  // The matrices that adapters may change, by name without ".weight".
  const MatrixSizes& matrices() const { return matrices_; }

  // logits: (num_logits, vocab_size). Not to be called from two threads at once. `states` may be
  // null where no layer is recurrent.
  void step(const Batch& batch, Cache& cache, StatePool* states, float* logits);

  // Share of exact zeros after the MLP's activation, by layer, since counting was switched on.
  void count_zeros(bool is_on);
  std::vector<double> zero_shares() const;

 private:
  class Loader;
  struct Buffers {
    Memory<float> x, h, q, k, v, attention, up, gate, cos, sin, local_cos, local_sin, projected,
        mixed, gated_q;
  };

  void reserve(int64_t num_tokens);
  void find_angles(const Batch& batch);
  void find_angles(const Batch& batch, const std::vector<float>* frequencies, float* cos,
                   float* sin) const;
  void run_attention(const Layer& layer, const Batch& batch, Cache& cache);
  void run_recurrent(const Layer& layer, const Batch& batch, StatePool& states);
  void run_gated_delta(const Layer& layer, const Batch& batch, StatePool& states);
  int64_t projected_stride() const;
  void gate_attention(int num_tokens);
  void run_mlp(int index, int num_tokens);
  void add_to_stream(const Linear& linear, const Activations& input, const NormWeights& post_norm);
  void scale_logits(int64_t num_rows, float* logits);
  void embed(const Batch& batch);
  void multiply(std::initializer_list<Product> products, const Activations& input);
  void norm_and_quantize(const NormWeights& norm, int num_tokens, const int32_t* rows,
                         std::initializer_list<const Linear*> next);
  void rotate_and_store(const Layer& layer, const Batch& batch, Cache& cache);
  void rotate_token(const Layer& layer, int token, const Batch& batch, Cache& cache);
  void activate(int layer, int num_tokens);
  int64_t activate_columns(const TileOut& tile, int64_t from, int64_t count);

  Spec spec_;
  const Kernels& kernels_;
  ThreadPool pool_;
  Multiplier multiplier_;
  Attention attention_;
  Adapters adapters_;
  MatrixSizes matrices_;
  Recurrent recurrent_;
  Experts experts_;
  PackedTensor embedding_;
  Linear head_;
  NormWeights final_norm_;
  std::vector<Layer> layers_;
  Buffers buffers_;
  std::vector<std::unique_ptr<float[]>> padded_;  // norms and biases, copied and padded
  bool count_zeros_ = false, has_int12_ = false;
  std::vector<int64_t> zeros_, activations_;
};

}  // namespace understudy
