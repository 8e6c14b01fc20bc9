// The SIMD vocabulary of the AVX-512 target (F, BW, VL, DQ, VNNI): 16 floats a vector.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "../kernels.h"

namespace understudy::avx512 {

using F = __m512;
using I = __m512i;
UNDERSTUDY_INLINE void prefetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}
UNDERSTUDY_INLINE void prefetch_l2(const uint8_t* p) {  // into the L2 cache
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

constexpr int LANES = 16;
constexpr int TILE_TOKENS = 16;     // 8 weight + 16 sum registers of 32
constexpr int STREAMS = 3;          // panels read side by side: 24 sums of 8 tokens
constexpr int ATTEND_QUERIES = 12;  // 2 x 12 sums + 2 keys

UNDERSTUDY_INLINE F load(const float* p) { return _mm512_loadu_ps(p); }
UNDERSTUDY_INLINE void store(float* p, F x) { _mm512_storeu_ps(p, x); }
UNDERSTUDY_INLINE F set(float x) { return _mm512_set1_ps(x); }
UNDERSTUDY_INLINE F zero() { return _mm512_setzero_ps(); }
UNDERSTUDY_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
UNDERSTUDY_INLINE F add(F a, F b) { return _mm512_add_ps(a, b); }
UNDERSTUDY_INLINE F sub(F a, F b) { return _mm512_sub_ps(a, b); }
UNDERSTUDY_INLINE F mul(F a, F b) { return _mm512_mul_ps(a, b); }
UNDERSTUDY_INLINE F div(F a, F b) { return _mm512_div_ps(a, b); }
UNDERSTUDY_INLINE F max(F a, F b) { return _mm512_max_ps(a, b); }
UNDERSTUDY_INLINE F min(F a, F b) { return _mm512_min_ps(a, b); }
UNDERSTUDY_INLINE F abs(F a) { return _mm512_abs_ps(a); }
UNDERSTUDY_INLINE float sqrt(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
UNDERSTUDY_INLINE float reduce_add(F x) { return _mm512_reduce_add_ps(x); }
UNDERSTUDY_INLINE float reduce_max(F x) { return _mm512_reduce_max_ps(x); }
UNDERSTUDY_INLINE F round_nearest(F x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
UNDERSTUDY_INLINE F exp2_int(F n) { return _mm512_scalef_ps(_mm512_set1_ps(1.0f), n); }
UNDERSTUDY_INLINE F zero_below(F x, float bound, F value) {  // value where x >= bound, else 0
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(bound), _CMP_GE_OQ), value);
}
UNDERSTUDY_INLINE F iota() {
  return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
UNDERSTUDY_INLINE F select_above(F index, float last, F x,
                                 F other) {  // other where index > last, else x
  return _mm512_mask_mov_ps(x, _mm512_cmp_ps_mask(index, _mm512_set1_ps(last), _CMP_GT_OQ), other);
}
UNDERSTUDY_INLINE F load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
UNDERSTUDY_INLINE F load_bf16(const uint16_t* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
}
UNDERSTUDY_INLINE F load_i8(const int8_t* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
UNDERSTUDY_INLINE F to_float(I x) { return _mm512_cvtepi32_ps(x); }
UNDERSTUDY_INLINE I splat_int(int32_t x) { return _mm512_set1_epi32(x); }
UNDERSTUDY_INLINE I to_int(F x) { return _mm512_cvtps_epi32(x); }
UNDERSTUDY_INLINE void store_bytes(int8_t* p, I x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
}
UNDERSTUDY_INLINE I shift_left_4(I x) { return _mm512_slli_epi32(x, 4); }
UNDERSTUDY_INLINE I shift_right_4_rounded(I x) {
  return _mm512_srai_epi32(_mm512_add_epi32(x, _mm512_set1_epi32(8)), 4);
}
UNDERSTUDY_INLINE I add_int(I a, I b) { return _mm512_add_epi32(a, b); }
UNDERSTUDY_INLINE I sub_int(I a, I b) { return _mm512_sub_epi32(a, b); }
UNDERSTUDY_INLINE int32_t reduce_add_int(I x) { return _mm512_reduce_add_epi32(x); }

// One group of 32 columns for LANES rows, unpacked: eight vectors of four columns each.
struct Weights {
  I quad[8];
};
UNDERSTUDY_INLINE Weights unpack_q4(const uint8_t* quads) {
  const I low = _mm512_set1_epi8(15);
  Weights w;
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 4; ++i) {
    const I packed = _mm512_loadu_si512(quads + 64 * i);
    w.quad[i] = _mm512_and_si512(packed, low);
    w.quad[i + 4] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), low);
  }
  return w;
}
UNDERSTUDY_INLINE Weights unpack_q8(const uint8_t* quads) {
  Weights w;
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) w.quad[i] = _mm512_loadu_si512(quads + 64 * i);
  return w;
}
// Which rows of a group of q3 have shifted values, and the rows' multipliers.
using Shifts = __mmask16;
UNDERSTUDY_INLINE I q3_rows(const uint8_t* rows) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows)));
}
UNDERSTUDY_INLINE Shifts q3_shifts(const uint8_t* rows) {
  return _mm512_test_epi32_mask(q3_rows(rows), _mm512_set1_epi32(1));
}
UNDERSTUDY_INLINE F q3_multipliers(const uint8_t* rows) {
  return _mm512_cvtepi32_ps(_mm512_srai_epi32(q3_rows(rows), 1));
}
UNDERSTUDY_INLINE I q3_start(int32_t plain, int32_t shifted, Shifts shifts) {
  return _mm512_mask_mov_epi32(_mm512_set1_epi32(plain), shifts, _mm512_set1_epi32(shifted));
}
// a ? b : c, bit by bit.
UNDERSTUDY_INLINE I where(I a, I b, I c) { return _mm512_ternarylogic_epi32(a, b, c, 0xCA); }
// A shuffle looks the values up, as they are without a shift.
UNDERSTUDY_INLINE Weights unpack_q3(const uint8_t* planes) {
  const I levels =
      _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(Q3_LEVELS)));
  const I code = _mm512_set1_epi8(7), low = _mm512_set1_epi8(3);
  const auto look_up = [&](I x) __attribute__((always_inline)) {
    return _mm512_shuffle_epi8(levels, _mm512_and_si512(x, code));
  };
  I plane[3];
  Weights w;
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 3; ++i) {
    plane[i] = _mm512_loadu_si512(planes + Q3_PLANE_BYTES * i);
    w.quad[2 * i] = look_up(plane[i]);
    w.quad[2 * i + 1] = look_up(_mm512_srli_epi16(plane[i], 3));
  }
  w.quad[6] = look_up(where(low, _mm512_srli_epi16(plane[0], 6), _mm512_srli_epi16(plane[2], 4)));
  w.quad[7] = look_up(where(low, _mm512_srli_epi16(plane[1], 6), _mm512_srli_epi16(plane[2], 5)));
  return w;
}
UNDERSTUDY_INLINE Weights shift_q3(Weights w, Shifts shifts) {
  const I more = _mm512_maskz_set1_epi32(shifts, Q3_SHIFT * 0x01010101);
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) w.quad[i] = _mm512_add_epi8(w.quad[i], more);
  return w;
}
// The start and Σ u·a over the group; exact in int32. Written as assembly
// because gcc 12 loads the broadcast into a register first: with it inside the instruction the
// product runs a quarter faster.
UNDERSTUDY_INLINE I dot_from(I sum, const Weights& w, const int8_t* a) {
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) {
    const int32_t* quad = reinterpret_cast<const int32_t*>(a + 4 * i);
    asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w.quad[i]), "m"(*quad));
  }
  return sum;
}
UNDERSTUDY_INLINE I dot_q4(const Weights& w, const int8_t* a, int32_t correction) {
  return dot_from(_mm512_set1_epi32(correction), w, a);
}
UNDERSTUDY_INLINE I dot_q3(const Weights& w, const int8_t* a, I start) {
  return dot_from(start, w, a);
}
UNDERSTUDY_INLINE I product_step(I sum, I a, I b) {
  asm volatile("vpdpbusd %2, %1, %0"
               : "+v"(sum)
               : "v"(a), "v"(b));  // volatile: the sums are never used
  return sum;
}
UNDERSTUDY_INLINE I dot_q8(const Weights& w, const int8_t* a, int32_t minus_8_sum) {
  return dot_q4(w, a, minus_8_sum * 16);
}
UNDERSTUDY_INLINE I load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
// Alternately from a and b, of the first or last eight bytes of every 16.
UNDERSTUDY_INLINE I unpacklo_bytes(I a, I b) { return _mm512_unpacklo_epi8(a, b); }
UNDERSTUDY_INLINE I unpackhi_bytes(I a, I b) { return _mm512_unpackhi_epi8(a, b); }
UNDERSTUDY_INLINE I unpacklo_pairs(I a, I b) { return _mm512_unpacklo_epi16(a, b); }
UNDERSTUDY_INLINE I unpackhi_pairs(I a, I b) { return _mm512_unpackhi_epi16(a, b); }
UNDERSTUDY_INLINE I low_nibbles(I packed) { return _mm512_and_si512(packed, _mm512_set1_epi8(15)); }
UNDERSTUDY_INLINE I high_nibbles(I packed) { return low_nibbles(_mm512_srli_epi16(packed, 4)); }
UNDERSTUDY_INLINE void store_quad(uint8_t* p, I quad) { _mm512_storeu_si512(p, quad); }
UNDERSTUDY_INLINE void store_quads(uint8_t* quads, const Weights& w) {
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) store_quad(quads + 64 * i, w.quad[i]);
}
UNDERSTUDY_INLINE Weights load_quads(const uint8_t* quads) { return unpack_q8(quads); }
#define UNDERSTUDY_LISTS_COLUMNS
UNDERSTUDY_INLINE int list_columns(const int8_t* a, uint32_t first_line, uint32_t* columns,
                                   int8_t* inputs) {
  int count = 0;
  for (int i = 0; i < GROUP; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + i));
    const __mmask16 used = _mm_test_epi8_mask(bytes, bytes);
    const I places = _mm512_add_epi32(
        _mm512_slli_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                          6),
        splat_int(static_cast<int32_t>(first_line + i * LINE_BYTES)));
    _mm512_storeu_si512(columns + count, _mm512_maskz_compress_epi32(used, places));
    const I values = _mm512_maskz_compress_epi32(used, _mm512_cvtepi8_epi32(bytes));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(inputs + count), _mm512_cvtepi32_epi8(values));
    count += __builtin_popcount(used);
  }
  return count;
}
UNDERSTUDY_INLINE I dot_quad(I sum, I w, const int8_t* a) {
  int32_t quad;
  __builtin_memcpy(&quad, a, 4);
  return _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(quad));
}

}  // namespace understudy::avx512
