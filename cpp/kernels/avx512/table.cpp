// The AVX512 row of the kernel table: the generic algorithms over this ISA's vocabulary.
#include "../kernels.h"
#include "simd.h"

namespace understudy::avx512 {

#include "../generic.inl"

extern const Kernels TABLE;
const Kernels TABLE = UNDERSTUDY_TABLE("avx512");

}  // namespace understudy::avx512
