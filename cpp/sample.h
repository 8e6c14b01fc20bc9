// Picking the next token of one sequence from its logits.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "repetition.h"

namespace understudy {

// Exclude top choices: with `probability`, of the tokens that are at least `threshold` likely all
// but the least likely are left out. Off where the threshold lets no two of them be.
struct XtcSettings {
  float probability = 0, threshold = 0.1f;

  XtcSettings() = default;
  XtcSettings(float probability, float threshold)
      : probability(probability), threshold(threshold) {}
  bool is_on() const { return probability > 0 && threshold <= 0.5f; }
};

struct SampleSettings {
  float temperature = 0;  // 0: greedy
  int top_k = 0;          // 0: off
  float top_p = 1, min_p = 0;
  PenaltySettings penalties;
  DrySettings dry;
  XtcSettings xtc;
  std::vector<std::pair<int32_t, float>> bias;
  uint64_t seed = 0;
  int num_top = 0;
};

// What belongs to one token of a text.
struct SampleContext {
  History history;
  const uint32_t* mask = nullptr;  // one bit a token, set where allowed; nullptr: all
  uint64_t counter = 0;            // with the settings' seed the only source of chance
};

struct TokenScore {
  int32_t token;
  float logprob;
};

struct SampleResult {
  TokenScore chosen;
  std::vector<TokenScore> top;
};

// Logits after penalties, DRY, bias and mask.
std::vector<float> shape(const float* logits, int64_t vocab_size, const SampleSettings& settings,
                         const SampleContext& context);

// Order: penalties; DRY; bias; mask; temperature; top-k; top-p; min-p; XTC (by probabilities before
// the temperature, of what is left); draw. Log-probabilities are those of the model itself, before
// any of this. Throws std::invalid_argument when the mask allows nothing or a logit is not a
// number.
SampleResult sample(const float* logits, int64_t vocab_size, const SampleSettings& settings,
                    const SampleContext& context);

// The model's log-probability of `target` (-1: of the likeliest token) and its `num_top` likeliest
// tokens.
struct RowScore {
  TokenScore target;
  int64_t rank;  // 0 is the likeliest
  std::vector<TokenScore> top;
};
RowScore score_row(const float* logits, int64_t vocab_size, int32_t target, int num_top);

}  // namespace understudy
