// The NEON row with dot products: the generic algorithms over this ISA's vocabulary.
#include "../kernels.h"
#include "simd.h"

namespace understudy::neon_dotprod {

#include "../generic.inl"

extern const Kernels TABLE;
const Kernels TABLE = UNDERSTUDY_TABLE("neon_dotprod");

}  // namespace understudy::neon_dotprod
