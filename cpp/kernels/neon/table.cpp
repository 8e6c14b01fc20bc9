// The NEON target: the generic algorithms over this instruction set's vocabulary; runs on every
// AArch64.
#include "../kernels.h"
#include "products.h"

namespace understudy::neon {

#include "../generic.inl"

const Kernels& kernels() {
  static const Kernels table = make_table("neon");
  return table;
}

}  // namespace understudy::neon
