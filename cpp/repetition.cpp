#include "repetition.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace understudy {
namespace {

constexpr float MAX_LOG_FLOAT = 88.7228391f;  // of the largest float
constexpr float MIN_GROWING_BASE = 1.000001f;

int64_t window_size(const History& history, int64_t last_n) {
  return last_n < 0 ? history.size : std::min(last_n, history.size);
}

std::vector<int32_t> sorted(const int32_t* first, const int32_t* last) {
  std::vector<int32_t> tokens(first, last);
  std::sort(tokens.begin(), tokens.end());
  return tokens;
}

// Calls body(token, count) for each token of the sorted list.
template <class Body>
void for_each_count(const std::vector<int32_t>& tokens, const Body& body) {
  for (size_t i = 0; i < tokens.size();) {
    size_t end = i;
    while (end < tokens.size() && tokens[end] == tokens[i]) ++end;
    body(tokens[i], end - i);
    i = end;
  }
}

// The window read from its end: the newest token has index 0.
struct Backwards {
  const int32_t* newest;
  int64_t size;
  int32_t operator[](int64_t i) const { return newest[-i]; }
};

bool ends_in_breaker(const Backwards& text, int64_t head, const std::vector<int32_t>& tail) {
  if (static_cast<int64_t>(tail.size()) > head) return false;
  for (size_t i = 0; i < tail.size(); ++i)
    if (tail[i] != text[head - 1 - static_cast<int64_t>(i)]) return false;
  return true;
}

// Tokens after the last breaker: no repetition is longer.
int64_t max_repetition(const DrySettings& settings, const Backwards& text) {
  for (int64_t i = 0; i < text.size; ++i) {
    const auto [first, last] = settings.breakers.equal_range(text[i]);
    int64_t longest = -1;
    for (auto entry = first; entry != last; ++entry)
      if (ends_in_breaker(text, i, entry->second))
        longest = std::max(longest, static_cast<int64_t>(entry->second.size()));
    if (longest >= 0) return i - longest;
  }
  return text.size;
}

// For each i: how many tokens that end at i equal those that end at 0 (the Z-function of the text
// read backwards).
std::vector<int64_t> find_matches(const Backwards& text) {
  std::vector<int64_t> lengths(static_cast<size_t>(text.size), 0);
  int64_t left = 0, right = 0;  // the match that reaches furthest: [left, right)
  for (int64_t i = 1; i < text.size; ++i) {
    int64_t length = i < right ? std::min(right - i, lengths[static_cast<size_t>(i - left)]) : 0;
    while (i + length < text.size && text[length] == text[i + length]) ++length;
    lengths[static_cast<size_t>(i)] = length;
    if (i + length > right) {
      left = i;
      right = i + length;
    }
  }
  return lengths;
}

bool is_breaker(const DrySettings& settings, int32_t token) {
  const auto [first, last] = settings.breakers.equal_range(token);
  return std::any_of(first, last, [](const auto& entry) { return entry.second.empty(); });
}

}  // namespace

void penalise(const PenaltySettings& s, const History& history, std::vector<float>* logits) {
  std::vector<float>& x = *logits;
  const int64_t size = window_size(history, s.last_n);
  const int32_t* end = history.tokens + history.size;
  if (s.repetition != 1)
    for_each_count(sorted(end - size, end), [&](int32_t token, size_t) {
      x[token] = x[token] > 0 ? x[token] / s.repetition : x[token] * s.repetition;
    });
  if (s.frequency == 0 && s.presence == 0) return;
  const int64_t counted = s.counts_prompt ? size : std::min(size, history.num_generated);
  for_each_count(sorted(end - counted, end), [&](int32_t token, size_t count) {
    x[token] -= s.presence + s.frequency * static_cast<float>(count);
  });
}

void penalise(const DrySettings& s, const History& history, std::vector<float>* logits) {
  const Backwards text{history.tokens + history.size - 1, window_size(history, s.last_n)};
  if (text.size <= s.allowed_length) return;
  const int64_t max_length = max_repetition(s, text);
  if (max_length < s.allowed_length) return;
  const std::vector<int64_t> matches = find_matches(text);
  std::unordered_map<int32_t, int64_t> repeated;  // by the token that followed: the longest match
  for (int64_t i = 1; i < text.size; ++i) {
    const int64_t length = std::min(matches[static_cast<size_t>(i)], max_length);
    if (length < s.allowed_length) continue;
    int64_t& longest = repeated[text[i - 1]];
    longest = std::max(longest, length);
  }
  const float max_exponent = s.base > MIN_GROWING_BASE ? MAX_LOG_FLOAT / std::log(s.base) : 0.0f;
  for (const auto& [token, length] : repeated) {
    if (is_breaker(s, token)) continue;
    auto exponent = static_cast<float>(length - s.allowed_length);
    if (max_exponent > 0) exponent = std::min(exponent, std::floor(max_exponent));
    const float penalty = s.multiplier * std::pow(s.base, exponent);
    (*logits)[token] -= std::min(penalty, std::numeric_limits<float>::max());
  }
}

}  // namespace understudy
