// The AVX-VNNI target: the generic algorithms over this instruction set's vocabulary.
#include "../kernels.h"
#include "simd.h"

namespace understudy::avx_vnni {

#include "../generic.inl"

const Kernels& kernels() {
  static const Kernels table = make_table("avx_vnni");
  return table;
}

}  // namespace understudy::avx_vnni
