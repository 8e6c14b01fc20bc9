#include "experts.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

namespace understudy {
namespace {

constexpr float SMALLEST_SUM = 1e-20f;  // added to what weights are divided by

// The best `count` of `scores`, first the better, of two alike the first.
std::vector<int> best(const float* scores, int size, int count) {
  std::vector<int> order(size);
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](int a, int b) {
    return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
  });
  order.resize(count);
  return order;
}

}  // namespace

size_t ExpertWeights::bytes_per_token(int used) const {
  size_t bytes = 0;
  for (const Expert& e : experts)
    for (const Linear* w : {&e.gate, &e.up, &e.down})
      if (w->weight.data != nullptr) bytes += w->weight.bytes();
  return router.weight.bytes() + bytes * used / experts.size();
}

void Experts::run(const ExpertWeights& weights, const float* h, int num_tokens, bool has_int12) {
  reserve(num_tokens, has_int12);
  const int64_t hidden = spec_.hidden_size, inner = spec_.experts.inner_size;
  const int64_t count = spec_.experts.count, inner_stride = padded_columns(inner),
                hidden_stride = padded_columns(hidden);
  const Activations normed{h, hidden, num_tokens};
  multiplier_.quantize(normed, weights.router);
  multiplier_.multiply({{&weights.router, logits_.data(), padded_columns(count)}}, normed);
  route(weights, num_tokens);
  group(num_tokens);
  gather(weights, h);
  tasks_.clear();
  for (const Group& g : groups_) {
    const Expert& e = weights.experts[g.expert];
    const Activations input = rows_of(g, inputs_.data(), hidden);
    tasks_.push_back({{&e.up, up_.data() + g.first_row * inner_stride, inner_stride}, input});
    if (spec_.gated)
      tasks_.push_back({{&e.gate, gate_.data() + g.first_row * inner_stride, inner_stride}, input});
  }
  multiplier_.multiply_each(tasks_);
  activate(weights);
  tasks_.clear();
  for (const Group& g : groups_)
    tasks_.push_back({{&weights.experts[g.expert].down,
                       outputs_.data() + g.first_row * hidden_stride, hidden_stride},
                      rows_of(g, up_.data(), inner)});
  multiplier_.multiply_each(tasks_);
  sum_up(num_tokens);
}

void Experts::add(int num_tokens, float scale, float* x) {
  const int64_t stride = padded_columns(spec_.hidden_size);
  pool_.share(num_tokens, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      float* sum = sums_.data() + t * stride;
      for (int i = 0; scale != 1 && i < spec_.hidden_size; ++i) sum[i] *= scale;
      kernels_.add(sum, x + t * stride, spec_.hidden_size);
    }
  });
}

void Experts::reserve(int num_tokens, bool has_int12) {
  const int64_t n = num_tokens, rows = n * spec_.experts.used;
  const int64_t inner = padded_columns(spec_.experts.inner_size),
                hidden = padded_columns(spec_.hidden_size);
  logits_.reserve(n * padded_columns(spec_.experts.count));
  choices_.resize(rows);
  tokens_.resize(rows);
  inputs_.reserve(rows * hidden);
  outputs_.reserve(rows * hidden);
  up_.reserve(rows * inner);
  if (spec_.gated) gate_.reserve(rows * inner);
  sums_.reserve(n * hidden);
  multiplier_.reserve(rows, std::max(spec_.hidden_size, spec_.experts.inner_size), has_int12);
}

void Experts::route(const ExpertWeights& weights, int num_tokens) {
  const int64_t stride = padded_columns(spec_.experts.count);
  pool_.share(num_tokens, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      choose(logits_.data() + t * stride, weights.correction,
             choices_.data() + t * spec_.experts.used);
  });
}

// The experts of one token and their weights.
void Experts::choose(const float* logits, const float* correction, Choice* chosen) const {
  const ExpertsSpec& e = spec_.experts;
  std::vector<float> scores(logits, logits + e.count);
  if (e.scoring == Scoring::SIGMOID) {
    for (float& score : scores) score = 1.0f / (1.0f + std::exp(-score));
  } else {
    const float top = *std::max_element(scores.begin(), scores.end());
    float sum = 0;
    for (float& score : scores) sum += score = std::exp(score - top);
    for (float& score : scores) score /= sum;
  }
  std::vector<float> merit = scores;
  for (int i = 0; correction != nullptr && i < e.count; ++i) merit[i] += correction[i];
  if (e.num_groups > 1) keep_best_groups(merit.data());
  std::vector<int> numbers = best(merit.data(), e.count, e.used);
  std::sort(numbers.begin(), numbers.end());
  float sum = 0;
  for (const int number : numbers) sum += scores[number];
  const float divisor = e.is_normalised ? sum + SMALLEST_SUM : 1.0f;
  for (int i = 0; i < e.used; ++i)
    chosen[i] = {numbers[i], scores[numbers[i]] / divisor * e.scale, 0};
}

// Experts outside the best groups get a merit that nobody chooses. A group is as good as its two
// best.
void Experts::keep_best_groups(float* merit) const {
  const ExpertsSpec& e = spec_.experts;
  const int size = e.count / e.num_groups;
  std::vector<float> of_groups(e.num_groups);
  for (int g = 0; g < e.num_groups; ++g) {
    const std::vector<int> two = best(merit + g * size, size, 2);
    of_groups[g] = merit[g * size + two[0]] + merit[g * size + two[1]];
  }
  std::vector<bool> is_kept(e.num_groups);
  for (const int g : best(of_groups.data(), e.num_groups, e.used_groups)) is_kept[g] = true;
  for (int i = 0; i < e.count; ++i)
    if (!is_kept[i / size]) merit[i] = -std::numeric_limits<float>::infinity();
}

// Gives each expert's tokens rows that follow each other, and cuts these into tiles.
void Experts::group(int num_tokens) {
  const int used = spec_.experts.used;
  std::vector<int> next(spec_.experts.count + 1);
  for (const Choice& choice : choices_) ++next[choice.expert + 1];
  groups_.clear();
  for (int i = 0; i < spec_.experts.count; ++i) {
    if (next[i + 1] > 0) groups_.push_back({i, next[i], next[i + 1]});
    next[i + 1] += next[i];
  }
  for (int i = 0; i < num_tokens * used; ++i) {
    choices_[i].row = next[choices_[i].expert]++;
    tokens_[choices_[i].row] = i / used;
  }
  tiles_.clear();
  for (const Group& g : groups_)
    for (int64_t index = 0; index < multiplier_.num_tiles(g.num_rows); ++index)
      tiles_.push_back({&g, index});
}

void Experts::gather(const ExpertWeights& weights, const float* h) {
  const int64_t hidden = spec_.hidden_size, stride = padded_columns(hidden);
  pool_.share(static_cast<int64_t>(tiles_.size()), 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const Group& g = *tiles_[i].group;
      const Activations rows = rows_of(g, inputs_.data(), hidden);
      const int64_t from = g.first_row + tiles_[i].index * kernels_.tile_tokens;
      const Expert& e = weights.experts[g.expert];
      for (const bool int12 : {false, true}) {
        const TileOut tile = multiplier_.tile(rows, tiles_[i].index, int12);
        for (int t = 0; t < tile.width && !int12; ++t)
          std::memcpy(inputs_.data() + (from + t) * stride, h + tokens_[from + t] * stride,
                      hidden * sizeof(float));
        if (e.up.reads(int12) || e.gate.reads(int12)) multiplier_.quantize(tile, 0, hidden);
      }
    }
  });
}

// up = act(up) or act(gate)·up.
void Experts::activate(const ExpertWeights& weights) {
  const int64_t inner = spec_.experts.inner_size, stride = padded_columns(inner);
  pool_.share(static_cast<int64_t>(tiles_.size()), 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const Group& g = *tiles_[i].group;
      const Linear& down = weights.experts[g.expert].down;
      const TileOut tile =
          multiplier_.tile(rows_of(g, up_.data(), inner), tiles_[i].index, down.is_int12);
      for (int t = 0; t < tile.width; ++t) {
        const int64_t at = (g.first_row + tiles_[i].index * kernels_.tile_tokens + t) * stride;
        if (spec_.gated)
          activation_.gated(gate_.data() + at, up_.data() + at, inner);
        else
          activation_.plain(up_.data() + at, inner);
      }
      if (down.reads_integers()) multiplier_.quantize(tile, 0, inner);
    }
  });
}

void Experts::sum_up(int num_tokens) {
  const int64_t hidden = spec_.hidden_size, stride = padded_columns(hidden);
  const int used = spec_.experts.used;
  pool_.share(num_tokens, 1, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      float* sum = sums_.data() + t * stride;
      std::fill(sum, sum + hidden, 0.0f);
      for (int j = 0; j < used; ++j) {
        const Choice& choice = choices_[t * used + j];
        const float* y = outputs_.data() + choice.row * stride;
        for (int64_t i = 0; i < hidden; ++i) sum[i] += choice.weight * y[i];
      }
    }
  });
}

}  // namespace understudy
