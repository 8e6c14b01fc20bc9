// The SIMD vocabulary of the targets of 8 floats a vector (AVX2, FMA, F16C), but for the int8
// products, which each has of its own: products.h and avx_vnni/simd.h.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "../kernels.h"

namespace understudy::avx2 {

using F = __m256;
using I = __m256i;
UNDERSTUDY_INLINE void prefetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}
UNDERSTUDY_INLINE void prefetch_l2(const uint8_t* p) {  // into the second-level cache
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

constexpr int LANES = 8;
constexpr int TILE_TOKENS = 4;     // 8 weight + 4 sum registers of 16
constexpr int STREAMS = 3;         // panels read side by side
constexpr int ATTEND_QUERIES = 3;  // 4 x 3 sums + 4 keys

UNDERSTUDY_INLINE F load(const float* p) { return _mm256_loadu_ps(p); }
UNDERSTUDY_INLINE void store(float* p, F x) { _mm256_storeu_ps(p, x); }
UNDERSTUDY_INLINE F set(float x) { return _mm256_set1_ps(x); }
UNDERSTUDY_INLINE F zero() { return _mm256_setzero_ps(); }
UNDERSTUDY_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
UNDERSTUDY_INLINE F add(F a, F b) { return _mm256_add_ps(a, b); }
UNDERSTUDY_INLINE F sub(F a, F b) { return _mm256_sub_ps(a, b); }
UNDERSTUDY_INLINE F mul(F a, F b) { return _mm256_mul_ps(a, b); }
UNDERSTUDY_INLINE F div(F a, F b) { return _mm256_div_ps(a, b); }
UNDERSTUDY_INLINE F max(F a, F b) { return _mm256_max_ps(a, b); }
UNDERSTUDY_INLINE F min(F a, F b) { return _mm256_min_ps(a, b); }
UNDERSTUDY_INLINE F abs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
UNDERSTUDY_INLINE float sqrt(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
UNDERSTUDY_INLINE float reduce_add(F x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
UNDERSTUDY_INLINE float reduce_max(F x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
UNDERSTUDY_INLINE F round_nearest(F x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
UNDERSTUDY_INLINE F exp2_int(F n) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
UNDERSTUDY_INLINE F zero_below(F x, float bound, F value) {
  return _mm256_and_ps(_mm256_cmp_ps(x, _mm256_set1_ps(bound), _CMP_GE_OQ), value);
}
UNDERSTUDY_INLINE F iota() { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }
UNDERSTUDY_INLINE F select_above(F index, float last, F x, F other) {
  return _mm256_blendv_ps(x, other, _mm256_cmp_ps(index, _mm256_set1_ps(last), _CMP_GT_OQ));
}
UNDERSTUDY_INLINE F load_f16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
UNDERSTUDY_INLINE F load_bf16(const uint16_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(
      _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
}
UNDERSTUDY_INLINE F load_i8(const int8_t* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
UNDERSTUDY_INLINE F to_float(I x) { return _mm256_cvtepi32_ps(x); }
UNDERSTUDY_INLINE I splat_int(int32_t x) { return _mm256_set1_epi32(x); }
UNDERSTUDY_INLINE I to_int(F x) { return _mm256_cvtps_epi32(x); }
UNDERSTUDY_INLINE void store_bytes(int8_t* p, I x) {
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
}
UNDERSTUDY_INLINE I shift_left_4(I x) { return _mm256_slli_epi32(x, 4); }
UNDERSTUDY_INLINE I shift_right_4_rounded(I x) {
  return _mm256_srai_epi32(_mm256_add_epi32(x, _mm256_set1_epi32(8)), 4);
}
UNDERSTUDY_INLINE I add_int(I a, I b) { return _mm256_add_epi32(a, b); }
UNDERSTUDY_INLINE I sub_int(I a, I b) { return _mm256_sub_epi32(a, b); }
UNDERSTUDY_INLINE int32_t reduce_add_int(I x) {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}

struct Weights {
  I quad[8];
};
UNDERSTUDY_INLINE Weights unpack_q4(const uint8_t* quads) {
  const I low = _mm256_set1_epi8(15);
  Weights w;
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 4; ++i) {
    const I packed = _mm256_loadu_si256(reinterpret_cast<const I*>(quads + 64 * i));
    w.quad[i] = _mm256_and_si256(packed, low);
    w.quad[i + 4] = _mm256_and_si256(_mm256_srli_epi16(packed, 4), low);
  }
  return w;
}
// Which rows of a group of q3 have shifted values (all bits of their lanes), and the rows'
// multipliers.
using Shifts = I;
UNDERSTUDY_INLINE I q3_rows(const uint8_t* rows) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(rows)));
}
UNDERSTUDY_INLINE Shifts q3_shifts(const uint8_t* rows) {
  return _mm256_srai_epi32(_mm256_slli_epi32(q3_rows(rows), 31), 31);
}
UNDERSTUDY_INLINE F q3_multipliers(const uint8_t* rows) {
  return _mm256_cvtepi32_ps(_mm256_srai_epi32(q3_rows(rows), 1));
}
UNDERSTUDY_INLINE I q3_start(int32_t plain, int32_t shifted, Shifts shifts) {
  return _mm256_blendv_epi8(_mm256_set1_epi32(plain), _mm256_set1_epi32(shifted), shifts);
}
// A shuffle looks the values up, as they are without a shift.
UNDERSTUDY_INLINE Weights unpack_q3(const uint8_t* planes) {
  const I levels =
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(Q3_LEVELS)));
  const I code = _mm256_set1_epi8(7), low = _mm256_set1_epi8(3), high = _mm256_set1_epi8(4);
  const auto look_up = [&](I codes) __attribute__((always_inline)) {
    return _mm256_shuffle_epi8(levels, codes);
  };
  const auto join = [&](I plane, I last) __attribute__((always_inline)) {
    return _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(plane, 6), low),
                           _mm256_and_si256(last, high));
  };
  I plane[3];
  Weights w;
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 3; ++i) {
    plane[i] = _mm256_loadu_si256(reinterpret_cast<const I*>(planes + Q3_PLANE_BYTES * i));
    w.quad[2 * i] = look_up(_mm256_and_si256(plane[i], code));
    w.quad[2 * i + 1] = look_up(_mm256_and_si256(_mm256_srli_epi16(plane[i], 3), code));
  }
  w.quad[6] = look_up(join(plane[0], _mm256_srli_epi16(plane[2], 4)));
  w.quad[7] = look_up(join(plane[1], _mm256_srli_epi16(plane[2], 5)));
  return w;
}
UNDERSTUDY_INLINE Weights shift_q3(Weights w, Shifts shifts) {
  const I more = _mm256_and_si256(shifts, _mm256_set1_epi8(Q3_SHIFT));
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) w.quad[i] = _mm256_add_epi8(w.quad[i], more);
  return w;
}
UNDERSTUDY_INLINE I broadcast_quad(const int8_t* a) {
  int32_t quad;
  __builtin_memcpy(&quad, a, 4);
  return _mm256_set1_epi32(quad);
}
UNDERSTUDY_INLINE I load_bytes(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const I*>(p));
}
// Alternately from a and b, of the first or last eight bytes of every 16.
UNDERSTUDY_INLINE I unpacklo_bytes(I a, I b) { return _mm256_unpacklo_epi8(a, b); }
UNDERSTUDY_INLINE I unpackhi_bytes(I a, I b) { return _mm256_unpackhi_epi8(a, b); }
UNDERSTUDY_INLINE I unpacklo_pairs(I a, I b) { return _mm256_unpacklo_epi16(a, b); }
UNDERSTUDY_INLINE I unpackhi_pairs(I a, I b) { return _mm256_unpackhi_epi16(a, b); }
UNDERSTUDY_INLINE I low_nibbles(I packed) { return _mm256_and_si256(packed, _mm256_set1_epi8(15)); }
UNDERSTUDY_INLINE I high_nibbles(I packed) { return low_nibbles(_mm256_srli_epi16(packed, 4)); }
UNDERSTUDY_INLINE void store_quad(uint8_t* p, I quad) {
  _mm256_storeu_si256(reinterpret_cast<I*>(p), quad);
}
UNDERSTUDY_INLINE void store_quads(uint8_t* quads, const Weights& w) {
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) store_quad(quads + 64 * i, w.quad[i]);
}
UNDERSTUDY_INLINE Weights load_quads(const uint8_t* quads) {
  Weights w;
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) w.quad[i] = load_bytes(quads + 64 * i);
  return w;
}
}  // namespace understudy::avx2
