// The NEON row of the kernel table: the generic algorithms over this ISA's vocabulary; runs on every AArch64.
#include "../kernels.h"
#include "products.h"

namespace understudy::neon {

#include "../generic.inl"

extern const Kernels TABLE;
const Kernels TABLE = UNDERSTUDY_TABLE("neon");

}  // namespace understudy::neon
