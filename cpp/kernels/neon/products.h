// int8 products of the NEON target without the dot-product instructions: multiply to int16, add
// there as long as it fits.
#pragma once
#include "simd.h"

namespace understudy::neon {

// Columns of one row stand in two neighbouring int16 lanes pairs: [r0 r0 r0 r0 r1 r1 r1 r1] and [r2
// … r3 …] to int32.
UNDERSTUDY_INLINE int32x4_t row_sums(int16x8_t first, int16x8_t second) {
  return vpaddq_s32(vpaddlq_s16(first), vpaddlq_s16(second));
}

// NUM products of one int16 lane are added before they are widened.
template <int NUM>
UNDERSTUDY_INLINE int32x4_t products(const int8x16_t* w, const int8x16_t* quads) {
  int16x8_t first = vmull_s8(vget_low_s8(w[0]), vget_low_s8(quads[0]));
  int16x8_t second = vmull_high_s8(w[0], quads[0]);
  UNDERSTUDY_UNROLL
  for (int i = 1; i < NUM; ++i) {
    first = vmlal_s8(first, vget_low_s8(w[i]), vget_low_s8(quads[i]));
    second = vmlal_high_s8(second, w[i], quads[i]);
  }
  return row_sums(first, second);
}

// Eight products of 15·127 (q4) or 32·127 (q3) at most stay below 2^15.
UNDERSTUDY_INLINE I dot_q3(const Weights& w, const int8_t* a, I start) {
  int8x16_t quads[8];
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) quads[i] = broadcast_quad(a + 4 * i);
  return add_int(start, {products<8>(w.low, quads), products<8>(w.high, quads)});
}
UNDERSTUDY_INLINE I dot_q4(const Weights& w, const int8_t* a, int32_t correction) {
  return dot_q3(w, a, splat_int(correction));
}
// Two products of 128·127 at most stay below 2^15.
UNDERSTUDY_INLINE I dot_q8(const Weights& w, const int8_t* a, int32_t) {
  I sum = splat_int(0);
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; i += 2) {
    const int8x16_t quads[2] = {broadcast_quad(a + 4 * i), broadcast_quad(a + 4 * i + 4)};
    sum = add_int(sum, {products<2>(w.low + i, quads), products<2>(w.high + i, quads)});
  }
  return sum;
}
UNDERSTUDY_INLINE I dot_quad(I sum, I w, const int8_t* a) {
  const int8x16_t quad = broadcast_quad(a), low = vreinterpretq_s8_s32(w.low),
                  high = vreinterpretq_s8_s32(w.high);
  return add_int(sum, {products<1>(&low, &quad), products<1>(&high, &quad)});
}
// 8 products a lane as everywhere, of which this step does half with each of its four instructions'
// eight lanes.
UNDERSTUDY_INLINE I product_step(I sum, I a, I b) {
  asm volatile(  // volatile: the sums are never used
      "smlal %0.8h, %2.8b, %4.8b\n\tsmlal2 %0.8h, %2.16b, %4.16b\n\t"
      "smlal %1.8h, %3.8b, %5.8b\n\tsmlal2 %1.8h, %3.16b, %5.16b"
      : "+w"(sum.low), "+w"(sum.high)
      : "w"(a.low), "w"(a.high), "w"(b.low), "w"(b.high));
  return sum;
}

}  // namespace understudy::neon
