#include "state.h"

#include <cstring>

#include "kernels/kernels.h"

namespace understudy {

StatePool::StatePool(const Spec& spec, int64_t num_states)
    : num_states_(num_states),
      num_values_(lay_out(spec)),
      pool_(state_bytes() * static_cast<size_t>(num_states)) {}

// Fills in where each recurrent layer's part begins; returns the values of one state.
size_t StatePool::lay_out(const Spec& spec) {
  constexpr int64_t LINE_VALUES = 16;
  int64_t at = 0;
  const Mamba2& m = spec.mamba2;
  for (int i = 0; i < spec.num_layers; ++i) {
    const Mixer mixer = spec.block(i).mixer;
    if (mixer != Mixer::MAMBA2 && mixer != Mixer::SHORT_CONV) continue;
    const bool is_mamba = mixer == Mixer::MAMBA2;
    tails_.push_back(static_cast<size_t>(at));
    at += is_mamba ? static_cast<int64_t>(m.conv_size - 1) * m.conv_channels()
                   : static_cast<int64_t>(spec.conv_size - 1) * spec.hidden_size;
    at = round_up(at, LINE_VALUES);
    heads_.push_back(static_cast<size_t>(at));
    if (is_mamba)
      at += static_cast<int64_t>(m.num_heads) * m.state_size * round_up(m.head_dim, SCAN_PADDING);
  }
  return static_cast<size_t>(at);
}

void StatePool::read(int64_t state, uint8_t* out) const {
  std::memcpy(out, values(state), state_bytes());
}

void StatePool::write(int64_t state, const uint8_t* in) {
  std::memcpy(values(state), in, state_bytes());
}

}  // namespace understudy
