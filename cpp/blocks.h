// Weight blocks as they lie in files (the ggml types) and their way into packed panels (tensor.h).
// Layouts and rounding follow the GGUF format; the `gguf` Python package is the oracle in the
// tests.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "tensor.h"

namespace understudy {

// Q3_U is this product's own (q3.h): its rows are one block each.
enum class BlockType { F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, Q3_U };

// Both throw std::invalid_argument for an unknown name.
BlockType block_type(const std::string& name);
Format packed_format(const std::string& name);

int64_t block_values(BlockType type);  // values in one block; of Q3_U in a group
// Bytes of a row; throws std::invalid_argument when `columns` is not a whole number of blocks.
size_t row_bytes(BlockType type, int64_t columns);

// `count` values; of Q3_U one row.
void dequantize(BlockType type, const uint8_t* data, int64_t count, float* out);
// To F32, F16, BF16, Q8_0, Q4_0, Q4_1 or, one row, Q3_U; throws std::invalid_argument for the
// others.
void quantize(BlockType type, const float* values, int64_t count, uint8_t* out);

// Packs `rows` x `columns` values of `source` into panels of `target`, panels [first, last).
void pack_panels(BlockType source, const uint8_t* data, int64_t rows, int64_t columns,
                 Format target, int64_t first, int64_t last, uint8_t* out);
// One row of a packed matrix as floats.
void unpack_row(const PackedTensor& tensor, int64_t row, float* out);

}  // namespace understudy
