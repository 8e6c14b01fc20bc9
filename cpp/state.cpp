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
  const GatedDelta& g = spec.gated_delta;
  const auto add_layer = [&](int conv_size, int channels, int64_t head_values) {
    tails_.push_back(static_cast<size_t>(at));
    at = round_up(at + static_cast<int64_t>(conv_size - 1) * channels, LINE_VALUES);
    heads_.push_back(static_cast<size_t>(at));
    at += head_values;
  };
  for (int i = 0; i < spec.num_layers; ++i) switch (spec.block(i).mixer) {
      case Mixer::MAMBA2:
        add_layer(
            m.conv_size, m.conv_channels(),
            static_cast<int64_t>(m.num_heads) * m.state_size * round_up(m.head_dim, SCAN_PADDING));
        break;
      case Mixer::GATED_DELTA:
        add_layer(
            g.conv_size, g.conv_channels(),
            static_cast<int64_t>(g.num_heads) * g.key_dim * round_up(g.value_dim, SCAN_PADDING));
        break;
      case Mixer::SHORT_CONV: add_layer(spec.conv_size, spec.hidden_size, 0); break;
      case Mixer::NONE:
      case Mixer::ATTENTION: break;
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
