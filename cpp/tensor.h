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
// Meaning: q8 w = d·(u - 128); q4, q4_sparse w = d·(u - 8); q4_1 w = d·u + m.
#pragma once
#include <cstddef>
#include <cstdint>

namespace understudy {

constexpr int PANEL_ROWS = 16;
constexpr int MAX_PANEL_ROWS = 128;
constexpr int GROUP = 32;

enum class Format : int { F32 = 0, BF16 = 1, Q8 = 2, Q4 = 3, Q4_1 = 4, Q4_SPARSE = 5 };
constexpr int NUM_FORMATS = 6;
constexpr int index_of(Format format) { return static_cast<int>(format); }

constexpr size_t group_bytes(Format format) {
  switch (format) {
    case Format::F32: return 2048;
    case Format::BF16: return 1024;
    case Format::Q8: return 544;
    case Format::Q4: return 288;
    case Format::Q4_1: return 320;
    case Format::Q4_SPARSE: return 2304;
  }
  return 0;
}
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

constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

struct PackedTensor {
  Format format = Format::F32;
  int64_t rows = 0, columns = 0;
  const uint8_t* data = nullptr;

  int64_t groups() const { return round_up(columns, GROUP) / GROUP; }
  int64_t panels() const { return round_up(rows, panel_rows(format)) / panel_rows(format); }
  size_t panel_bytes() const { return static_cast<size_t>(groups()) * group_bytes(format); }
  size_t bytes() const { return static_cast<size_t>(panels()) * panel_bytes(); }
  const uint8_t* panel(int64_t index) const {
    return data + static_cast<size_t>(index) * panel_bytes();
  }
};

// True where the kernel multiplies int8 activations, false where it multiplies floats.
constexpr bool is_integer(Format format) { return format >= Format::Q8; }

}  // namespace understudy
