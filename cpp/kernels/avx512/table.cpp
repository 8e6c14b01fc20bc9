// The AVX-512 target: the generic algorithms over this instruction set's vocabulary.
#include "../kernels.h"
#include "simd.h"

namespace understudy::avx512 {

#include "../generic.inl"

const Kernels& kernels() {
  static const Kernels table = make_table("avx512");
  return table;
}

}  // namespace understudy::avx512
