// A team of threads that runs one function on every member and meets at barriers inside it (spin, then yield).
// Between runs the members sleep after a short spin, so an idle engine costs nothing.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace understudy {

class Team {
 public:
  explicit Team(int num_threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return num_threads_; }

  // Calls body(member) on all members, the caller being member 0; returns when all have returned.
  // An exception in one member would leave the others waiting at a barrier: bodies do not throw.
  void run(const std::function<void(int)>& body);

  // Inside `run`: waits until every member has arrived. The last one resets the shared counter of `next`.
  void barrier();

  // Inside `run`: hands out 0, 1, 2, ... to whoever asks first, starting again after each barrier.
  int64_t next() { return counter_.fetch_add(1, std::memory_order_relaxed); }

  // A phase: `body(first, last)` over [0, count) in pieces of `grain`, then a barrier.
  template <class Body>
  void share(int64_t count, int64_t grain, Body&& body) {
    for (int64_t piece = next(); piece * grain < count; piece = next()) {
      const int64_t first = piece * grain, last = first + grain < count ? first + grain : count;
      body(first, last);
    }
    barrier();
  }

 private:
  void work(int member);

  const int num_threads_;
  std::vector<std::thread> threads_;
  const std::function<void(int)>* body_ = nullptr;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<bool> stopping_{false};
  alignas(64) std::atomic<int64_t> counter_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint64_t> phase_{0};
};

}  // namespace understudy
