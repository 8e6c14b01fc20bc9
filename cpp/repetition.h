// Samplers against repetition: penalties over a window of the text, and DRY. Both as llama.cpp
// defines them.
#pragma once
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace understudy {

// Prompt, then generated tokens.
struct History {
  const int32_t* tokens = nullptr;
  int64_t size = 0, num_generated = 0;
};

constexpr int64_t WHOLE_TEXT = -1;  // as a window

// Of a token that occurs in the last `last_n` tokens, `count` times: a positive logit is divided by
// `repetition`, a negative one multiplied; then `frequency` · count + `presence` is subtracted,
// where, unless `counts_prompt`, only generated tokens count.
struct PenaltySettings {
  float repetition = 1, frequency = 0, presence = 0;
  int64_t last_n = 64;
  bool counts_prompt = false;

  PenaltySettings() = default;
  PenaltySettings(float repetition, float frequency, float presence, int64_t last_n,
                  bool counts_prompt)
      : repetition(repetition),
        frequency(frequency),
        presence(presence),
        last_n(last_n),
        counts_prompt(counts_prompt) {}
  bool is_on() const { return last_n != 0 && (repetition != 1 || frequency != 0 || presence != 0); }
};

// A token that would go on a sequence which stood before, `length` tokens of it already repeated,
// is lowered by multiplier · base ^ (length - allowed_length) where length >= allowed_length. A
// sequence does not reach over a breaker: a breaker's first token maps to the tokens behind it.
struct DrySettings {
  float multiplier = 0, base = 1.75f;
  int64_t allowed_length = 2, last_n = WHOLE_TEXT;
  std::unordered_multimap<int32_t, std::vector<int32_t>> breakers;
  bool is_on() const { return multiplier != 0 && base >= 1 && last_n != 0; }
};

void penalise(const PenaltySettings& settings, const History& history, std::vector<float>* logits);
void penalise(const DrySettings& settings, const History& history, std::vector<float>* logits);

}  // namespace understudy
