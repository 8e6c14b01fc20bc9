// The AVX2 row of the kernel table: the generic algorithms over this ISA's vocabulary.
#include "../kernels.h"
#include "products.h"

namespace understudy::avx2 {

#include "../generic.inl"

extern const Kernels TABLE;
const Kernels TABLE = UNDERSTUDY_TABLE("avx2");

}  // namespace understudy::avx2
