// Keys and values in pages of 32 positions. One pool; page p of layer l and head h is one
// contiguous piece, laid out as the attention kernel reads it (kernels/kernels.h, AttendChunk).
// Layers are counted among those that have attention.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "memory.h"
#include "spec.h"

namespace understudy {

class Cache {
 public:
  Cache(const Spec& spec, int64_t num_pages, KvFormat format);  // throws std::bad_alloc

  int64_t num_pages() const { return num_pages_; }
  KvFormat format() const { return format_; }
  int padded_dim() const { return padded_dim_; }
  size_t page_bytes() const { return piece_bytes_ * static_cast<size_t>(num_layers_) * num_heads_; }

  uint8_t* piece(int layer, int64_t page, int head) const {
    return pool_.data() +
           ((static_cast<size_t>(layer) * num_pages_ + page) * num_heads_ + head) * piece_bytes_;
  }
  // Writes one position of one head: `key` and `value` hold head_dim floats.
  void store(uint8_t* piece, int position_in_page, const float* key, const float* value) const;

  void copy_page(int64_t source, int64_t target);
  void read_page(int64_t page, uint8_t* out) const;  // page_bytes, layer by layer
  void write_page(int64_t page, const uint8_t* in);

 private:
  int num_layers_, num_heads_, head_dim_, padded_dim_;
  int64_t num_pages_;
  KvFormat format_;
  size_t piece_bytes_;
  LazyMemory pool_;
};

}  // namespace understudy
