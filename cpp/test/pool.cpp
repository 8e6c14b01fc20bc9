// The thread pool: every piece is done once, whatever the number of threads, and a worker that is
// late is left out.
#include "../threads.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "check.h"

namespace understudy::test {
namespace {

using std::chrono::milliseconds;

void check_every_piece_once(Check& check) {
  for (const int num_threads : {0, 1, 2, 3, 8, 33}) {
    ThreadPool pool(num_threads);
    for (const int64_t count : {0, 1, 2, 7, 100, 1000})
      for (const int64_t grain : {1, 3, 64}) {
        std::vector<int> visits(static_cast<size_t>(count));
        pool.share(count, grain, [&](int64_t first, int64_t last) {
          for (int64_t i = first; i < last; ++i) ++visits[static_cast<size_t>(i)];
        });
        for (const int visit : visits)
          check.hold(visit == 1, "%d threads, %lld in pieces of %lld: visited %d times",
                     num_threads, static_cast<long long>(count), static_cast<long long>(grain),
                     visit);
      }
  }
}

// Phases follow each other without a pause: none may begin before the one before it is done.
void check_order_of_phases(Check& check) {
  ThreadPool pool(4);
  constexpr int64_t COUNT = 64;
  std::vector<int64_t> values(COUNT, 0);
  for (int64_t phase = 0; phase < 3000; ++phase)
    pool.share(COUNT, 1, [&](int64_t first, int64_t) {
      const auto at = static_cast<size_t>(first), from = static_cast<size_t>((first + 1) % COUNT);
      if (phase % 2 == 0) values[at] = phase;
      if (phase % 2 == 1 && values[from] != phase - 1) values[at] = -1;
    });
  for (const int64_t value : values)
    check.hold(value == 2998, "a phase began early: %lld", static_cast<long long>(value));
}

// One worker takes a piece and holds it until it is late, as if another program kept its core.
void check_late_workers_rest(Check& check) {
  ThreadPool pool(2);
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> was_held{false};
  const auto hold_once = [&](int64_t, int64_t) {
    if (std::this_thread::get_id() == caller) {
      while (!was_held) std::this_thread::yield();  // leave one to the worker
      return;
    }
    was_held = true;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (pool.num_resting() == 0 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(milliseconds(1));
  };
  pool.share(2, 1, hold_once);
  check.hold(pool.num_resting() == 1, "%d workers rest, expected the late one", pool.num_resting());
  std::atomic<int> num_helped{0};
  const auto count_help = [&](int64_t, int64_t) {
    num_helped += std::this_thread::get_id() != caller;
  };
  pool.share(100, 1, count_help);
  if (pool.num_resting() == 1)  // unless this machine took so long that the rest is over
    check.hold(num_helped == 0, "%d pieces taken by a worker that rests", num_helped.load());
  // On a busy machine it may be late, and rest, once more: the rest ends each time.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while ((num_helped == 0 || pool.num_resting() > 0) && std::chrono::steady_clock::now() < deadline)
    pool.share(2, 1, [&](int64_t first, int64_t last) {
      count_help(first, last);
      std::this_thread::sleep_for(milliseconds(1));
    });
  check.hold(num_helped > 0, "a worker that has rested does not come back");
  check.hold(pool.num_resting() == 0, "%d workers still rest", pool.num_resting());
}

// Workers that slept for want of work take part again.
void check_sleepers_wake(Check& check) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(milliseconds(5));
    std::atomic<int> sum{0};
    pool.share(10, 1, [&](int64_t, int64_t) { ++sum; });
    check.hold(sum == 10, "%d pieces done, expected 10", sum.load());
  }
}

}  // namespace

void check_pool() {
  Check check("pool", "threads");
  check_every_piece_once(check);
  check_order_of_phases(check);
  check_late_workers_rest(check);
  check_sleepers_wake(check);
}

}  // namespace understudy::test
