// The three-bit format of files, Q3_U, and its way into q3 panels (tensor.h).
//
// A row of a file: an f16 scale d, then one stream of bits, the lowest of a byte first: for every
// group of 32 columns six bits (the magnitude of its multiplier less one in four, its sign,
// whether it is shifted), filled up to a whole byte; then for every column its code in three.
//   w = d / 256 · m · (Q3_LEVELS[code] + 2·shift - 16)
#pragma once
#include <cstddef>
#include <cstdint>

#include "tensor.h"

namespace understudy::q3 {

constexpr size_t CODE_BYTES = 3 * GROUP / 8;  // of a group

constexpr size_t header_bytes(int64_t groups) {
  return 2 + static_cast<size_t>(round_up(6 * groups, 8) / 8);
}
// Of a row of whole groups.
constexpr size_t row_bytes(int64_t columns) {
  const int64_t groups = columns / GROUP;
  return header_bytes(groups) + static_cast<size_t>(groups) * CODE_BYTES;
}

// A row of `columns` values, a multiple of 32.
void decode_row(const uint8_t* row, int64_t columns, float* out);
// The nearest: scales, books and codes by least squares.
void round_row(const float* x, int64_t columns, uint8_t* out);

// A row of a file into row r of a panel that was zeroed.
void place_row(const uint8_t* row, int64_t groups, int r, uint8_t* panel);
// One row of a packed matrix as floats.
void unpack_row(const PackedTensor& tensor, int64_t row, float* out);

}  // namespace understudy::q3
