#include "cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "half.h"
#include "kernels/kernels.h"

namespace understudy {
namespace {

// Where value d of a head stands in a piece, in elements.
inline int64_t key_index(int head_dim, int position, int d) {
  return (static_cast<int64_t>(position / 16) * head_dim + d) * 16 + position % 16;
}
inline int64_t value_index(int head_dim, int position, int d) {
  return static_cast<int64_t>(head_dim) * PAGE +
         (static_cast<int64_t>(d / 32) * PAGE + position) * 32 + d % 32;
}

// Beyond the largest half the value is held there: an infinity in the cache would turn masked
// weights into NaN.
inline uint16_t saturated_f16(float x) {
  return float_to_f16(std::min(std::max(x, -65504.0f), 65504.0f));
}

float largest_abs(const float* x, int n) {
  float top = 0;
  for (int i = 0; i < n; ++i) top = std::max(top, std::fabs(x[i]));
  return top;
}

size_t bytes_of_piece(size_t elements, KvFormat format) {
  if (format == KvFormat::INT8) return elements + 2 * PAGE * sizeof(float);
  return elements * (format == KvFormat::F16 ? 2 : sizeof(float));
}

}  // namespace

Cache::Cache(const Spec& spec, int64_t num_pages, KvFormat format)
    : num_layers_(spec.count(Mixer::ATTENTION)),
      num_heads_(spec.num_kv_heads),
      head_dim_(spec.head_dim),
      padded_dim_(static_cast<int>(round_up(spec.head_dim, 32))),
      num_pages_(num_pages),
      format_(format),
      piece_bytes_(bytes_of_piece(static_cast<size_t>(head_dim_ + padded_dim_) * PAGE, format)),
      pool_(page_bytes() * static_cast<size_t>(num_pages)),
      places_(static_cast<size_t>(num_pages)) {
  std::iota(places_.begin(), places_.end(), 0);
  for (int i = 0; i < spec.num_layers; ++i)
    if (const BlockSpec block = spec.block(i); block.mixer == Mixer::ATTENTION)
      is_windowed_.push_back(block.window > 0);
}

void Cache::store(uint8_t* piece, int position, const float* key, const float* value) const {
  if (format_ == KvFormat::F32) {
    float* out = reinterpret_cast<float*>(piece);
    for (int d = 0; d < head_dim_; ++d) out[key_index(head_dim_, position, d)] = key[d];
    for (int d = 0; d < head_dim_; ++d) out[value_index(head_dim_, position, d)] = value[d];
    return;
  }
  if (format_ == KvFormat::F16) {
    uint16_t* out = reinterpret_cast<uint16_t*>(piece);
    constexpr int STEP = 32;  // converted side by side, then laid apart
    for (int from = 0; from < head_dim_; from += STEP) {
      const int count = std::min(STEP, head_dim_ - from);
      uint16_t keys[STEP], values[STEP];
      for (int d = 0; d < count; ++d) keys[d] = saturated_f16(key[from + d]);
      for (int d = 0; d < count; ++d) values[d] = saturated_f16(value[from + d]);
      for (int d = 0; d < count; ++d) out[key_index(head_dim_, position, from + d)] = keys[d];
      std::memcpy(out + value_index(head_dim_, position, from), values, count * sizeof(uint16_t));
    }
    return;
  }
  int8_t* out = reinterpret_cast<int8_t*>(piece);
  float* scales =
      reinterpret_cast<float*>(piece + static_cast<size_t>(head_dim_ + padded_dim_) * PAGE);
  const float key_top = largest_abs(key, head_dim_), value_top = largest_abs(value, head_dim_);
  const float key_inverse = key_top > 0 ? 127.0f / key_top : 0,
              value_inverse = value_top > 0 ? 127.0f / value_top : 0;
  scales[position] = key_top / 127.0f;
  scales[PAGE + position] = value_top / 127.0f;
  for (int d = 0; d < head_dim_; ++d) {
    out[key_index(head_dim_, position, d)] =
        static_cast<int8_t>(std::nearbyintf(key[d] * key_inverse));
    out[value_index(head_dim_, position, d)] =
        static_cast<int8_t>(std::nearbyintf(value[d] * value_inverse));
  }
}

void Cache::copy_page(int64_t source, int64_t target) {
  const size_t bytes = piece_bytes_ * num_heads_;
  for (int layer = 0; layer < num_layers_; ++layer)
    if (has(layer, source) && has(layer, target))
      std::memcpy(piece(layer, target, 0), piece(layer, source, 0), bytes);
}

void Cache::read_page(int64_t page, uint8_t* out) const {
  const size_t bytes = piece_bytes_ * num_heads_;
  for (int layer = 0; layer < num_layers_; ++layer)
    if (has(layer, page))
      std::memcpy(out + layer * bytes, piece(layer, page, 0), bytes);
    else
      std::memset(out + layer * bytes, 0, bytes);
}

void Cache::write_page(int64_t page, const uint8_t* in) {
  const size_t bytes = piece_bytes_ * num_heads_;
  for (int layer = 0; layer < num_layers_; ++layer)
    if (has(layer, page)) std::memcpy(piece(layer, page, 0), in + layer * bytes, bytes);
}

}  // namespace understudy
