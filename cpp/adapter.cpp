// Packing adapters for the kernels, and what they add to the products of a step.
#include "adapter.h"

#include <algorithm>
#include <stdexcept>

#include "adapters.h"
#include "half.h"

namespace understudy {
namespace {

[[noreturn]] void refuse(const AdapterMatrix& matrix, const std::string& what) {
  throw std::invalid_argument("adapter matrix " + matrix.name + ": " + what);
}

}  // namespace

Adapter::Adapter(const MatrixSizes& sizes, const std::vector<AdapterMatrix>& matrices,
                 Format format)
    : format_(format), by_id_(sizes.size()) {
  if (is_integer(format)) throw std::invalid_argument("an adapter is f32 or bf16");
  for (const AdapterMatrix& matrix : matrices) {
    const auto found = sizes.find(matrix.name);
    if (found == sizes.end()) refuse(matrix, "the model has no such matrix");
    const MatrixSize& size = found->second;
    if (matrix.rows != size.rows || matrix.columns != size.columns)
      refuse(matrix, "not the shape of the model's");
    if (matrix.rank < 1 || matrix.rank > MAX_LOW_RANK) refuse(matrix, "impossible rank");
    pack(matrix, matrix.name == EMBEDDING_NAME, by_id_[static_cast<size_t>(size.id)]);
  }
}

void Adapter::pack(const AdapterMatrix& m, bool is_embedding, LowRank& to) {
  to.format = format_;
  to.rows = m.rows;
  to.columns = m.columns;
  to.rank = static_cast<int>(round_up(m.rank, LOW_RANK_MULTIPLE));
  to.scale = m.scale;
  const int64_t width = to.padded_columns(), rows = round_up(m.rows, LOW_RANK_ROWS);
  uint8_t* a = keep(to.rank * (is_embedding ? m.columns : width));
  for (int64_t k = 0; k < m.rank; ++k)
    for (int64_t c = 0; c < m.columns; ++c)
      put(a, is_embedding ? c * to.rank + k : k * width + c, m.a[k * m.columns + c]);
  uint8_t* b = keep(to.rank * rows);
  for (int64_t r = 0; r < m.rows; ++r)
    for (int64_t k = 0; k < m.rank; ++k)
      put(b, (r / LOW_RANK_ROWS * to.rank + k) * LOW_RANK_ROWS + r % LOW_RANK_ROWS,
          m.b[r * m.rank + k]);
  to.a = a;
  to.b = b;
}

uint8_t* Adapter::keep(int64_t values) {
  const auto bytes = static_cast<size_t>(values * low_rank_bytes(format_));
  storage_.push_back(std::make_unique<Memory<uint8_t>>());
  storage_.back()->reserve(bytes);
  bytes_ += bytes;
  return storage_.back()->data();
}

void Adapter::put(uint8_t* to, int64_t index, float value) const {
  if (format_ == Format::F32)
    reinterpret_cast<float*>(to)[index] = value;
  else
    reinterpret_cast<uint16_t*>(to)[index] = float_to_bf16(value);
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
                                         part.factor * w->scale, sums);
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
        const uint8_t* row = w->a + batch.tokens[t] * w->rank * low_rank_bytes(w->format);
        for (int k = 0; k < w->rank; ++k) {
          const float value = w->format == Format::F32
                                  ? reinterpret_cast<const float*>(row)[k]
                                  : bf16_to_float(reinterpret_cast<const uint16_t*>(row)[k]);
          sums[k] = part.factor * w->scale * value;
        }
        kernels_.expand[index_of(w->format)](*w, sums, 1, x + t * stride, stride);
      }
    }
}

}  // namespace understudy
