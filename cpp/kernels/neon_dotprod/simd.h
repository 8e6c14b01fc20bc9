// The vocabulary of the NEON target with dot products (FEAT_DotProd): that of neon/simd.h, and its
// own int8 products. Both operands are signed: 4-bit weights are 0 … 15 and the correction stays
// the starting value of the sum.
#pragma once
#include "../neon/simd.h"

namespace understudy::neon_dotprod {

using namespace neon;

// sum[r] + Σ w·a over 16 columns: quads first … first + 3, whose activations stand in the four
// lanes of `a`.
UNDERSTUDY_INLINE int32x4_t four_quads(int32x4_t sum, const int8x16_t* w, int8x16_t a) {
  sum = vdotq_laneq_s32(sum, w[0], a, 0);
  sum = vdotq_laneq_s32(sum, w[1], a, 1);
  sum = vdotq_laneq_s32(sum, w[2], a, 2);
  return vdotq_laneq_s32(sum, w[3], a, 3);
}
UNDERSTUDY_INLINE I dot_q3(const Weights& w, const int8_t* a, I sum) {
  const int8x16_t left = vld1q_s8(a), right = vld1q_s8(a + 16);
  sum.low = four_quads(four_quads(sum.low, w.low, left), w.low + 4, right);
  sum.high = four_quads(four_quads(sum.high, w.high, left), w.high + 4, right);
  return sum;
}
UNDERSTUDY_INLINE I dot_q4(const Weights& w, const int8_t* a, int32_t correction) {
  return dot_q3(w, a, splat_int(correction));
}
UNDERSTUDY_INLINE I dot_q8(const Weights& w, const int8_t* a, int32_t) { return dot_q4(w, a, 0); }
UNDERSTUDY_INLINE I dot_quad(I sum, I w, const int8_t* a) {
  const int8x16_t quad = broadcast_quad(a);
  return {vdotq_s32(sum.low, vreinterpretq_s8_s32(w.low), quad),
          vdotq_s32(sum.high, vreinterpretq_s8_s32(w.high), quad)};
}
UNDERSTUDY_INLINE I product_step(I sum, I a, I b) {
  asm volatile("sdot %0.4s, %2.16b, %4.16b\n\tsdot %1.4s, %3.16b, %5.16b"  // volatile: the sums are
                                                                           // never used
               : "+w"(sum.low), "+w"(sum.high)
               : "w"(a.low), "w"(a.high), "w"(b.low), "w"(b.high));
  return sum;
}

}  // namespace understudy::neon_dotprod
