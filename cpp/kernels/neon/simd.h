// The SIMD vocabulary of the NEON targets (AArch64): 8 floats in a pair of registers, so that two
// passes over a panel are enough, not four. The int8 products are those of any AArch64;
// neon_dotprod/simd.h replaces them.
#pragma once
#include <arm_neon.h>

#include <cstdint>

#include "../kernels.h"

namespace understudy::neon {

struct F {
  float32x4_t low, high;
};
struct I {
  int32x4_t low, high;
};
UNDERSTUDY_INLINE void prefetch(const uint8_t* p) { __builtin_prefetch(p); }
UNDERSTUDY_INLINE void prefetch_l2(const uint8_t* p) {
  __builtin_prefetch(p, 0, 2);
}  // second-level cache

constexpr int LANES = 8;
constexpr int TILE_TOKENS = 4;     // 16 weight + 8 sum registers of 32
constexpr int STREAMS = 1;         // panels read side by side
constexpr int ATTEND_QUERIES = 3;  // 24 sums, keys and queries as they come

UNDERSTUDY_INLINE F load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
UNDERSTUDY_INLINE void store(float* p, F x) { vst1q_f32(p, x.low), vst1q_f32(p + 4, x.high); }
UNDERSTUDY_INLINE F set(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
UNDERSTUDY_INLINE F zero() { return set(0.0f); }
UNDERSTUDY_INLINE F fma(F a, F b, F c) {
  return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}
UNDERSTUDY_INLINE F add(F a, F b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
UNDERSTUDY_INLINE F sub(F a, F b) { return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)}; }
UNDERSTUDY_INLINE F mul(F a, F b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
UNDERSTUDY_INLINE F div(F a, F b) { return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)}; }
UNDERSTUDY_INLINE F max(F a, F b) { return {vmaxq_f32(a.low, b.low), vmaxq_f32(a.high, b.high)}; }
UNDERSTUDY_INLINE F min(F a, F b) { return {vminq_f32(a.low, b.low), vminq_f32(a.high, b.high)}; }
UNDERSTUDY_INLINE F abs(F a) { return {vabsq_f32(a.low), vabsq_f32(a.high)}; }
UNDERSTUDY_INLINE float sqrt(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }
UNDERSTUDY_INLINE float reduce_add(F x) {
  const float32x4_t four = vaddq_f32(x.low, x.high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(vpadd_f32(two, two), 0);
}
UNDERSTUDY_INLINE float reduce_max(F x) { return vmaxvq_f32(vmaxq_f32(x.low, x.high)); }
UNDERSTUDY_INLINE F round_nearest(F x) { return {vrndnq_f32(x.low), vrndnq_f32(x.high)}; }
UNDERSTUDY_INLINE float32x4_t exp2_int(float32x4_t n) {
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23));
}
UNDERSTUDY_INLINE F exp2_int(F n) { return {exp2_int(n.low), exp2_int(n.high)}; }
UNDERSTUDY_INLINE float32x4_t zero_below(float32x4_t x, float bound, float32x4_t value) {
  return vreinterpretq_f32_u32(
      vandq_u32(vcgeq_f32(x, vdupq_n_f32(bound)), vreinterpretq_u32_f32(value)));
}
UNDERSTUDY_INLINE F zero_below(F x, float bound, F value) {  // value where x >= bound, else 0
  return {zero_below(x.low, bound, value.low), zero_below(x.high, bound, value.high)};
}
UNDERSTUDY_INLINE F iota() {
  const float values[LANES] = {0, 1, 2, 3, 4, 5, 6, 7};
  return load(values);
}
UNDERSTUDY_INLINE F select_above(F index, float last, F x,
                                 F other) {  // other where index > last, else x
  const float32x4_t bound = vdupq_n_f32(last);
  return {vbslq_f32(vcgtq_f32(index.low, bound), other.low, x.low),
          vbslq_f32(vcgtq_f32(index.high, bound), other.high, x.high)};
}
UNDERSTUDY_INLINE F load_f16(const uint16_t* p) {
  const float16x8_t halves = vreinterpretq_f16_u16(vld1q_u16(p));
  return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
}
UNDERSTUDY_INLINE F load_bf16(const uint16_t* p) {
  const uint16x8_t halves = vld1q_u16(p);
  return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(halves), 16)),
          vreinterpretq_f32_u32(vshll_high_n_u16(halves, 16))};
}
UNDERSTUDY_INLINE F to_float(I x) { return {vcvtq_f32_s32(x.low), vcvtq_f32_s32(x.high)}; }
UNDERSTUDY_INLINE F load_i8(const int8_t* p) {
  const int16x8_t words = vmovl_s8(vld1_s8(p));
  return to_float({vmovl_s16(vget_low_s16(words)), vmovl_high_s16(words)});
}
UNDERSTUDY_INLINE I splat_int(int32_t x) { return {vdupq_n_s32(x), vdupq_n_s32(x)}; }
UNDERSTUDY_INLINE I to_int(F x) { return {vcvtnq_s32_f32(x.low), vcvtnq_s32_f32(x.high)}; }
UNDERSTUDY_INLINE void store_bytes(int8_t* p, I x) {
  vst1_s8(p, vmovn_s16(vcombine_s16(vmovn_s32(x.low), vmovn_s32(x.high))));
}
UNDERSTUDY_INLINE I shift_left_4(I x) { return {vshlq_n_s32(x.low, 4), vshlq_n_s32(x.high, 4)}; }
UNDERSTUDY_INLINE I shift_right_4_rounded(I x) {
  return {vrshrq_n_s32(x.low, 4), vrshrq_n_s32(x.high, 4)};
}
UNDERSTUDY_INLINE I add_int(I a, I b) {
  return {vaddq_s32(a.low, b.low), vaddq_s32(a.high, b.high)};
}
UNDERSTUDY_INLINE I sub_int(I a, I b) {
  return {vsubq_s32(a.low, b.low), vsubq_s32(a.high, b.high)};
}
UNDERSTUDY_INLINE int32_t reduce_add_int(I x) { return vaddvq_s32(vaddq_s32(x.low, x.high)); }

// One group of 32 columns for LANES rows, unpacked to signed bytes: for each of eight quads of
// columns, four rows in `low` and four in `high`. 4-bit weights keep their offset (0 … 15 is signed
// already), 8-bit ones lose it.
struct Weights {
  int8x16_t low[8], high[8];
};
UNDERSTUDY_INLINE Weights unpack_q4(const uint8_t* quads) {
  const uint8x16_t nibble = vdupq_n_u8(15);
  Weights w;
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 4; ++i) {
    const uint8x16_t low = vld1q_u8(quads + 64 * i), high = vld1q_u8(quads + 64 * i + 16);
    w.low[i] = vreinterpretq_s8_u8(vandq_u8(low, nibble));
    w.high[i] = vreinterpretq_s8_u8(vandq_u8(high, nibble));
    w.low[i + 4] = vreinterpretq_s8_u8(vshrq_n_u8(low, 4));
    w.high[i + 4] = vreinterpretq_s8_u8(vshrq_n_u8(high, 4));
  }
  return w;
}
UNDERSTUDY_INLINE Weights unpack_q8(const uint8_t* quads) {
  const uint8x16_t sign = vdupq_n_u8(0x80);
  Weights w;
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) {
    w.low[i] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(quads + 64 * i), sign));
    w.high[i] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(quads + 64 * i + 16), sign));
  }
  return w;
}
// Which rows of a group of q3 have shifted values (all bits of their lanes), and the rows'
// multipliers.
struct Shifts {
  uint32x4_t low, high;
};
UNDERSTUDY_INLINE I q3_rows(const uint8_t* rows) {
  const int16x8_t words = vmovl_s8(vld1_s8(reinterpret_cast<const int8_t*>(rows)));
  return {vmovl_s16(vget_low_s16(words)), vmovl_high_s16(words)};
}
UNDERSTUDY_INLINE Shifts q3_shifts(const uint8_t* rows) {
  const int32x4_t one = vdupq_n_s32(1);
  const I all = q3_rows(rows);
  return {vtstq_s32(all.low, one), vtstq_s32(all.high, one)};
}
UNDERSTUDY_INLINE F q3_multipliers(const uint8_t* rows) {
  const I all = q3_rows(rows);
  return to_float({vshrq_n_s32(all.low, 1), vshrq_n_s32(all.high, 1)});
}
UNDERSTUDY_INLINE I q3_start(int32_t plain, int32_t shifted, Shifts shifts) {
  const int32x4_t first = vdupq_n_s32(plain), second = vdupq_n_s32(shifted);
  return {vbslq_s32(shifts.low, second, first), vbslq_s32(shifts.high, second, first)};
}
// Four rows of eight quads: a table gives the values, as they are without a shift; they are signed
// bytes.
UNDERSTUDY_INLINE void unpack_q3(const uint8_t* planes, int8x16_t* quads) {
  const uint8x16_t levels = vld1q_u8(Q3_LEVELS), code = vdupq_n_u8(7), low = vdupq_n_u8(3);
  const auto look_up = [&](uint8x16_t x) __attribute__((always_inline)) {
    return vreinterpretq_s8_u8(vqtbl1q_u8(levels, vandq_u8(x, code)));
  };
  uint8x16_t plane[3];
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 3; ++i) {
    plane[i] = vld1q_u8(planes + Q3_PLANE_BYTES * i);
    quads[2 * i] = look_up(plane[i]);
    quads[2 * i + 1] = look_up(vshrq_n_u8(plane[i], 3));
  }
  quads[6] = look_up(vbslq_u8(low, vshrq_n_u8(plane[0], 6), vshrq_n_u8(plane[2], 4)));
  quads[7] = look_up(vbslq_u8(low, vshrq_n_u8(plane[1], 6), vshrq_n_u8(plane[2], 5)));
}
UNDERSTUDY_INLINE Weights unpack_q3(const uint8_t* planes) {
  Weights w;
  unpack_q3(planes, w.low);
  unpack_q3(planes + 16, w.high);
  return w;
}
UNDERSTUDY_INLINE Weights shift_q3(Weights w, Shifts shifts) {
  const uint8x16_t two = vdupq_n_u8(Q3_SHIFT);
  const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(vreinterpretq_u8_u32(shifts.low), two)),
                  high = vreinterpretq_s8_u8(vandq_u8(vreinterpretq_u8_u32(shifts.high), two));
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) {
    w.low[i] = vaddq_s8(w.low[i], low);
    w.high[i] = vaddq_s8(w.high[i], high);
  }
  return w;
}
UNDERSTUDY_INLINE I load_bytes(const uint8_t* p) {
  return {vreinterpretq_s32_u8(vld1q_u8(p)), vreinterpretq_s32_u8(vld1q_u8(p + 16))};
}
// Alternately from a and b, of the first or last eight bytes of every 16.
UNDERSTUDY_INLINE I unpacklo_bytes(I a, I b) {
  const auto zip = [](int32x4_t x, int32x4_t y) {
    return vreinterpretq_s32_s8(vzip1q_s8(vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(y)));
  };
  return {zip(a.low, b.low), zip(a.high, b.high)};
}
UNDERSTUDY_INLINE I unpackhi_bytes(I a, I b) {
  const auto zip = [](int32x4_t x, int32x4_t y) {
    return vreinterpretq_s32_s8(vzip2q_s8(vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(y)));
  };
  return {zip(a.low, b.low), zip(a.high, b.high)};
}
UNDERSTUDY_INLINE I unpacklo_pairs(I a, I b) {
  const auto zip = [](int32x4_t x, int32x4_t y) {
    return vreinterpretq_s32_s16(vzip1q_s16(vreinterpretq_s16_s32(x), vreinterpretq_s16_s32(y)));
  };
  return {zip(a.low, b.low), zip(a.high, b.high)};
}
UNDERSTUDY_INLINE I unpackhi_pairs(I a, I b) {
  const auto zip = [](int32x4_t x, int32x4_t y) {
    return vreinterpretq_s32_s16(vzip2q_s16(vreinterpretq_s16_s32(x), vreinterpretq_s16_s32(y)));
  };
  return {zip(a.low, b.low), zip(a.high, b.high)};
}
UNDERSTUDY_INLINE int32x4_t low_nibbles(int32x4_t packed) {
  return vreinterpretq_s32_u8(vandq_u8(vreinterpretq_u8_s32(packed), vdupq_n_u8(15)));
}
UNDERSTUDY_INLINE int32x4_t high_nibbles(int32x4_t packed) {
  return vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(packed), 4));
}
UNDERSTUDY_INLINE I low_nibbles(I packed) {
  return {low_nibbles(packed.low), low_nibbles(packed.high)};
}
UNDERSTUDY_INLINE I high_nibbles(I packed) {
  return {high_nibbles(packed.low), high_nibbles(packed.high)};
}
UNDERSTUDY_INLINE void store_quad(uint8_t* p, I quad) {
  vst1q_u8(p, vreinterpretq_u8_s32(quad.low)), vst1q_u8(p + 16, vreinterpretq_u8_s32(quad.high));
}
UNDERSTUDY_INLINE void store_quads(uint8_t* quads, const Weights& w) {
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) {
    vst1q_u8(quads + 64 * i, vreinterpretq_u8_s8(w.low[i]));
    vst1q_u8(quads + 64 * i + 16, vreinterpretq_u8_s8(w.high[i]));
  }
}
UNDERSTUDY_INLINE Weights load_quads(const uint8_t* quads) {
  Weights w;
  UNDERSTUDY_UNROLL
  for (int i = 0; i < 8; ++i) {
    w.low[i] = vreinterpretq_s8_u8(vld1q_u8(quads + 64 * i));
    w.high[i] = vreinterpretq_s8_u8(vld1q_u8(quads + 64 * i + 16));
  }
  return w;
}
UNDERSTUDY_INLINE int8x16_t broadcast_quad(const int8_t* a) {
  int32_t quad;
  __builtin_memcpy(&quad, a, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(quad));
}

}  // namespace understudy::neon
