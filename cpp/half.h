// Conversions between float and its 16-bit forms, in plain arithmetic (no ISA flags needed). Round
// to nearest even.
#pragma once
#include <cstdint>
#include <cstring>

namespace understudy {

static inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

static inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

static inline float f16_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 31, mantissa = half & 1023;
  if (exponent == 31) return bits_to_float(sign | 0x7F800000u | (mantissa << 13));
  if (exponent != 0) return bits_to_float(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float subnormal =
      static_cast<float>(mantissa) * 5.9604644775390625e-8f;  // mantissa · 2^-24
  return sign ? -subnormal : subnormal;
}

// Without branches, so that loops over it become vectors.
static inline uint16_t float_to_f16(float value) {
  const uint32_t bits = float_to_bits(value), magnitude = bits & 0x7FFFFFFFu;
  const uint32_t normal = (magnitude + 0xFFF + ((magnitude >> 13) & 1) - 0x38000000u) >> 13;
  // Subnormal halves: float addition rounds, since an ulp of 0.5 is 2^-24.
  const uint32_t subnormal = float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3F000000u;
  uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
  half = magnitude >= 0x477FF000u ? 0x7C00 : half;  // rounds to infinity
  half = magnitude > 0x7F800000u ? 0x7E00 : half;   // NaN
  return static_cast<uint16_t>(((bits >> 16) & 0x8000) | half);
}

static inline float bf16_to_float(uint16_t half) {
  return bits_to_float(static_cast<uint32_t>(half) << 16);
}

static inline uint16_t float_to_bf16(float value) {
  const uint32_t bits = float_to_bits(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

}  // namespace understudy
