// Packed weights: what the kernels read. One layout serves every ISA, one token and many.
//
// A weight matrix W (rows, columns) is cut into panels of 16 rows and groups of 32 columns, both
// padded with zeros. Inside a panel the groups follow each other; inside a group the 16 rows stand
// side by side so that a vector register holds one value (or four consecutive columns, the VNNI
// order) of each row:
//   f32   [32 columns][16 rows] float                                                    2048 bytes
//   bf16  [32 columns][16 rows] upper halves of floats                                   1024 bytes
//   q8    16 f16 scales; [8 quads][16 rows][4 columns] of q + 128                         544 bytes
//   q4    16 f16 scales; [4][16 rows][4 columns], low nibble quad i, high nibble quad i+4 288 bytes
//   q4_1   16 f16 scales, 16 f16 minima; nibbles as q4                                     320
//   bytes q4_sparse   panels of 128 rows: first all groups' 128 f16 scales, then for every column
//   one cache line
//         with the nibbles of all rows, not read where the column's input is zero         2304
//         bytes
//   q3   before a panel's groups 16 float row scales; a group: 16 bytes, one a row, of 2·m + shift;
//         [3 planes][16 rows][4 columns] of three-bit codes: quads 2i and 2i + 1 in bits 0-2 and
//         3-5 of plane i, of quad 6 and 7 two bits each in bits 6-7 of planes 0 and 1, and their
//         highest in bits 6 and 7 of plane 2                                            208
//         bytes
// Meaning: q8 w = d·(u - 128); q4, q4_sparse w = d·(u - 8); q4_1 w = d·u + m; q3 w = d·m·(u - 16)
// with u = Q3_LEVELS[code] + 2·shift.
#pragma once
#include <cstddef>
#include <cstdint>

namespace understudy {

constexpr int PANEL_ROWS = 16;
constexpr int MAX_PANEL_ROWS = 128;
constexpr int GROUP = 32;

enum class Format : int { F32 = 0, BF16 = 1, Q8 = 2, Q4 = 3, Q4_1 = 4, Q4_SPARSE = 5, Q3 = 6 };
constexpr int NUM_FORMATS = 7;
constexpr int index_of(Format format) { return static_cast<int>(format); }

constexpr size_t group_bytes(Format format) {
  switch (format) {
    case Format::F32: return 2048;
    case Format::BF16: return 1024;
    case Format::Q8: return 544;
    case Format::Q4: return 288;
    case Format::Q4_1: return 320;
    case Format::Q4_SPARSE: return 2304;
    case Format::Q3: return 208;
  }
  return 0;
}
// What stands before the groups of a panel.
constexpr size_t head_bytes(Format format) { return format == Format::Q3 ? 4 * PANEL_ROWS : 0; }
constexpr int panel_rows(Format format) {
  return format == Format::Q4_SPARSE ? MAX_PANEL_ROWS : PANEL_ROWS;
}

// A column's line in a q4_sparse panel. The order of rows is the one in which interleaving the
// bytes of four lines, inside vectors of 16 bytes, gives quads of 16 rows: `line_byte` and
// `line_shift` say where a row's nibble lies.
constexpr size_t LINE_BYTES = 64;
constexpr size_t LINE_SCALES_BYTES = 2 * MAX_PANEL_ROWS;  // of a group
constexpr int line_byte(int row) { return row % 16 / 4 * 16 + row / 16 % 4 * 4 + row % 4; }
constexpr int line_shift(int row) { return row < MAX_PANEL_ROWS / 2 ? 0 : 4; }
constexpr size_t first_line(int64_t groups) {
  return static_cast<size_t>(groups) * LINE_SCALES_BYTES;
}

// The values that a q3 code stands for, 16 added; twice, so that a shuffle need not clear the
// fourth bit of an index. All of a group's may be two higher. A target that adds products in int16
// relies on their range, 0 to 32.
constexpr int Q3_OFFSET = 16, Q3_SHIFT = 2, Q3_CODES = 8;
constexpr uint8_t Q3_LEVELS[2 * Q3_CODES] = {0, 6, 10, 13, 16, 19, 22, 27,
                                             0, 6, 10, 13, 16, 19, 22, 27};
constexpr int Q3_MAX_MULTIPLIER = 16;  // m is -16 … -1, 1 … 16
constexpr size_t Q3_PLANE_BYTES = 4 * PANEL_ROWS;
constexpr int q3_code(const uint8_t* planes, int row, int column) {
  const int quad = column / 4, byte = 4 * row + column % 4;
  const auto plane = [&](int i) { return planes[i * static_cast<int>(Q3_PLANE_BYTES) + byte]; };
  if (quad < 6) return plane(quad / 2) >> 3 * (quad % 2) & 7;
  return plane(quad - 6) >> 6 | (plane(2) >> quad & 1) << 2;
}
inline void place_q3_code(uint8_t* planes, int row, int column, int code) {  // into zeros
  const int quad = column / 4, byte = 4 * row + column % 4;
  const auto put = [&](int i, int bits) {
    uint8_t& at = planes[i * static_cast<int>(Q3_PLANE_BYTES) + byte];
    at = static_cast<uint8_t>(at | bits);
  };
  if (quad < 6) return put(quad / 2, code << 3 * (quad % 2));
  put(quad - 6, (code & 3) << 6);
  put(2, (code >> 2) << quad);
}

constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

struct PackedTensor {
  Format format = Format::F32;
  int64_t rows = 0, columns = 0;
  const uint8_t* data = nullptr;

  int64_t groups() const { return round_up(columns, GROUP) / GROUP; }
  int64_t panels() const { return round_up(rows, panel_rows(format)) / panel_rows(format); }
  size_t panel_bytes() const {
    return head_bytes(format) + static_cast<size_t>(groups()) * group_bytes(format);
  }
  size_t bytes() const { return static_cast<size_t>(panels()) * panel_bytes(); }
  const uint8_t* panel(int64_t index) const {
    return data + static_cast<size_t>(index) * panel_bytes();
  }
};

// True where the kernel multiplies int8 activations, false where it multiplies floats.
constexpr bool is_integer(Format format) { return format >= Format::Q8; }

}  // namespace understudy
