// The vocabulary of the AVX-512 target with VBMI (Intel from Ice Lake on, AMD from Zen 4 on): a
// table of 64 bytes, looked up by the lower six bits of an index whatever the upper two are.
#pragma once
#include "../avx512/simd.h"

namespace understudy::avx512_vbmi {

using namespace avx512;

// What q3 codes stand for, by all six bits of a plane's byte or of a joined one: the code in bits 0
// to 2, in bits 3 to 5; in bits 0, 1 and 4, in bits 2, 3 and 5.
struct Q3Tables {
  alignas(64) uint8_t first[64], second[64], seventh[64], eighth[64];
};
constexpr Q3Tables make_q3_tables() {
  Q3Tables tables = {};
  for (int i = 0; i < 64; ++i) {
    tables.first[i] = Q3_LEVELS[i & 7];
    tables.second[i] = Q3_LEVELS[i >> 3];
    tables.seventh[i] = Q3_LEVELS[(i & 3) | (i >> 4 & 1) << 2];
    tables.eighth[i] = Q3_LEVELS[(i >> 2 & 3) | (i >> 5 & 1) << 2];
  }
  return tables;
}
inline constexpr Q3Tables Q3_TABLES = make_q3_tables();

UNDERSTUDY_INLINE Weights unpack_q3(const uint8_t* planes) {
  const I first = _mm512_load_si512(Q3_TABLES.first), second = _mm512_load_si512(Q3_TABLES.second);
  I plane[3];
  Weights w;
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 3; ++i) {
    plane[i] = _mm512_loadu_si512(planes + Q3_PLANE_BYTES * i);
    w.quad[2 * i] = _mm512_permutexvar_epi8(plane[i], first);
    w.quad[2 * i + 1] = _mm512_permutexvar_epi8(plane[i], second);
  }
  const I low =
      where(_mm512_set1_epi8(3), _mm512_srli_epi16(plane[0], 6), _mm512_srli_epi16(plane[1], 4));
  const I rest = where(_mm512_set1_epi8(15), low, _mm512_srli_epi16(plane[2], 2));
  w.quad[6] = _mm512_permutexvar_epi8(rest, _mm512_load_si512(Q3_TABLES.seventh));
  w.quad[7] = _mm512_permutexvar_epi8(rest, _mm512_load_si512(Q3_TABLES.eighth));
  return w;
}

}  // namespace understudy::avx512_vbmi
