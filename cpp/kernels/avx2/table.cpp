// The AVX2 target: the generic algorithms over this instruction set's vocabulary.
#include "../kernels.h"
#include "products.h"

namespace understudy::avx2 {

#include "../generic.inl"

const Kernels& kernels() {
  static const Kernels table = make_table("avx2");
  return table;
}

}  // namespace understudy::avx2
