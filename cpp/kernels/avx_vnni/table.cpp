// The AVX-VNNI row of the kernel table: the generic algorithms over this ISA's vocabulary.
#include "../kernels.h"
#include "simd.h"

namespace understudy::avx_vnni {

#include "../generic.inl"

extern const Kernels TABLE;
const Kernels TABLE = UNDERSTUDY_TABLE("avx_vnni");

}  // namespace understudy::avx_vnni
