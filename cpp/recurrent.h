// Mixers that carry a state from token to token: Mamba-2, the gated delta rule, and the gated short
// convolution. Tokens are taken one after the other in the plain recurrence, so a result is the
// same in any cut.
#pragma once
#include <cstdint>
#include <vector>

#include "batch.h"
#include "kernels/kernels.h"
#include "linear.h"
#include "memory.h"
#include "spec.h"
#include "state.h"
#include "threads.h"

namespace understudy {

// Vectors of one recurrent layer beside its two projections.
struct RecurrentWeights {
  const float* taps = nullptr;                                 // (conv_size, channels)
  const float* conv_bias = nullptr;                            // channels; null: none
  const float *dt_bias = nullptr, *a = nullptr, *d = nullptr;  // by head; a = -exp(A_log)
  const float* norm = nullptr;                                 // gain of the gated norm
  const float *unit_key = nullptr, *unit_query = nullptr;      // gains that make keys of length 1
};

// What the products of one gated delta layer gave, a row a token: q k v side by side, the gate z,
// and by head b (beta before its sigmoid) and a (the time step).
struct DeltaInputs {
  const float *qkv, *z, *b, *a;
  int64_t stride;  // of all four
};

class Recurrent {
 public:
  Recurrent(const Spec& spec, const Kernels& kernels, ThreadPool& pool)
      : spec_(spec), kernels_(kernels), pool_(pool) {}

  // Before the first layer of a step.
  void plan(const Batch& batch);
  // projected rows are z | x B C | dt, out rows inner_size; both padded. `layer` counts recurrent
  // ones.
  void mamba2(int layer, const RecurrentWeights& weights, const Batch& batch, StatePool& states,
              const float* projected, float* out);
  // out rows are value_size, padded.
  void gated_delta(int layer, const RecurrentWeights& weights, const Batch& batch,
                   StatePool& states, const DeltaInputs& inputs, float* out);
  // projected rows are b | c | x of hidden_size each:  out = c · conv(b · x).
  void short_conv(int layer, const RecurrentWeights& weights, const Batch& batch, StatePool& states,
                  float* projected, float* out);

 private:
  struct Run {  // tokens of one sequence; source -1: it begins
    int first_token, num_tokens, source, target;
  };
  struct Convolution;
  void convolve(const Convolution& work);
  struct HeadState;
  void delta_head(int layer, const RecurrentWeights& weights, const Run& run, int head,
                  const Batch& batch, StatePool& states, const DeltaInputs& inputs, float* out);
  void scan_head(int layer, const RecurrentWeights& weights, const Run& run, int head,
                 const Batch& batch, StatePool& states, const float* projected, float* out);
  void gate_and_norm(const RecurrentWeights& weights, int num_tokens, const float* projected,
                     float* out);

  const Spec& spec_;
  const Kernels& kernels_;
  ThreadPool& pool_;
  std::vector<Run> runs_;
  int num_tokens_ = 0;
  Memory<float> mixed_;  // after the convolution: x B C, or q k v
};

}  // namespace understudy
