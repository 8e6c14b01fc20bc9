// Attention of a batch over the pages of its sequences.
#pragma once
#include <cstdint>
#include <vector>

#include "batch.h"
#include "cache.h"
#include "kernels/kernels.h"
#include "memory.h"
#include "spec.h"
#include "threads.h"

namespace understudy {

class Attention {
 public:
  Attention(const Spec& spec, const Kernels& kernels, ThreadPool& pool)
      : spec_(spec), kernels_(kernels), pool_(pool) {}

  // Cuts the batch into tasks; before the first layer of a step.
  void plan(const Batch& batch);
  // out (num_tokens, query_size padded) = softmax(q · keys) · values of one layer of the cache. q
  // is laid out like out and scaled. `window`: positions that a token sees; 0: all.
  void attend(int layer, int window, const Batch& batch, const Cache& cache, const float* q,
              float* out);

 private:
  // Some consecutive tokens of one sequence.
  struct Task {
    int first_token, num_tokens, slot, last_position;
    int num_chunks() const { return last_position / CHUNK + 1; }
    int first_position() const { return last_position - num_tokens + 1; }
  };
  struct Layer;
  struct Accumulator;
  struct HeadTask;

  int64_t num_pairs() const;  // of a task and a key/value head
  int max_queries() const;    // of one pair
  HeadTask head_task(const Layer& layer, int64_t pair) const;
  void attend_pair(const Layer& layer, int64_t pair, float* out) const;
  void attend_in_chunks(const Layer& layer, float* out);
  Accumulator partial(int64_t pair, int chunk, int padded_dim);

  const Spec& spec_;
  const Kernels& kernels_;
  ThreadPool& pool_;
  std::vector<Task> tasks_;
  int max_chunks_ = 0;
  bool splits_chunks_ =
      false;                 // few tasks: chunks are shared between threads and merged afterwards
  size_t partial_size_ = 0;  // floats of one (task, head, chunk)
  Memory<float> partials_;
};

}  // namespace understudy
