// Recurrent states of sequences: the last inputs of every convolution, and what every head of a
// Mamba-2 or gated delta layer remembers. A pool of states as the cache is one of pages; layers are
// counted among the recurrent.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "memory.h"
#include "spec.h"

namespace understudy {

class StatePool {
 public:
  StatePool(const Spec& spec, int64_t num_states);  // throws std::bad_alloc

  int64_t num_states() const { return num_states_; }
  size_t state_bytes() const { return num_values_ * sizeof(float); }
  // (conv_size - 1, channels): oldest first.
  float* tail(int layer, int64_t state) const { return values(state) + tails_[layer]; }
  // (num_heads, state_size or key_dim, padded_dim)
  float* heads(int layer, int64_t state) const { return values(state) + heads_[layer]; }

  void read(int64_t state, uint8_t* out) const;  // state_bytes
  void write(int64_t state, const uint8_t* in);

 private:
  float* values(int64_t state) const {
    return reinterpret_cast<float*>(pool_.data()) + static_cast<size_t>(state) * num_values_;
  }
  size_t lay_out(const Spec& spec);

  int64_t num_states_;
  std::vector<size_t> tails_, heads_;  // where those of a layer begin, in values
  size_t num_values_;
  LazyMemory pool_;
};

}  // namespace understudy
