// The NEON target with dot products: the generic algorithms over this instruction set's
// vocabulary.
#include "../kernels.h"
#include "simd.h"

namespace understudy::neon_dotprod {

#include "../generic.inl"

const Kernels& kernels() {
  static const Kernels table = make_table("neon_dotprod");
  return table;
}

}  // namespace understudy::neon_dotprod
