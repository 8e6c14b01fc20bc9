// Packing adapters for the kernels, and what they add to the products of a step.
#include "adapter.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "adapters.h"
#include "half.h"

namespace understudy {
namespace {

[[noreturn]] void refuse(const AdapterMatrix& matrix, const std::string& what) {
  throw std::invalid_argument("adapter matrix " + matrix.name + ": " + what);
}

float value_at(const LowRank& w, int64_t index) {
  if (w.format == Format::F32) return reinterpret_cast<const float*>(w.a)[index];
  if (w.format == Format::BF16) return bf16_to_float(reinterpret_cast<const uint16_t*>(w.a)[index]);
  return static_cast<float>(reinterpret_cast<const int8_t*>(w.a)[index]);
}

}  // namespace

// Offsets in bytes; `is_embedding`: A is stored by column.
struct Adapter::Place {
  int64_t a, b, scales;
  int rank;
  bool is_embedding;
};

Adapter::Adapter(const MatrixSizes& sizes, const std::vector<AdapterMatrix>& matrices,
                 Format format)
    : format_(format), by_id_(sizes.size()) {
  if (index_of(format) >= NUM_LOW_RANK_FORMATS)
    throw std::invalid_argument("an adapter is f32, bf16 or q8");
  std::vector<std::pair<int, const AdapterMatrix*>> in_order;
  for (const AdapterMatrix& matrix : matrices) {
    const auto found = sizes.find(matrix.name);
    if (found == sizes.end()) refuse(matrix, "the model has no such matrix");
    const MatrixSize& size = found->second;
    if (matrix.rows != size.rows || matrix.columns != size.columns)
      refuse(matrix, "not the shape of the model's");
    if (matrix.rank < 1 || matrix.rank > MAX_LOW_RANK) refuse(matrix, "impossible rank");
    in_order.emplace_back(size.id, &matrix);
  }
  std::sort(in_order.begin(), in_order.end());
  int64_t end = 0;
  std::vector<Place> places;
  for (const auto& [id, matrix] : in_order) places.push_back(place(*matrix, &end));
  bytes_ = static_cast<size_t>(end);
  storage_.reserve(bytes_);
  for (size_t i = 0; i < places.size(); ++i)
    pack(*in_order[i].second, places[i], by_id_[static_cast<size_t>(in_order[i].first)]);
}

Adapter::Place Adapter::place(const AdapterMatrix& m, int64_t* end) const {
  constexpr int64_t LINE = 64;
  const auto take = [&](int64_t bytes) {
    const int64_t begin = *end;
    *end += round_up(bytes, LINE);
    return begin;
  };
  const bool is_embedding = m.name == EMBEDDING_NAME;
  const int64_t rank = round_up(m.rank, LOW_RANK_MULTIPLE), size = low_rank_bytes(format_);
  const int64_t columns = is_embedding ? m.columns : round_up(m.columns, PANEL_ROWS);
  const int64_t scales = take(rank * static_cast<int64_t>(sizeof(float)));
  const int64_t a = take(rank * columns * size);
  const int64_t b = take(rank * round_up(m.rows, LOW_RANK_ROWS) * size);
  return {a, b, scales, static_cast<int>(rank), is_embedding};
}

void Adapter::pack(const AdapterMatrix& m, const Place& place, LowRank& to) {
  uint8_t *a = storage_.data() + place.a, *b = storage_.data() + place.b;
  auto* scales = reinterpret_cast<float*>(storage_.data() + place.scales);
  to = {format_, m.rows, m.columns, place.rank, a, b, scales};
  const auto step = [&](float largest) {  // of integers; 1 for floats
    return format_ == Format::Q8 && largest > 0 ? largest / 127.0f : 1.0f;
  };
  for (int64_t k = 0; k < m.rank; ++k) {
    float largest_a = 0, largest_b = 0;
    for (int64_t c = 0; c < m.columns; ++c)
      largest_a = std::max(largest_a, std::fabs(m.a[k * m.columns + c]));
    for (int64_t r = 0; r < m.rows; ++r)
      largest_b = std::max(largest_b, std::fabs(m.b[r * m.rank + k]));
    const float step_a = step(largest_a), step_b = step(largest_b);
    scales[k] = m.scale * step_a * step_b;
    for (int64_t c = 0; c < m.columns; ++c)
      put(a, place.is_embedding ? c * place.rank + k : k * to.padded_columns() + c,
          m.a[k * m.columns + c] / step_a);
    for (int64_t r = 0; r < m.rows; ++r)
      put(b, (r / LOW_RANK_ROWS * place.rank + k) * LOW_RANK_ROWS + r % LOW_RANK_ROWS,
          m.b[r * m.rank + k] / step_b);
  }
}

void Adapter::put(uint8_t* to, int64_t index, float value) const {
  if (format_ == Format::F32)
    reinterpret_cast<float*>(to)[index] = value;
  else if (format_ == Format::BF16)
    reinterpret_cast<uint16_t*>(to)[index] = float_to_bf16(value);
  else
    to[index] = static_cast<uint8_t>(static_cast<int8_t>(std::nearbyintf(value)));
}

void Adapters::plan(const Batch& batch) {
  tiles_.clear();
  logit_tiles_.clear();
  if (batch.mixes == nullptr) return;
  add_tiles(batch, nullptr, batch.num_tokens, tiles_);
  add_tiles(batch, batch.logit_rows, batch.num_logits, logit_tiles_);
}

// Neighbours of one mixture, at most LOW_RANK_TOKENS together.
void Adapters::add_tiles(const Batch& batch, const int32_t* rows, int count,
                         std::vector<Tile>& tiles) const {
  const AdapterMix* before = nullptr;
  for (int t = 0; t < count; ++t) {
    const AdapterMix* mix = batch.mixes[batch.slots[rows ? rows[t] : t]];
    if (mix != nullptr && mix == before && tiles.back().width < LOW_RANK_TOKENS)
      ++tiles.back().width;
    else if (mix != nullptr)
      tiles.push_back({mix, t, 1});
    before = mix;
  }
}

void Adapters::apply(std::initializer_list<Product> products, const Activations& input,
                     Rows rows) const {
  const std::vector<Tile>& tiles = rows == Rows::TOKENS ? tiles_ : logit_tiles_;
  const auto num_products = static_cast<int64_t>(products.size());
  pool_.share(static_cast<int64_t>(tiles.size()) * num_products, 1,
              [&](int64_t first, int64_t last) {
                for (int64_t i = first; i < last; ++i)
                  apply_to_tile(tiles[static_cast<size_t>(i / num_products)],
                                products.begin()[i % num_products], input);
              });
}

void Adapters::apply_to_tile(const Tile& tile, const Product& product,
                             const Activations& input) const {
  float sums[LOW_RANK_TOKENS * MAX_LOW_RANK];
  const int64_t stride = padded_columns(input.columns);
  for (const AdapterPart& part : *tile.mix) {
    const LowRank* w = part.adapter->find(product.linear->id);
    if (w == nullptr) continue;
    kernels_.shrink[index_of(w->format)](*w, input.x + tile.first * stride, stride, tile.width,
                                         part.factor, sums);
    kernels_.expand[index_of(w->format)](*w, sums, tile.width,
                                         product.out + tile.first * product.stride, product.stride);
  }
}

void Adapters::embed(const Batch& batch, int id, float* x, int64_t stride) const {
  float sums[MAX_LOW_RANK];
  for (const Tile& tile : tiles_)
    for (const AdapterPart& part : *tile.mix) {
      const LowRank* w = part.adapter->find(id);
      for (int t = tile.first; w != nullptr && t < tile.first + tile.width; ++t) {
        for (int k = 0; k < w->rank; ++k)
          sums[k] = part.factor * w->scales[k] *
                    value_at(*w, static_cast<int64_t>(batch.tokens[t]) * w->rank + k);
        kernels_.expand[index_of(w->format)](*w, sums, 1, x + t * stride, stride);
      }
    }
}

}  // namespace understudy
