// The int8 products of the AVX2 target: pairs by vpmaddubsw.
#pragma once
#include "simd.h"

namespace understudy::avx2 {

UNDERSTUDY_INLINE Weights
unpack_q8(const uint8_t* quads) {  // back to signed: maddubs saturates on 255·127·2
  Weights w;
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i)
    w.quad[i] = _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const I*>(quads + 64 * i)),
                                 _mm256_set1_epi8(static_cast<char>(0x80)));
  return w;
}
// Eight products of 15·127·2 at most stay below 2^15, so the pairs are added in int16 and widened
// once.
UNDERSTUDY_INLINE I dot_q4(const Weights& w, const int8_t* a, int32_t correction) {
  I pairs = _mm256_maddubs_epi16(w.quad[0], broadcast_quad(a));
  UNDERSTUDY_UNROLL
  for (int i = 1; i < 8; ++i)
    pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w.quad[i], broadcast_quad(a + 4 * i)));
  return _mm256_add_epi32(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)),
                          _mm256_set1_epi32(correction));
}
// Values up to 32: four products of 32·127·2 at most stay below 2^15.
UNDERSTUDY_INLINE I dot_q3(const Weights& w, const int8_t* a, I sum) {
  const I ones = _mm256_set1_epi16(1);
  UNDERSTUDY_UNROLL
  for (int half = 0; half < 8; half += 4) {
    I pairs = _mm256_maddubs_epi16(w.quad[half], broadcast_quad(a + 4 * half));
    UNDERSTUDY_UNROLL
    for (int i = half + 1; i < half + 4; ++i)
      pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w.quad[i], broadcast_quad(a + 4 * i)));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
  }
  return sum;
}
UNDERSTUDY_INLINE I product_step(I sum, I a, I b) {
  I pairs;
  asm volatile("vpmaddubsw %2, %1, %0"
               : "=x"(pairs)
               : "x"(a), "x"(b));  // volatile: the sums are never used
  return _mm256_add_epi16(sum, pairs);
}
UNDERSTUDY_INLINE I dot_q8(const Weights& w, const int8_t* a, int32_t) {
  const I ones = _mm256_set1_epi16(1);
  I sum = _mm256_setzero_si256();
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) {
    const I quad = broadcast_quad(a + 4 * i);
    const I pairs = _mm256_maddubs_epi16(_mm256_sign_epi8(w.quad[i], w.quad[i]),
                                         _mm256_sign_epi8(quad, w.quad[i]));
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
  }
  return sum;
}
UNDERSTUDY_INLINE I dot_quad(I sum, I w, const int8_t* a) {
  const I pairs = _mm256_maddubs_epi16(w, broadcast_quad(a));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

}  // namespace understudy::avx2
