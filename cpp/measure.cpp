#include "measure.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "kernels/kernels.h"
#include "threads.h"

namespace understudy {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Sums eight independent words so that the loads, not the additions, are the limit. Some machines
// follow a stream well by themselves, others (virtual ones above all) only when told `distance`
// bytes before, or when `streams` are read in turn.
template <int streams, int64_t distance>
uint64_t read_all(const uint64_t* p, int64_t words) {
  uint64_t sums[8] = {};
  const int64_t part = words / streams;
  for (int64_t i = 0; i + 64 <= part; i += 64)
    for (const uint64_t* at = p + i; at < p + streams * part; at += part) {
      for (int j = 0; distance > 0 && j < 64; j += 8)
        __builtin_prefetch(at + j + distance / 8, 0, 3);
      for (int j = 0; j < 64; ++j) sums[j % 8] += at[j];
    }
  uint64_t total = 0;
  for (const uint64_t s : sums) total += s;
  return total;
}

// Memory in huge pages where the system gives them, so that address translation is no part of what
// is measured.
struct Buffer {
  explicit Buffer(int64_t words)
      : data(
            static_cast<uint64_t*>(std::aligned_alloc(HUGE_PAGE, round_up(words * 8, HUGE_PAGE)))) {
    if (data == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    madvise(data, round_up(words * 8, HUGE_PAGE), MADV_HUGEPAGE);
#endif
  }
  ~Buffer() { std::free(data); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  static constexpr int64_t HUGE_PAGE = 2 << 20;
  uint64_t* const data;
};

}  // namespace

double read_bandwidth(int num_threads, int64_t bytes, double seconds) {
  const int64_t words = std::max<int64_t>(bytes / 8, 1 << 20);
  const Buffer buffer(words);
  uint64_t* const data = buffer.data;
  ThreadPool pool(num_threads);
  constexpr int64_t GRAIN = 1 << 17;  // words: 1 MiB
  pool.share(words, GRAIN, [&](int64_t first, int64_t last) {
    std::memset(&data[first], 1, (last - first) * 8);
  });
  constexpr uint64_t (*ways[])(const uint64_t*, int64_t) = {read_all<1, 0>, read_all<1, 2048>,
                                                            read_all<1, 4096>, read_all<4, 1024>};
  std::atomic<uint64_t> sink{0};
  double best = 0;
  int round = 0;
  for (const double end = now() + seconds; now() < end || round < 4; ++round) {
    const auto read = ways[round % 4];
    const double start = now();
    pool.share(words, GRAIN, [&](int64_t first, int64_t last) {
      sink.fetch_add(read(&data[first], last - first), std::memory_order_relaxed);
    });
    best = std::max(best, static_cast<double>(words) * 8 / (now() - start));
  }
  return best;
}

double int8_rate(int num_threads, double seconds) {
  constexpr int64_t ROUNDS = 100000;  // between two looks at the clock
  ThreadPool pool(num_threads);
  std::vector<double> rates(pool.size());
  pool.share(pool.size(), 1, [&](int64_t index, int64_t) {
    int64_t operations = 0;
    const double start = now();
    while (now() - start < seconds) operations += best_kernels().peak_loop(ROUNDS);
    rates[index] = static_cast<double>(operations) / (now() - start);
  });
  double total = 0;
  for (const double rate : rates) total += rate;
  return total;
}

}  // namespace understudy
