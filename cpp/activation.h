// The activation of an MLP, in place: x = act(x), or x = act(gate)·x.
#pragma once
#include <cstdint>

#include "kernels/kernels.h"
#include "spec.h"

namespace understudy {

struct ActivationKernel {
  void (*plain)(float* x, int64_t n);
  void (*gated)(const float* gate, float* x, int64_t n);
};

inline ActivationKernel activation_kernel(const Kernels& kernels, Activation activation) {
  switch (activation) {
    case Activation::RELU2: return {kernels.relu2, kernels.relu2_gate};
    case Activation::GELU_TANH: return {kernels.gelu, kernels.gelu_gate};
    case Activation::SILU: break;
  }
  return {kernels.silu, kernels.silu_gate};
}

}  // namespace understudy
