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

constexpr float NEVER = -std::numeric_limits<float>::infinity();

bool is_shaped(const SampleSettings& s, const SampleContext& context) {
  return s.penalties.is_on() || s.dry.is_on() || !s.bias.empty() || context.mask != nullptr;
}

// XTC decides by a number of its own, so that the draw of a token is the same with and without it.
bool excludes_top(const SampleSettings& s, uint64_t counter) {
  constexpr uint64_t OTHER_SEED = 0x5851F42D4C957F2Dull;
  return s.xtc.is_on() && uniform(s.seed ^ OTHER_SEED, counter) < s.xtc.probability;
}

// Of logits in falling order, the first that XTC leaves: the last whose share reaches the
// threshold.
size_t first_left(const std::vector<float>& falling, double total, float threshold) {
  size_t last = 0;
  for (size_t i = 1; i < falling.size(); ++i) {
    if (std::exp(static_cast<double>(falling[i] - falling[0])) / total < threshold) break;
    last = i;
  }
  return last;
}

// XTC where nothing else cuts tokens off: only those above the threshold need an order.
std::vector<float> without_top(const float* x, int64_t n, float threshold) {
  const float top = best_kernels().max_value(x, n);
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += std::exp(static_cast<double>(x[i] - top));
  std::vector<TokenScore> likely;
  for (int64_t i = 0; i < n; ++i)
    if (std::exp(static_cast<double>(x[i] - top)) / total >= threshold)
      likely.push_back({static_cast<int32_t>(i), x[i]});
  std::sort(likely.begin(), likely.end(), likelier);
  std::vector<float> left(x, x + n);
  for (size_t i = 0; i + 1 < likely.size(); ++i) left[likely[i].token] = NEVER;
  return left;
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

// One of all tokens by its weight e^((x - top) / temperature).
int32_t draw_from_all(const float* x, int64_t n, float temperature, double u) {
  const float top = best_kernels().max_value(x, n);
  const auto weight = [&](int64_t i) {
    return std::exp(static_cast<double>((x[i] - top) / temperature));
  };
  double left = 0;
  for (int64_t i = 0; i < n; ++i) left += weight(i);
  left *= u;
  int32_t last = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double p = weight(i);
    if (p <= 0) continue;
    last = static_cast<int32_t>(i);
    if ((left -= p) < 0) break;
  }
  return last;
}

// The candidates that top-k, top-p and min-p leave, in falling order.
std::vector<TokenScore> truncated(const float* x, int64_t n, const SampleSettings& s) {
  const float top = best_kernels().max_value(x, n);
  double total = 0;
  for (int64_t i = 0; i < n; ++i)
    total += std::exp(static_cast<double>((x[i] - top) / s.temperature));
  std::vector<TokenScore> kept = candidates(x, n, s, top, total);
  double mass = 0;  // top-p is taken of what top-k left over
  for (const TokenScore& c : kept) mass += std::exp(static_cast<double>(c.logprob));
  const double whole = s.top_k > 0 ? mass : total;
  const double least = std::log(std::max(1e-300, static_cast<double>(s.min_p)));
  size_t count = 0;
  double held = 0;
  while (count < kept.size()) {
    if (count > 0 && (held >= static_cast<double>(s.top_p) * whole || kept[count].logprob < least))
      break;
    held += std::exp(static_cast<double>(kept[count++].logprob));
  }
  kept.resize(count);
  return kept;
}

void exclude_top(std::vector<TokenScore>* kept, const float* x, float threshold) {
  std::vector<float> logits;
  for (const TokenScore& c : *kept) logits.push_back(x[c.token]);
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit - logits[0]));
  const auto first = static_cast<int64_t>(first_left(logits, total, threshold));
  kept->erase(kept->begin(), kept->begin() + first);
}

int32_t draw_from(const std::vector<TokenScore>& kept, double u) {
  double left = 0;
  for (const TokenScore& c : kept) left += std::exp(static_cast<double>(c.logprob));
  left *= u;
  for (size_t i = 0; i + 1 < kept.size(); ++i)
    if ((left -= std::exp(static_cast<double>(kept[i].logprob))) < 0) return kept[i].token;
  return kept.back().token;
}

int32_t first_largest(const float* x, int64_t n, float top) {
  for (int64_t i = 0; i < n; ++i)
    if (x[i] == top) return static_cast<int32_t>(i);
  throw std::invalid_argument("the model's logits are not numbers");
}

}  // namespace

namespace {

int32_t choose(const float* x, int64_t n, SampleSettings s, uint64_t counter) {
  const bool is_greedy = s.temperature <= 0, excludes = excludes_top(s, counter);
  const bool truncates = s.top_k > 0 || s.top_p < 1 || s.min_p > 0;
  if (is_greedy) s.temperature = 1;  // what XTC would leave is cut off without one
  const double u = uniform(s.seed, counter);
  if (!truncates || (is_greedy && !excludes)) {
    const std::vector<float> left =
        excludes ? without_top(x, n, s.xtc.threshold) : std::vector<float>();
    const float* from = excludes ? left.data() : x;
    return is_greedy ? first_largest(from, n, best_kernels().max_value(from, n))
                     : draw_from_all(from, n, s.temperature, u);
  }
  std::vector<TokenScore> kept = truncated(x, n, s);
  if (excludes) exclude_top(&kept, x, s.xtc.threshold);
  return is_greedy ? kept.front().token : draw_from(kept, u);
}

}  // namespace

std::vector<float> shape(const float* logits, int64_t n, const SampleSettings& s,
                         const SampleContext& context) {
  std::vector<float> x(logits, logits + n);
  if (s.penalties.is_on()) penalise(s.penalties, context.history, &x);
  if (s.dry.is_on()) penalise(s.dry, context.history, &x);
  for (const auto& [token, value] : s.bias) x[token] += value;
  if (context.mask != nullptr)
    for (int64_t i = 0; i < n; ++i)
      if (!(context.mask[i / 32] >> (i % 32) & 1)) x[i] = NEVER;
  return x;
}

SampleResult sample(const float* logits, int64_t n, const SampleSettings& s,
                    const SampleContext& context) {
  std::vector<float> copy;
  if (is_shaped(s, context)) copy = shape(logits, n, s, context);
  const float* x = copy.empty() ? logits : copy.data();
  const float top = best_kernels().max_value(x, n);
  if (std::isnan(top) || top == std::numeric_limits<float>::infinity())
    throw std::invalid_argument("the model's logits are not numbers");
  if (top == NEVER) throw std::invalid_argument("the mask allows no token");
  SampleResult result;
  result.chosen.token = choose(x, n, s, context.counter);
  const float log_total = log_sum_exp(logits, n);
  result.chosen.logprob = logits[result.chosen.token] - log_total;
  if (s.num_top > 0) result.top = likeliest(logits, n, s.num_top, log_total);
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
