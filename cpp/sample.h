// Picking the next token of one sequence from its logits.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

namespace understudy {

struct SampleSettings {
  float temperature = 0;  // 0: greedy
  int top_k = 0;          // 0: off
  float top_p = 1, min_p = 0;
  float repetition_penalty = 1, frequency_penalty = 0, presence_penalty = 0;
  const int32_t* history = nullptr;  // prompt then generated tokens
  int64_t num_history = 0, num_generated = 0;
  const int32_t* bias_ids = nullptr;
  const float* bias_values = nullptr;
  int64_t num_biases = 0;
  const uint32_t* mask = nullptr;  // one bit a token, set where allowed; nullptr: all
  uint64_t seed = 0, counter = 0;  // the random number is a function of these two alone
};

struct TokenScore {
  int32_t token;
  float logprob;
};

struct SampleResult {
  TokenScore chosen;
  std::vector<TokenScore> top;
};

// Order: repetition, frequency and presence penalties; bias; mask; temperature; top-k; top-p;
// min-p; draw. Log-probabilities are those of the model itself, before any of this. Throws
// std::invalid_argument when the mask allows nothing or a logit is not a number.
SampleResult sample(const float* logits, int64_t vocab_size, const SampleSettings& settings,
                    int num_top);

// The model's log-probability of `target` (-1: of the likeliest token) and its `num_top` likeliest
// tokens.
struct RowScore {
  TokenScore target;
  int64_t rank;  // 0 is the likeliest
  std::vector<TokenScore> top;
};
RowScore score_row(const float* logits, int64_t vocab_size, int32_t target, int num_top);

}  // namespace understudy
