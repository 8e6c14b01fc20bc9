// Keys and values in pages of 32 positions. One pool; page p of layer l and head h is one
// contiguous piece, laid out as the attention kernel reads it (kernels/kernels.h, AttendChunk).
// Layers are counted among those that have attention.
//
// Layers with a window forget a page sooner than the others, so what they hold of it has a place of
// its own in their part of the pool: the page's number until somebody says another, or none.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

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

  // Of a page that has no place in a layer with a window, any other's: nobody may look at it.
  uint8_t* piece(int layer, int64_t page, int head) const {
    const int64_t place = is_windowed_[layer] ? std::max(places_[page], 0) : page;
    return pool_.data() +
           ((static_cast<size_t>(layer) * num_pages_ + place) * num_heads_ + head) * piece_bytes_;
  }
  // Where layers with a window keep a page; -1: nowhere.
  void set_place(int64_t page, int32_t place) { places_[page] = place; }
  // Writes one position of one head: `key` and `value` hold head_dim floats.
  void store(uint8_t* piece, int position_in_page, const float* key, const float* value) const;

  void copy_page(int64_t source, int64_t target);
  // page_bytes, layer by layer; zeros where it has no place, which are not written back either.
  void read_page(int64_t page, uint8_t* out) const;
  void write_page(int64_t page, const uint8_t* in);

 private:
  int num_layers_, num_heads_, head_dim_, padded_dim_;
  int64_t num_pages_;
  KvFormat format_;
  size_t piece_bytes_;
  LazyMemory pool_;
  std::vector<char> is_windowed_;  // by layer
  std::vector<int32_t> places_;    // by page

  bool has(int layer, int64_t page) const { return !is_windowed_[layer] || places_[page] >= 0; }
};

}  // namespace understudy
