#include "blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "half.h"
#include "q3.h"

namespace understudy {
namespace {

struct TypeFacts {
  const char* name;
  BlockType type;
  int values;
  size_t bytes;
};

constexpr TypeFacts TYPES[] = {
    {"F32", BlockType::F32, 1, 4},       {"F16", BlockType::F16, 1, 2},
    {"BF16", BlockType::BF16, 1, 2},     {"Q8_0", BlockType::Q8_0, 32, 34},
    {"Q4_0", BlockType::Q4_0, 32, 18},   {"Q4_1", BlockType::Q4_1, 32, 20},
    {"Q5_0", BlockType::Q5_0, 32, 22},   {"Q5_1", BlockType::Q5_1, 32, 24},
    {"Q4_K", BlockType::Q4_K, 256, 144}, {"Q5_K", BlockType::Q5_K, 256, 176},
    {"Q6_K", BlockType::Q6_K, 256, 210}, {"Q3_U", BlockType::Q3_U, GROUP, q3::CODE_BYTES},
};

const TypeFacts& facts(BlockType type) { return TYPES[static_cast<int>(type)]; }
size_t block_bytes(BlockType type) { return facts(type).bytes; }

inline uint16_t read_u16(const uint8_t* p) {
  uint16_t value;
  std::memcpy(&value, p, 2);
  return value;
}
inline float read_half(const uint8_t* p) { return f16_to_float(read_u16(p)); }
inline void write_half(uint8_t* p, float value) {
  const uint16_t half = float_to_f16(value);
  std::memcpy(p, &half, 2);
}

// 32 values of 4 bits and, for the five-bit types, one high bit each: value j < 16 in the low
// nibble of byte j.
void nibbles(const uint8_t* qs, const uint8_t* high, float scale, float offset, float* out) {
  uint32_t bits = 0;
  if (high != nullptr) std::memcpy(&bits, high, 4);
  for (int j = 0; j < 16; ++j) {
    const int low = (qs[j] & 15) | ((bits >> j) & 1) << 4,
              up = (qs[j] >> 4) | ((bits >> (j + 16)) & 1) << 4;
    out[j] = static_cast<float>(low) * scale + offset;
    out[j + 16] = static_cast<float>(up) * scale + offset;
  }
}

// Six-bit scale and minimum number j of a K block.
void scale_min(const uint8_t* s, int j, int* scale, int* minimum) {
  if (j < 4) {
    *scale = s[j] & 63;
    *minimum = s[j + 4] & 63;
  } else {
    *scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    *minimum = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
  }
}

void dequantize_q4_k(const uint8_t* b, const uint8_t* qh, const uint8_t* qs, float* out) {
  const float d = read_half(b), dmin = read_half(b + 2);
  for (int j = 0; j < 8; ++j) {
    int scale, minimum;
    scale_min(b + 4, j, &scale, &minimum);
    const float step = d * static_cast<float>(scale), base = dmin * static_cast<float>(minimum);
    for (int i = 0; i < 32; ++i) {
      int q = j % 2 == 0 ? qs[(j / 2) * 32 + i] & 15 : qs[(j / 2) * 32 + i] >> 4;
      if (qh != nullptr) q |= ((qh[i] >> j) & 1) << 4;
      out[j * 32 + i] = step * static_cast<float>(q) - base;
    }
  }
}

void dequantize_q6_k(const uint8_t* b, float* out) {
  const uint8_t *ql = b, *qh = b + 128;
  const int8_t* scales = reinterpret_cast<const int8_t*>(b + 192);
  const float d = read_half(b + 208);
  for (int half = 0; half < 2; ++half)
    for (int part = 0; part < 4; ++part)
      for (int i = 0; i < 32; ++i) {
        const uint8_t byte = ql[half * 64 + (part % 2) * 32 + i];
        const int low = part < 2 ? byte & 15 : byte >> 4,
                  high = (qh[half * 32 + i] >> (2 * part)) & 3;
        const int at = half * 128 + part * 32 + i;
        out[at] =
            d * static_cast<float>(scales[at / 16]) * static_cast<float>((low | high << 4) - 32);
      }
}

void dequantize_block(BlockType type, const uint8_t* b, float* out) {
  switch (type) {
    case BlockType::F32: std::memcpy(out, b, 4); return;
    case BlockType::F16: *out = read_half(b); return;
    case BlockType::BF16: *out = bf16_to_float(read_u16(b)); return;
    case BlockType::Q8_0: {
      const float d = read_half(b);
      for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(static_cast<int8_t>(b[2 + j]));
      return;
    }
    case BlockType::Q4_0:
      nibbles(b + 2, nullptr, 1.0f, -8.0f, out);
      for (int j = 0; j < 32; ++j) out[j] *= read_half(b);
      return;
    case BlockType::Q5_0:
      nibbles(b + 6, b + 2, 1.0f, -16.0f, out);
      for (int j = 0; j < 32; ++j) out[j] *= read_half(b);
      return;
    case BlockType::Q4_1: return nibbles(b + 4, nullptr, read_half(b), read_half(b + 2), out);
    case BlockType::Q5_1: return nibbles(b + 8, b + 4, read_half(b), read_half(b + 2), out);
    case BlockType::Q4_K: return dequantize_q4_k(b, nullptr, b + 16, out);
    case BlockType::Q5_K: return dequantize_q4_k(b, b + 16, b + 48, out);
    case BlockType::Q6_K: return dequantize_q6_k(b, out);
    case BlockType::Q3_U: return;  // a row at a time
  }
}

// The value of largest magnitude, sign kept; the first of equals.
float extreme(const float* x, int n) {
  float best = 0, magnitude = 0;
  for (int i = 0; i < n; ++i)
    if (std::fabs(x[i]) > magnitude) magnitude = std::fabs(x[i]), best = x[i];
  return best;
}

void quantize_q8_0(const float* x, uint8_t* b) {
  const float d = std::fabs(extreme(x, 32)) / 127.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  write_half(b, d);
  for (int j = 0; j < 32; ++j)
    b[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(std::roundf(x[j] * inverse)));
}

uint8_t nibble(float value) {
  return static_cast<uint8_t>(std::min(15, std::max(0, static_cast<int>(value))));
}

void quantize_q4_0(const float* x, uint8_t* b) {
  const float d = extreme(x, 32) / -8.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  write_half(b, d);
  for (int j = 0; j < 16; ++j)
    b[2 + j] = static_cast<uint8_t>(nibble(x[j] * inverse + 8.5f) |
                                    nibble(x[j + 16] * inverse + 8.5f) << 4);
}

void quantize_q4_1(const float* x, uint8_t* b) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float d = (*high - *low) / 15.0f, inverse = d != 0 ? 1.0f / d : 0.0f, base = *low;
  write_half(b, d);
  write_half(b + 2, base);
  for (int j = 0; j < 16; ++j)
    b[4 + j] = static_cast<uint8_t>(nibble((x[j] - base) * inverse + 0.5f) |
                                    nibble((x[j + 16] - base) * inverse + 0.5f) << 4);
}

constexpr int64_t PACK_GROUPS = 8;  // a whole number of K blocks

// ---- panels
// ------------------------------------------------------------------------------------------------------

// One row's share of one packed group, in file-block form: what `place` writes into the panel.
struct GroupRow {
  float values[GROUP];  // f32 and bf16
  uint16_t scale, minimum;
  uint8_t codes[GROUP];  // q8: q + 128; q4, q4_1: 0..15
};

void codes_from_nibbles(const uint8_t* qs, uint8_t* codes) {
  for (int j = 0; j < 16; ++j) codes[j] = qs[j] & 15, codes[j + 16] = qs[j] >> 4;
}

// Blocks whose codes go over unchanged. Returns false where the values must be quantised anew.
bool direct_group(BlockType source, Format target, const uint8_t* row, int64_t group,
                  GroupRow* out) {
  if (target == Format::Q4 && source == BlockType::Q4_0) {
    const uint8_t* b = row + group * 18;
    out->scale = read_u16(b);
    codes_from_nibbles(b + 2, out->codes);
    return true;
  }
  if (target == Format::Q4_1 && source == BlockType::Q4_1) {
    const uint8_t* b = row + group * 20;
    out->scale = read_u16(b);
    out->minimum = read_u16(b + 2);
    codes_from_nibbles(b + 4, out->codes);
    return true;
  }
  if (target == Format::Q4_1 && source == BlockType::Q4_K) {
    const uint8_t* b = row + group / 8 * 144;
    const int j = static_cast<int>(group % 8);
    int scale, minimum;
    scale_min(b + 4, j, &scale, &minimum);
    out->scale = float_to_f16(read_half(b) * static_cast<float>(scale));
    out->minimum = float_to_f16(-read_half(b + 2) * static_cast<float>(minimum));
    for (int i = 0; i < GROUP; ++i)
      out->codes[i] = j % 2 == 0 ? b[16 + j / 2 * 32 + i] & 15 : b[16 + j / 2 * 32 + i] >> 4;
    return true;
  }
  if (target == Format::Q8 && source == BlockType::Q8_0) {
    const uint8_t* b = row + group * 34;
    out->scale = read_u16(b);
    for (int i = 0; i < GROUP; ++i) out->codes[i] = b[2 + i] ^ 0x80;
    return true;
  }
  if (target == Format::Q8 && source == BlockType::Q5_0) {
    const uint8_t* b = row + group * 22;
    float values[GROUP];
    nibbles(b + 6, b + 2, 1.0f, -16.0f, values);
    out->scale = read_u16(b);
    for (int i = 0; i < GROUP; ++i)
      out->codes[i] = static_cast<uint8_t>(static_cast<int>(values[i]) + 128);
    return true;
  }
  return false;
}

void quantize_group(Format target, GroupRow* out) {
  uint8_t block[34];
  switch (target) {
    case Format::Q8:
      quantize_q8_0(out->values, block);
      out->scale = read_u16(block);
      for (int i = 0; i < GROUP; ++i) out->codes[i] = block[2 + i] ^ 0x80;
      return;
    case Format::Q4:
      quantize_q4_0(out->values, block);
      out->scale = read_u16(block);
      return codes_from_nibbles(block + 2, out->codes);
    case Format::Q4_1:
      quantize_q4_1(out->values, block);
      out->scale = read_u16(block);
      out->minimum = read_u16(block + 2);
      return codes_from_nibbles(block + 4, out->codes);
    default: return;
  }
}

// Writes row r (of a panel's) of a group. Nibbles are or-ed in: the group must have been zeroed.
void place(Format format, const GroupRow& row, int r, uint8_t* group) {
  if (format == Format::F32 || format == Format::BF16) {
    for (int c = 0; c < GROUP; ++c) {
      if (format == Format::F32) {
        std::memcpy(group + 4 * (c * PANEL_ROWS + r), &row.values[c], 4);
      } else {
        const uint16_t half = float_to_bf16(row.values[c]);
        std::memcpy(group + 2 * (c * PANEL_ROWS + r), &half, 2);
      }
    }
    return;
  }
  std::memcpy(group + 2 * r, &row.scale, 2);
  if (format == Format::Q4_1) std::memcpy(group + 32 + 2 * r, &row.minimum, 2);
  uint8_t* quads = group + (format == Format::Q4_1 ? 64 : 32);
  for (int c = 0; c < GROUP; ++c) {
    const int quad = c / 4, byte = r * 4 + c % 4;
    if (format == Format::Q8)
      quads[quad * 64 + byte] = row.codes[c];
    else
      quads[quad % 4 * 64 + byte] |= static_cast<uint8_t>(row.codes[c] << (quad < 4 ? 0 : 4));
  }
}

// The same in a q4_sparse panel, where scales and lines lie apart.
void place_in_lines(const GroupRow& row, int r, uint8_t* scales, uint8_t* lines) {
  std::memcpy(scales + 2 * r, &row.scale, 2);
  uint8_t* byte = lines + line_byte(r);
  for (int c = 0; c < GROUP; ++c, byte += LINE_BYTES)
    *byte = static_cast<uint8_t>(*byte | row.codes[c] << line_shift(r));
}

// Groups [first, last) of a row.
void pack_row(BlockType source, const uint8_t* data, int64_t columns, Format target, int r,
              int64_t first, int64_t last, uint8_t* panel) {
  const int64_t block = block_values(source), groups = round_up(columns, GROUP) / GROUP;
  const Format codes =
      target == Format::Q4_SPARSE ? Format::Q4 : target;  // the same values in another order
  float buffer[256];
  int64_t decoded = -1;
  for (int64_t g = first; g < last; ++g) {
    GroupRow row = {};
    if (!direct_group(source, codes, data, g, &row)) {
      const int count = static_cast<int>(std::min<int64_t>(GROUP, columns - g * GROUP));
      if (block <= GROUP) {
        dequantize(source, data + static_cast<size_t>(g * GROUP / block) * block_bytes(source),
                   count, row.values);
      } else {
        if (g * GROUP / block != decoded) {
          decoded = g * GROUP / block;
          dequantize_block(source, data + static_cast<size_t>(decoded) * block_bytes(source),
                           buffer);
        }
        std::memcpy(row.values, buffer + g * GROUP % block, GROUP * sizeof(float));
      }
      quantize_group(codes, &row);
    }
    if (target == Format::Q4_SPARSE)
      place_in_lines(row, r, panel + static_cast<size_t>(g) * LINE_SCALES_BYTES,
                     panel + first_line(groups) + static_cast<size_t>(g) * GROUP * LINE_BYTES);
    else
      place(target, row, r, panel + static_cast<size_t>(g) * group_bytes(target));
  }
}

void unpack_line_row(const PackedTensor& t, int64_t row, float* out) {
  const int r = static_cast<int>(row % MAX_PANEL_ROWS);
  const uint8_t* panel = t.panel(row / MAX_PANEL_ROWS);
  const uint8_t* line = panel + first_line(t.groups());
  for (int64_t c = 0; c < t.columns; ++c, line += LINE_BYTES) {
    const float scale =
        read_half(panel + static_cast<size_t>(c / GROUP) * LINE_SCALES_BYTES + 2 * r);
    out[c] = scale * static_cast<float>(((line[line_byte(r)] >> line_shift(r)) & 15) - 8);
  }
}

}  // namespace

BlockType block_type(const std::string& name) {
  for (const TypeFacts& t : TYPES)
    if (name == t.name) return t.type;
  throw std::invalid_argument("unknown tensor format " + name);
}

Format packed_format(const std::string& name) {
  static const char* const names[NUM_FORMATS] = {"f32",  "bf16",      "q8", "q4",
                                                 "q4_1", "q4_sparse", "q3"};
  for (int i = 0; i < NUM_FORMATS; ++i)
    if (name == names[i]) return static_cast<Format>(i);
  throw std::invalid_argument("unknown packed format " + name);
}

int64_t block_values(BlockType type) { return facts(type).values; }
size_t row_bytes(BlockType type, int64_t columns) {
  if (columns % block_values(type) != 0)
    throw std::invalid_argument(std::string("a row of ") + std::to_string(columns) +
                                " values is not a whole number of " + facts(type).name +
                                " blocks of " + std::to_string(block_values(type)));
  if (type == BlockType::Q3_U) return q3::row_bytes(columns);
  return static_cast<size_t>(columns / block_values(type)) * block_bytes(type);
}

void dequantize(BlockType type, const uint8_t* data, int64_t count, float* out) {
  if (type == BlockType::F32) {
    std::memcpy(out, data, static_cast<size_t>(count) * 4);
    return;
  }
  if (type == BlockType::Q3_U) return q3::decode_row(data, count, out);
  const int64_t values = block_values(type);
  const size_t bytes = block_bytes(type);
  for (int64_t i = 0; i < count / values; ++i)
    dequantize_block(type, data + static_cast<size_t>(i) * bytes, out + i * values);
}

void quantize(BlockType type, const float* x, int64_t count, uint8_t* out) {
  if (type == BlockType::Q3_U) return q3::round_row(x, count, out);
  const int64_t values = block_values(type);
  const size_t bytes = block_bytes(type);
  for (int64_t i = 0; i < count / values; ++i, x += values, out += bytes) switch (type) {
      case BlockType::F32: std::memcpy(out, x, 4); break;
      case BlockType::F16: write_half(out, *x); break;
      case BlockType::BF16: {
        const uint16_t half = float_to_bf16(*x);
        std::memcpy(out, &half, 2);
        break;
      }
      case BlockType::Q8_0: quantize_q8_0(x, out); break;
      case BlockType::Q4_0: quantize_q4_0(x, out); break;
      case BlockType::Q4_1: quantize_q4_1(x, out); break;
      default: throw std::invalid_argument(std::string("cannot quantise to ") + facts(type).name);
    }
}

// A panel of q3 from rows of any type, whole rows at a time: a row's groups share a scale.
static void pack_q3_panel(BlockType source, const uint8_t* data, int64_t rows, int64_t columns,
                          uint8_t* panel) {
  const int64_t padded = round_up(columns, GROUP);
  std::vector<float> values(static_cast<size_t>(padded));
  std::vector<uint8_t> made(q3::row_bytes(padded));
  for (int r = 0; r < static_cast<int>(rows); ++r, data += row_bytes(source, columns)) {
    if (source != BlockType::Q3_U) {
      dequantize(source, data, columns, values.data());
      q3::round_row(values.data(), padded, made.data());
    }
    q3::place_row(source == BlockType::Q3_U ? data : made.data(), padded / GROUP, r, panel);
  }
}

// A panel of another format from rows of Q3_U.
static void pack_decoded_panel(const uint8_t* data, int64_t rows, int64_t columns, Format target,
                               uint8_t* panel) {
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (int64_t r = 0; r < rows; ++r, data += q3::row_bytes(columns))
    q3::decode_row(data, columns, values.data() + r * columns);
  pack_panels(BlockType::F32, reinterpret_cast<const uint8_t*>(values.data()), rows, columns,
              target, 0, 1, panel);
}

void pack_panels(BlockType source, const uint8_t* data, int64_t rows, int64_t columns,
                 Format target, int64_t first, int64_t last, uint8_t* out) {
  const size_t stride = row_bytes(source, columns);
  const PackedTensor shape{target, rows, columns, nullptr};
  for (int64_t p = first; p < last; ++p) {
    uint8_t* panel = out + static_cast<size_t>(p) * shape.panel_bytes();
    std::memset(panel, 0, shape.panel_bytes());
    const int64_t first_row = p * panel_rows(target);
    const uint8_t* first_data = data + static_cast<size_t>(first_row) * stride;
    const int64_t count = std::min<int64_t>(panel_rows(target), rows - first_row);
    if (target == Format::Q3) {
      pack_q3_panel(source, first_data, count, columns, panel);
      continue;
    }
    if (source == BlockType::Q3_U) {
      pack_decoded_panel(first_data, count, columns, target, panel);
      continue;
    }
    // All rows of some groups, so that what they are or-ed into stays in the L1 cache.
    for (int64_t g = 0; g < shape.groups(); g += PACK_GROUPS)
      for (int r = 0; r < panel_rows(target) && first_row + r < rows; ++r)
        pack_row(source, data + static_cast<size_t>(first_row + r) * stride, columns, target, r, g,
                 std::min(g + PACK_GROUPS, shape.groups()), panel);
  }
}

void unpack_row(const PackedTensor& t, int64_t row, float* out) {
  if (t.format == Format::Q4_SPARSE) return unpack_line_row(t, row, out);
  if (t.format == Format::Q3) return q3::unpack_row(t, row, out);
  const uint8_t* group = t.panel(row / panel_rows(t.format));
  const int r = static_cast<int>(row % panel_rows(t.format));
  for (int64_t g = 0; g < t.groups(); ++g, group += group_bytes(t.format)) {
    const int count = static_cast<int>(std::min<int64_t>(GROUP, t.columns - g * GROUP));
    const float scale = read_half(group + 2 * r),
                minimum = t.format == Format::Q4_1 ? read_half(group + 32 + 2 * r) : 0;
    const uint8_t* quads = group + (t.format == Format::Q4_1 ? 64 : 32);
    for (int c = 0; c < count; ++c) {
      float& y = out[g * GROUP + c];
      const int quad = c / 4, byte = r * 4 + c % 4;
      const int code = t.format == Format::Q8
                           ? quads[(quad * 64 + byte) % 512]
                           : (quads[quad % 4 * 64 + byte] >> (quad < 4 ? 0 : 4)) & 15;
      switch (t.format) {
        case Format::F32: std::memcpy(&y, group + 4 * (c * PANEL_ROWS + r), 4); break;
        case Format::BF16: y = bf16_to_float(read_u16(group + 2 * (c * PANEL_ROWS + r))); break;
        case Format::Q8: y = scale * static_cast<float>(code - 128); break;
        case Format::Q4: y = scale * static_cast<float>(code - 8); break;
        case Format::Q4_1: y = scale * static_cast<float>(code) + minimum; break;
        case Format::Q4_SPARSE:
        case Format::Q3: break;
      }
    }
  }
}

}  // namespace understudy
