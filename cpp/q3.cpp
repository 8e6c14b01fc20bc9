#include "q3.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "half.h"

namespace understudy::q3 {
namespace {

constexpr float STEP = 1.0f / 256;           // so that d is of the size of the row's largest weight
constexpr int CODES = Q3_CODES, SHIFTS = 2;  // none, or one

struct Levels {
  float values[CODES], bounds[CODES - 1];
};
constexpr Levels make_levels() {
  Levels levels = {};
  for (int i = 0; i < CODES; ++i) levels.values[i] = static_cast<float>(Q3_LEVELS[i] - Q3_OFFSET);
  for (int i = 0; i + 1 < CODES; ++i)
    levels.bounds[i] = (levels.values[i] + levels.values[i + 1]) / 2;
  return levels;
}
constexpr Levels LEVELS = make_levels();

float level_of(int code, int shift) {
  return LEVELS.values[code] + static_cast<float>(Q3_SHIFT * shift);
}

struct Group {
  int multiplier = 1, shift = 0;
  uint8_t codes[GROUP] = {};
};

int read_bits(const uint8_t* stream, int64_t at, int count) {
  const uint8_t* byte = stream + at / 8;
  const int shift = static_cast<int>(at % 8);
  const int wide = shift + count > 8 ? byte[0] | byte[1] << 8 : byte[0];
  return (wide >> shift) & ((1 << count) - 1);
}

void write_bits(uint8_t* stream, int64_t at, int count, int value) {
  for (int i = 0; i < count; ++i, ++at)
    stream[at / 8] = static_cast<uint8_t>(stream[at / 8] | ((value >> i) & 1) << at % 8);
}

float read_scale(const uint8_t* row) {
  uint16_t half;
  std::memcpy(&half, row, 2);
  return f16_to_float(half) * STEP;
}

Group read_group(const uint8_t* row, int64_t groups, int64_t g) {
  Group group;
  const int header = read_bits(row + 2, 6 * g, 6);
  group.multiplier = (header & 16 ? -1 : 1) * ((header & 15) + 1);
  group.shift = header >> 5;
  const uint8_t* codes = row + header_bytes(groups) + static_cast<size_t>(g) * CODE_BYTES;
  for (int c = 0; c < GROUP; ++c) group.codes[c] = static_cast<uint8_t>(read_bits(codes, 3 * c, 3));
  return group;
}

void write_group(const Group& group, int64_t groups, int64_t g, uint8_t* row) {
  const int sign = group.multiplier < 0 ? 16 : 0;
  write_bits(row + 2, 6 * g, 6, (std::abs(group.multiplier) - 1) | sign | group.shift << 5);
  uint8_t* codes = row + header_bytes(groups) + static_cast<size_t>(g) * CODE_BYTES;
  for (int c = 0; c < GROUP; ++c) write_bits(codes, 3 * c, 3, group.codes[c]);
}

int code_of(float x, int shift) {
  const float moved = x - static_cast<float>(Q3_SHIFT * shift);
  int code = 0;
  for (int i = 0; i + 1 < CODES; ++i) code += moved > LEVELS.bounds[i];
  return code;
}

// What rounding a group with this scale leaves over, squared; `best` as the least-squares scale of
// the codes found.
float error_of(const float* x, float scale, int shift, float* best = nullptr) {
  const float inverse = 1 / scale;
  float error = 0, product = 0, square = 0;
  for (int c = 0; c < GROUP; ++c) {
    const float level = level_of(code_of(x[c] * inverse, shift), shift);
    const float difference = x[c] - scale * level;
    error += difference * difference, product += x[c] * level, square += level * level;
  }
  if (best != nullptr) *best = square > 0 ? product / square : scale;
  return error;
}

// A group's best scale of either sign, were it free, by shift.
struct Wanted {
  float scale[SHIFTS][2], error[SHIFTS][2];
};
Wanted wanted_scales(const float* x) {
  constexpr float SHRINKS[] = {0.7f, 0.8f, 0.9f, 1.0f};
  const auto [low, high] = std::minmax_element(x, x + GROUP);
  Wanted wanted;
  for (int shift = 0; shift < SHIFTS; ++shift)
    for (int sign = 0; sign < 2; ++sign) {
      const float lowest = level_of(0, shift), highest = level_of(CODES - 1, shift);
      const float first = sign == 0 ? lowest : -highest, last = sign == 0 ? highest : -lowest;
      const float full = std::max(*low / first, *high / last);
      float &scale = wanted.scale[shift][sign], &error = wanted.error[shift][sign];
      scale = 0, error = INFINITY;
      for (const float shrink : SHRINKS) {
        if (!(full > 0)) break;
        const float tried = (sign == 0 ? full : -full) * shrink;
        float fitted;
        const float found = error_of(x, tried, shift, &fitted);
        if (found < error) error = found, scale = fitted;
      }
    }
  return wanted;
}

// The best multiplier and shift of a group under the row's scale.
float choose(const float* x, const Wanted& wanted, float row_scale, Group* group) {
  float least = INFINITY;
  for (int shift = 0; shift < SHIFTS; ++shift)
    for (int sign = 0; sign < 2; ++sign) {
      const float magnitude = std::fabs(wanted.scale[shift][sign]) / row_scale;
      const int middle = static_cast<int>(std::nearbyint(magnitude));
      for (int m = std::max(1, middle - 1); m <= std::min(Q3_MAX_MULTIPLIER, middle + 1); ++m) {
        const int multiplier = sign == 0 ? m : -m;
        const float error = error_of(x, row_scale * static_cast<float>(multiplier), shift);
        if (error < least) least = error, group->multiplier = multiplier, group->shift = shift;
      }
      if (middle <= Q3_MAX_MULTIPLIER + 1) continue;
      const int multiplier = sign == 0 ? Q3_MAX_MULTIPLIER : -Q3_MAX_MULTIPLIER;
      const float error = error_of(x, row_scale * static_cast<float>(multiplier), shift);
      if (error < least) least = error, group->multiplier = multiplier, group->shift = shift;
    }
  return least;
}

void set_codes(const float* x, float row_scale, Group* group) {
  const float inverse = 1 / (row_scale * static_cast<float>(group->multiplier));
  for (int c = 0; c < GROUP; ++c)
    group->codes[c] = static_cast<uint8_t>(code_of(x[c] * inverse, group->shift));
}

}  // namespace

void decode_row(const uint8_t* row, int64_t columns, float* out) {
  const int64_t groups = columns / GROUP;
  const float scale = read_scale(row);
  for (int64_t g = 0; g < groups; ++g) {
    const Group group = read_group(row, groups, g);
    for (int c = 0; c < GROUP; ++c)
      *out++ =
          scale * (static_cast<float>(group.multiplier) * level_of(group.codes[c], group.shift));
  }
}

void round_row(const float* x, int64_t columns, uint8_t* out) {
  constexpr float SHARES[] = {0.82f, 0.88f, 0.94f, 1.0f};
  const int64_t groups = columns / GROUP;
  std::memset(out, 0, row_bytes(columns));
  std::vector<Wanted> wanted(static_cast<size_t>(groups));
  float largest = 0;
  for (int64_t g = 0; g < groups; ++g) {
    Wanted& group = wanted[static_cast<size_t>(g)] = wanted_scales(x + g * GROUP);
    const float *errors = group.error[0], *scales = group.scale[0];
    const auto best = std::min_element(errors, errors + 2 * SHIFTS) - errors;
    largest = std::max(largest, std::fabs(scales[best]));
  }
  uint16_t chosen = 0;
  float least = INFINITY;
  for (const float share : SHARES) {
    const uint16_t half = float_to_f16(largest * share / (STEP * Q3_MAX_MULTIPLIER));
    const float scale = f16_to_float(half) * STEP;
    if (!(scale > 0) || (half & 0x7FFF) >= 0x7C00) continue;
    float error = 0;
    Group group;
    for (int64_t g = 0; g < groups && error < least; ++g)
      error += choose(x + g * GROUP, wanted[static_cast<size_t>(g)], scale, &group);
    if (error < least) least = error, chosen = half;
  }
  std::memcpy(out, &chosen, 2);
  const float scale = read_scale(out);
  for (int64_t g = 0; g < groups; ++g) {
    Group group;
    if (scale > 0) {
      choose(x + g * GROUP, wanted[static_cast<size_t>(g)], scale, &group);
      set_codes(x + g * GROUP, scale, &group);
    }
    write_group(group, groups, g, out);
  }
}

void place_row(const uint8_t* row, int64_t groups, int r, uint8_t* panel) {
  const float scale = read_scale(row);
  std::memcpy(panel + 4 * r, &scale, 4);
  uint8_t* out = panel + head_bytes(Format::Q3);
  for (int64_t g = 0; g < groups; ++g, out += group_bytes(Format::Q3)) {
    const Group group = read_group(row, groups, g);
    out[r] = static_cast<uint8_t>(2 * group.multiplier + group.shift);
    for (int c = 0; c < GROUP; ++c) place_q3_code(out + PANEL_ROWS, r, c, group.codes[c]);
  }
}

void unpack_row(const PackedTensor& t, int64_t row, float* out) {
  const int r = static_cast<int>(row % PANEL_ROWS);
  const uint8_t* panel = t.panel(row / PANEL_ROWS);
  float scale;
  std::memcpy(&scale, panel + 4 * r, 4);
  for (int64_t c = 0; c < t.columns; ++c) {
    const uint8_t* group =
        panel + head_bytes(Format::Q3) + static_cast<size_t>(c / GROUP) * group_bytes(Format::Q3);
    const int both = static_cast<int8_t>(group[r]);
    const int code = q3_code(group + PANEL_ROWS, r, static_cast<int>(c % GROUP));
    out[c] = scale * (static_cast<float>(both >> 1) * level_of(code, both & 1));
  }
}

}  // namespace understudy::q3
