// A task is some consecutive tokens of one sequence; with one key/value head it is the unit of
// work. Its queries are (token, query head of the group). Chunks of positions are merged in rising
// order, whoever computed them.
#include "attention.h"

#include <algorithm>

namespace understudy {
namespace {

constexpr int PAIRS_PER_THREAD = 16;  // from so many on, chunks are not shared between threads
constexpr int PAGES_PER_CHUNK = CHUNK / PAGE;

}  // namespace

// What does not change inside one layer.
struct Attention::Layer {
  int index;
  const Batch& batch;
  const Cache& cache;
  const float* q;
  int window;  // 0: all
  int first_visible(int position) const {
    return window == 0 ? 0 : std::max(0, position - window + 1);
  }
};

// Of each query: the weighted values, their maximum score and the sum of their weights.
struct Attention::Accumulator {
  float *values, *max, *sum;
  static size_t size(int queries, int padded_dim) {
    return static_cast<size_t>(queries) * (static_cast<size_t>(padded_dim) + 2);
  }
  static Accumulator at(float* memory, int queries, int padded_dim) {
    float* max = memory + static_cast<int64_t>(queries) * padded_dim;
    return {memory, max, max + queries};
  }
};

struct Attention::HeadTask {
  const Task& task;
  const Layer& layer;
  const Spec& spec;
  const Kernels& kernels;
  int head;

  int num_queries() const { return task.num_tokens * spec.group_size(); }

  int first_visible() const { return layer.first_visible(task.first_position()); }
  int first_chunk() const { return first_visible() / CHUNK; }

  // Of all tokens of the task those that see something of a chunk are its last ones.
  int first_token(int chunk) const { return std::max(0, chunk * CHUNK - task.first_position()); }

  void attend(int chunk, float* scores, const Accumulator& to) const {
    const int group = spec.group_size(), padded_dim = layer.cache.padded_dim();
    const int first_query = first_token(chunk) * group;
    const int first_page = std::max(chunk * PAGES_PER_CHUNK, first_visible() / PAGE);
    const int end_page = std::min((chunk + 1) * PAGES_PER_CHUNK, task.last_position / PAGE + 1);
    const int num_pages = end_page - first_page;
    const int32_t* table = layer.batch.page_table(task.slot) + first_page;
    const uint8_t* pages[PAGES_PER_CHUNK];
    for (int p = 0; p < num_pages; ++p) pages[p] = layer.cache.piece(layer.index, table[p], head);
    const float* queries[MAX_GROUP_SIZE];
    int32_t limits[MAX_GROUP_SIZE], firsts[MAX_GROUP_SIZE];
    int count = 0;
    for (int t = task.first_token + first_token(chunk); t < task.first_token + task.num_tokens; ++t)
      for (int g = 0; g < group; ++g, ++count) {
        queries[count] = layer.q + offset(t, g);
        limits[count] = layer.batch.positions[t];
        firsts[count] = layer.first_visible(limits[count]);
      }
    kernels.attend({pages, num_pages, first_page * PAGE, spec.head_dim, padded_dim, count,
                    layer.cache.format(), queries, limits, scores,
                    to.values + static_cast<int64_t>(first_query) * padded_dim,
                    to.max + first_query, to.sum + first_query,
                    layer.window == 0 ? nullptr : firsts});
  }

  void merge(int chunk, const Accumulator& into, const Accumulator& other) const {
    const int padded_dim = layer.cache.padded_dim();
    for (int64_t i = first_token(chunk) * spec.group_size(); i < num_queries(); ++i)
      kernels.merge(into.max + i, into.sum + i, into.values + i * padded_dim, other.max[i],
                    other.sum[i], other.values + i * padded_dim, padded_dim);
  }

  void write(const Accumulator& from, float* out) const {
    const int group = spec.group_size(), padded_dim = layer.cache.padded_dim();
    for (int64_t i = 0; i < num_queries(); ++i) {
      float* y = out + offset(task.first_token + i / group, static_cast<int>(i % group));
      const float inverse = 1.0f / from.sum[i];
      for (int d = 0; d < spec.head_dim; ++d) y[d] = from.values[i * padded_dim + d] * inverse;
    }
  }

  // Where query head g of the group begins in the queries and in the output of a token.
  int64_t offset(int64_t token, int g) const {
    return token * round_up(spec.query_size(), GROUP) +
           static_cast<int64_t>(head * spec.group_size() + g) * spec.head_dim;
  }
};

int64_t Attention::num_pairs() const {
  return static_cast<int64_t>(tasks_.size()) * spec_.num_kv_heads;
}

int Attention::max_queries() const { return std::max(MAX_ATTEND_QUERIES, spec_.group_size()); }

void Attention::plan(const Batch& batch) {
  tasks_.clear();
  max_chunks_ = 0;
  const int max_tokens = std::max(1, MAX_ATTEND_QUERIES / spec_.group_size());
  for (int t = 0; t < batch.num_tokens;) {
    int end = t + 1;
    while (end < batch.num_tokens && end - t < max_tokens && batch.slots[end] == batch.slots[t] &&
           batch.positions[end] == batch.positions[end - 1] + 1)
      ++end;
    tasks_.push_back({t, end - t, batch.slots[t], batch.positions[end - 1]});
    max_chunks_ = std::max(max_chunks_, tasks_.back().num_chunks());
    t = end;
  }
  splits_chunks_ = max_chunks_ > 1 && num_pairs() < PAIRS_PER_THREAD * pool_.size();
  partial_size_ = Accumulator::size(max_queries(), static_cast<int>(round_up(spec_.head_dim, 32)));
  if (splits_chunks_)
    partials_.reserve(partial_size_ * static_cast<size_t>(num_pairs() * max_chunks_));
}

void Attention::attend(int layer, int window, const Batch& batch, const Cache& cache,
                       const float* q, float* out) {
  const Layer work{layer, batch, cache, q, window};
  if (splits_chunks_) return attend_in_chunks(work, out);
  pool_.share(num_pairs(), 1, [&](int64_t first, int64_t last) {
    for (int64_t pair = first; pair < last; ++pair) attend_pair(work, pair, out);
  });
}

Attention::HeadTask Attention::head_task(const Layer& layer, int64_t pair) const {
  const auto heads = static_cast<int64_t>(spec_.num_kv_heads);
  return {tasks_[static_cast<size_t>(pair / heads)], layer, spec_, kernels_,
          static_cast<int>(pair % heads)};
}

// All chunks of a pair, by one thread.
void Attention::attend_pair(const Layer& layer, int64_t pair, float* out) const {
  const int padded_dim = layer.cache.padded_dim(), queries = max_queries();
  const size_t num_scores = static_cast<size_t>(queries) * CHUNK;
  thread_local std::vector<float> scratch;
  scratch.resize(std::max(scratch.size(), num_scores + 2 * partial_size_));
  float* scores = scratch.data();
  const Accumulator sums = Accumulator::at(scores + num_scores, queries, padded_dim);
  const Accumulator other =
      Accumulator::at(scores + num_scores + partial_size_, queries, padded_dim);
  const HeadTask work = head_task(layer, pair);
  work.attend(work.first_chunk(), scores, sums);
  for (int chunk = work.first_chunk() + 1; chunk < work.task.num_chunks(); ++chunk) {
    work.attend(chunk, scores, other);
    work.merge(chunk, sums, other);
  }
  work.write(sums, out);
}

Attention::Accumulator Attention::partial(int64_t pair, int chunk, int padded_dim) {
  const auto index = static_cast<size_t>(pair * max_chunks_ + chunk);
  return Accumulator::at(partials_.data() + index * partial_size_, max_queries(), padded_dim);
}

// All chunks of all pairs, by all threads; then they are merged.
void Attention::attend_in_chunks(const Layer& layer, float* out) {
  const int padded_dim = layer.cache.padded_dim();
  pool_.share(num_pairs() * max_chunks_, 1, [&](int64_t first, int64_t last) {
    thread_local std::vector<float> scores;
    scores.resize(std::max(scores.size(), static_cast<size_t>(max_queries()) * CHUNK));
    for (int64_t i = first; i < last; ++i) {
      const HeadTask work = head_task(layer, i / max_chunks_);
      const int chunk = static_cast<int>(i % max_chunks_);
      if (chunk >= work.first_chunk() && chunk < work.task.num_chunks())
        work.attend(chunk, scores.data(), partial(i / max_chunks_, chunk, padded_dim));
    }
  });
  pool_.share(num_pairs(), 1, [&](int64_t first, int64_t last) {
    for (int64_t pair = first; pair < last; ++pair) {
      const HeadTask work = head_task(layer, pair);
      const Accumulator sums = partial(pair, work.first_chunk(), padded_dim);
      for (int chunk = work.first_chunk() + 1; chunk < work.task.num_chunks(); ++chunk)
        work.merge(chunk, sums, partial(pair, chunk, padded_dim));
      work.write(sums, out);
    }
  });
}

}  // namespace understudy
