// The vocabulary of the target with AVX-VNNI, which processors without AVX-512 have (Intel from
// Alder Lake on, AMD from Zen 5 on): that of avx2/simd.h, and int8 products of four columns in one
// instruction, unsigned weights by signed activations.
#pragma once
#include "../avx2/simd.h"

namespace understudy::avx_vnni {

using namespace avx2;

UNDERSTUDY_INLINE Weights unpack_q8(const uint8_t* quads) { return load_quads(quads); }
UNDERSTUDY_INLINE I dot_quad(I sum, I w, const int8_t* a) {
  return _mm256_dpbusd_avx_epi32(sum, w, broadcast_quad(a));
}
// The start and Σ u·a over the group; exact in int32.
UNDERSTUDY_INLINE I dot_q3(const Weights& w, const int8_t* a, I sum) {
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) sum = dot_quad(sum, w.quad[i], a + 4 * i);
  return sum;
}
UNDERSTUDY_INLINE I dot_q4(const Weights& w, const int8_t* a, int32_t correction) {
  return dot_q3(w, a, splat_int(correction));
}
UNDERSTUDY_INLINE I dot_q8(const Weights& w, const int8_t* a, int32_t minus_8_sum) {
  return dot_q4(w, a, minus_8_sum * 16);
}
UNDERSTUDY_INLINE I product_step(I sum, I a, I b) {
  asm volatile("%{vex%} vpdpbusd %2, %1, %0"
               : "+x"(sum)
               : "x"(a), "x"(b));  // volatile: the sums are never used
  return sum;
}

}  // namespace understudy::avx_vnni
