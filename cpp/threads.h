// A pool of threads that share the work of one caller, phase by phase.
//
// The caller publishes a phase as a number of pieces. It takes pieces itself, and so do the workers
// that are awake; the phase is over when all pieces are done. Nobody waits for a worker that holds
// no piece: one that the system keeps from running costs only its help. A worker that is late with
// a piece, because another program has its core, rests for a while, longer each time, so that a
// busy machine is left to fewer threads. Workers without a piece spin for a moment, then sleep.
// What a piece computes does not depend on who takes it, so neither do results.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace understudy {

class ThreadPool {
 public:
  // The caller is one of the threads; `num_threads` below one counts as one.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }
  // Workers that were late and are left out for now; for tests and measurements.
  int num_resting() const { return num_resting_.load(std::memory_order_relaxed); }

  // Calls body(first, last) over [0, count) in pieces of `grain`; returns when all are done. To be
  // called from one thread at a time, not from inside a body; bodies do not throw.
  template <class Body>
  void share(int64_t count, int64_t grain, const Body& body) {
    if (count <= grain || workers_.empty()) {
      if (count > 0) body(int64_t{0}, count);
      return;
    }
    const auto call = [](const void* context, int64_t first, int64_t last) {
      (*static_cast<const Body*>(context))(first, last);
    };
    run({call, &body, count, grain});
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Phase {
    void (*call)(const void* context, int64_t first, int64_t last);
    const void* context;
    int64_t count, grain;
  };
  struct Worker;

  void run(const Phase& phase);
  int take_pieces();
  void wait(int num_pieces, Clock::time_point started, int num_own);
  bool is_done(int num_pieces) const;
  void work(Worker& worker);
  bool has_pieces() const;
  bool spin_for_pieces(const Worker& worker) const;
  void sleep(Worker& worker);
  void mark_late_workers(Clock::time_point now);
  void begin_rests(Clock::time_point now);
  void recall_rested_workers(Clock::time_point now);

  std::vector<std::unique_ptr<Worker>> workers_;
  Phase phase_ = {};  // valid as long as one of its pieces is not done
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<int> num_sleeping_{0};  // workers that a new phase has to wake
  std::atomic<int> num_resting_{0};
  std::atomic<bool> is_stopping_{false}, is_waiting_{false};
  alignas(64) std::atomic<uint64_t> pieces_{
      0};  // of the phase: their number << 32 | the next one to take
  alignas(64) std::atomic<int> num_done_{0};
};

}  // namespace understudy
