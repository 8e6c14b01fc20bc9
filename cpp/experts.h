// Mixtures of experts: a router scores them for each token, the chosen few are computed for all
// their tokens together, and each token sums its own in the order of their numbers. So only what is
// chosen is read, and no token's sum depends on which others are in the batch.
#pragma once
#include <cstdint>
#include <vector>

#include "activation.h"
#include "kernels/kernels.h"
#include "linear.h"
#include "memory.h"
#include "spec.h"
#include "threads.h"

namespace understudy {

struct Expert {
  Linear gate, up, down;
};

// Of one layer. `correction` is added to the scores where experts are chosen; null: none.
struct ExpertWeights {
  Linear router;
  const float* correction = nullptr;
  std::vector<Expert> experts;

  size_t bytes_per_token(int used) const;
};

class Experts {
 public:
  Experts(const Spec& spec, const Kernels& kernels, ThreadPool& pool)
      : spec_(spec),
        kernels_(kernels),
        pool_(pool),
        multiplier_(kernels, pool),
        activation_(activation_kernel(kernels, spec.activation)) {}

  // Σ weight · expert(h) of every token; rows of h are padded_columns(hidden_size) apart.
  void run(const ExpertWeights& weights, const float* h, int num_tokens, bool has_int12);
  // x += scale · what `run` found.
  void add(int num_tokens, float scale, float* x);

 private:
  struct Choice {  // of a token; `row` is its place among the rows of all experts
    int expert;
    float weight;
    int row;
  };
  struct Group {  // tokens of one expert, in rows that follow each other
    int expert, first_row, num_rows;
  };
  struct Tile {
    const Group* group;
    int64_t index;
  };

  void reserve(int num_tokens, bool has_int12);
  void route(const ExpertWeights& weights, int num_tokens);
  void choose(const float* logits, const float* correction, Choice* chosen) const;
  void keep_best_groups(float* merit) const;
  void group(int num_tokens);
  void gather(const ExpertWeights& weights, const float* h);
  void activate(const ExpertWeights& weights);
  void sum_up(int num_tokens);
  Activations rows_of(const Group& group, const float* x, int64_t columns) const {
    return {x + group.first_row * padded_columns(columns), columns, group.num_rows,
            group.first_row};
  }

  const Spec& spec_;
  const Kernels& kernels_;
  ThreadPool& pool_;
  Multiplier multiplier_;
  const ActivationKernel activation_;
  std::vector<Choice> choices_;  // `used` a token, by rising number of the expert
  std::vector<int> tokens_;      // by row
  std::vector<Group> groups_;
  std::vector<Tile> tiles_;
  std::vector<Task> tasks_;
  Memory<float> logits_, inputs_, up_, gate_, outputs_, sums_;
};

}  // namespace understudy
