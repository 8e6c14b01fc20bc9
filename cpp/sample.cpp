#include "sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "kernels/kernels.h"

namespace understudy {
namespace {

// splitmix64 of (seed, counter): a counter-based generator, so a draw depends on nothing else.
double uniform(uint64_t seed, uint64_t counter) {
  const auto mix = [](uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  };
  const uint64_t bits =
      mix(mix(seed + 0x9E3779B97F4A7C15ull) + (counter + 1) * 0x9E3779B97F4A7C15ull);
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

bool likelier(const TokenScore& a, const TokenScore& b) {
  return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
}

float log_sum_exp(const float* logits, int64_t n) {
  const Kernels& kernels = best_kernels();
  const float top = kernels.max_value(logits, n);
  return top + std::log(kernels.sum_exp(logits, n, top));
}

std::vector<TokenScore> likeliest(const float* logits, int64_t n, int num_top, float log_total) {
  const auto wanted = static_cast<size_t>(std::min<int64_t>(num_top, n));
  std::vector<TokenScore> heap;  // the worst of the best in front
  for (int64_t i = 0; i < n && wanted > 0; ++i) {
    const TokenScore next = {static_cast<int32_t>(i), logits[i] - log_total};
    if (heap.size() < wanted) {
      heap.push_back(next);
      std::push_heap(heap.begin(), heap.end(), likelier);
    } else if (likelier(next, heap.front())) {
      std::pop_heap(heap.begin(), heap.end(), likelier);
      heap.back() = next;
      std::push_heap(heap.begin(), heap.end(), likelier);
    }
  }
  std::sort(heap.begin(), heap.end(), likelier);
  return heap;
}

void penalise(std::vector<float>& x, const SampleSettings& s) {
  if (s.repetition_penalty != 1) {
    std::vector<int32_t> seen(s.history, s.history + s.num_history);
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    for (const int32_t token : seen)
      x[token] = x[token] > 0 ? x[token] / s.repetition_penalty : x[token] * s.repetition_penalty;
  }
  if (s.frequency_penalty != 0 || s.presence_penalty != 0) {
    std::vector<int32_t> said(s.history + s.num_history - s.num_generated,
                              s.history + s.num_history);
    std::sort(said.begin(), said.end());
    for (size_t i = 0; i < said.size();) {
      size_t end = i;
      while (end < said.size() && said[end] == said[i]) ++end;
      x[said[i]] -= s.presence_penalty + s.frequency_penalty * static_cast<float>(end - i);
      i = end;
    }
  }
}

constexpr float NEVER = -std::numeric_limits<float>::infinity();

bool is_plain(const SampleSettings& s) {
  return s.repetition_penalty == 1 && s.frequency_penalty == 0 && s.presence_penalty == 0 &&
         s.num_biases == 0 && s.mask == nullptr;
}

std::vector<float> shaped(const float* logits, int64_t n, const SampleSettings& s) {
  std::vector<float> x(logits, logits + n);
  penalise(x, s);
  for (int64_t i = 0; i < s.num_biases; ++i) x[s.bias_ids[i]] += s.bias_values[i];
  if (s.mask != nullptr)
    for (int64_t i = 0; i < n; ++i)
      if (!(s.mask[i / 32] >> (i % 32) & 1)) x[i] = NEVER;
  return x;
}

// Candidates in falling order until they hold `top_p` of the mass (at most top_k of them).
std::vector<TokenScore> candidates(const float* x, int64_t n, const SampleSettings& s, float top,
                                   double total) {
  std::vector<TokenScore> all;
  // Tokens less likely than this cannot matter unless nearly everything must be kept; widen until
  // enough is held.
  for (float reach = 12;; reach *= 4) {
    all.clear();
    double held = 0;
    for (int64_t i = 0; i < n; ++i) {
      const float z = (x[i] - top) / s.temperature;
      if (!(z >= -reach)) continue;
      all.push_back({static_cast<int32_t>(i), z});
      held += std::exp(static_cast<double>(z));
    }
    const bool is_enough_k = s.top_k > 0 && static_cast<int64_t>(all.size()) >= s.top_k;
    if (is_enough_k || held >= static_cast<double>(s.top_p) * total || reach > 1e6) break;
  }
  if (s.top_k > 0 && static_cast<size_t>(s.top_k) < all.size()) {
    std::nth_element(all.begin(), all.begin() + s.top_k - 1, all.end(), likelier);
    all.resize(s.top_k);
  }
  std::sort(all.begin(), all.end(), likelier);
  return all;
}

int32_t draw(const float* x, int64_t n, const SampleSettings& s) {
  const float top = best_kernels().max_value(x, n);
  const double u = uniform(s.seed, s.counter);
  double total = 0;
  for (int64_t i = 0; i < n; ++i)
    total += std::exp(static_cast<double>((x[i] - top) / s.temperature));
  if (s.top_k <= 0 && s.top_p >= 1 && s.min_p <= 0) {
    double left = u * total;
    int32_t last = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double p = std::exp(static_cast<double>((x[i] - top) / s.temperature));
      if (p <= 0) continue;
      last = static_cast<int32_t>(i);
      if ((left -= p) < 0) break;
    }
    return last;
  }
  const std::vector<TokenScore> kept = candidates(x, n, s, top, total);
  double mass = 0;  // top-p is taken of what top-k left over
  for (const TokenScore& c : kept) mass += std::exp(static_cast<double>(c.logprob));
  const double whole = s.top_k > 0 ? mass : total,
               least = std::log(std::max(1e-300, static_cast<double>(s.min_p)));
  size_t count = 0;
  double held = 0;
  while (count < kept.size()) {
    if (count > 0 && (held >= static_cast<double>(s.top_p) * whole || kept[count].logprob < least))
      break;
    held += std::exp(static_cast<double>(kept[count++].logprob));
  }
  double left = u * held;
  for (size_t i = 0; i + 1 < count; ++i)
    if ((left -= std::exp(static_cast<double>(kept[i].logprob))) < 0) return kept[i].token;
  return kept[count - 1].token;
}

int32_t first_largest(const float* x, int64_t n, float top) {
  for (int64_t i = 0; i < n; ++i)
    if (x[i] == top) return static_cast<int32_t>(i);
  throw std::invalid_argument("the model's logits are not numbers");
}

}  // namespace

SampleResult sample(const float* logits, int64_t n, const SampleSettings& s, int num_top) {
  std::vector<float> copy;
  if (!is_plain(s)) copy = shaped(logits, n, s);
  const float* x = copy.empty() ? logits : copy.data();
  const float top = best_kernels().max_value(x, n);
  if (std::isnan(top) || top == std::numeric_limits<float>::infinity())
    throw std::invalid_argument("the model's logits are not numbers");
  if (top == NEVER) throw std::invalid_argument("the mask allows no token");
  SampleResult result;
  result.chosen.token = s.temperature > 0 ? draw(x, n, s) : first_largest(x, n, top);
  const float log_total = log_sum_exp(logits, n);
  result.chosen.logprob = logits[result.chosen.token] - log_total;
  if (num_top > 0) result.top = likeliest(logits, n, num_top, log_total);
  return result;
}

RowScore score_row(const float* logits, int64_t n, int32_t target, int num_top) {
  const float log_total = log_sum_exp(logits, n);
  if (target < 0) target = first_largest(logits, n, best_kernels().max_value(logits, n));
  RowScore row;
  row.target = {target, logits[target] - log_total};
  row.rank = 0;
  for (int64_t i = 0; i < n; ++i)
    row.rank += logits[i] > logits[target] || (logits[i] == logits[target] && i < target);
  row.top = likeliest(logits, n, num_top, log_total);
  return row;
}

}  // namespace understudy
