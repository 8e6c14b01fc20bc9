#include "threads.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace understudy {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr auto SPIN_TIME =
    microseconds(400);  // of a worker without a piece: longer than the sampling of a token takes
constexpr auto MIN_LATE =
    microseconds(200);  // pieces end within microseconds of each other where all threads run,
constexpr int LATE_PIECES = 3;  // or, where pieces are long, within the time of some pieces
constexpr auto MIN_REST = milliseconds(10);
constexpr auto MAX_REST = milliseconds(1000);
constexpr int SPINS_PER_LOOK = 64;  // at the clock

inline void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile(
      "isb" ::
          : "memory");  // about as long as the pause of x86; `yield` does nothing on most cores
#endif
}

constexpr uint64_t next_piece(uint64_t pieces) { return pieces & 0xFFFFFFFFu; }
constexpr uint64_t num_pieces_of(uint64_t pieces) { return pieces >> 32; }

}  // namespace

struct alignas(64) ThreadPool::Worker {
  std::atomic<bool> has_piece{false}, is_resting{false};
  // Under the mutex:
  bool is_asleep = false;
  Clock::time_point rests_until{};
  Clock::duration rest{MIN_REST};
  std::thread thread;
};

ThreadPool::ThreadPool(int num_threads) {
  for (int i = 1; i < num_threads; ++i) workers_.push_back(std::make_unique<Worker>());
  for (const auto& worker : workers_)
    worker->thread = std::thread([this, &worker] { work(*worker); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_stopping_.store(true);
  }
  wake_.notify_all();
  for (const auto& worker : workers_) worker->thread.join();
}

void ThreadPool::run(const Phase& phase) {
  const auto num_pieces = static_cast<int>((phase.count + phase.grain - 1) / phase.grain);
  const Clock::time_point started = Clock::now();
  if (num_resting_.load(std::memory_order_relaxed) > 0) recall_rested_workers(started);
  phase_ = phase;
  num_done_.store(0, std::memory_order_relaxed);
  pieces_.exchange(static_cast<uint64_t>(num_pieces) << 32);
  if (num_sleeping_.load() > 0) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
    }
    wake_.notify_all();
  }
  const int num_own = take_pieces();
  if (!is_done(num_pieces)) wait(num_pieces, started, num_own);
}

// Takes pieces of the phase until none is left; returns how many. A piece that is taken and not yet
// counted as done keeps the phase, and so `phase_`, as it is.
int ThreadPool::take_pieces() {
  int num_taken = 0;
  while (has_pieces()) {
    const uint64_t pieces = pieces_.fetch_add(1);
    if (next_piece(pieces) >= num_pieces_of(pieces)) break;
    const int64_t first = static_cast<int64_t>(next_piece(pieces)) * phase_.grain;
    phase_.call(phase_.context, first, std::min(first + phase_.grain, phase_.count));
    ++num_taken;
  }
  if (num_taken > 0) num_done_.fetch_add(num_taken);
  return num_taken;
}

bool ThreadPool::has_pieces() const {
  const uint64_t pieces = pieces_.load();
  return next_piece(pieces) < num_pieces_of(pieces);
}

bool ThreadPool::is_done(int num_pieces) const {
  return num_done_.load(std::memory_order_acquire) == num_pieces;
}

// Waits for the pieces of others: at first spinning; when they are late, asleep, so that a worker
// that waits for this core gets it.
void ThreadPool::wait(int num_pieces, Clock::time_point started, int num_own) {
  const Clock::time_point begin = Clock::now();
  const auto patience =
      std::max<Clock::duration>(MIN_LATE, LATE_PIECES * (begin - started) / std::max(num_own, 1));
  for (;;) {
    for (int i = 0; i < SPINS_PER_LOOK; ++i) {
      if (is_done(num_pieces)) return;
      pause_briefly();
    }
    const Clock::time_point now = Clock::now();
    if (now - begin < patience) continue;
    mark_late_workers(now);
    std::unique_lock<std::mutex> lock(mutex_);
    is_waiting_.store(true);
    done_.wait(lock, [&] { return num_done_.load() == num_pieces; });
    is_waiting_.store(false);
    begin_rests(Clock::now());
    return;
  }
}

// A worker that is late again before it has worked for as long as it rested last rests twice as
// long.
void ThreadPool::mark_late_workers(Clock::time_point now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& worker : workers_) {
    if (!worker->has_piece.load() || worker->is_resting.load()) continue;
    const bool is_again = now < worker->rests_until + worker->rest;
    worker->rest = is_again ? std::min<Clock::duration>(2 * worker->rest, MAX_REST)
                            : Clock::duration(MIN_REST);
    worker->rests_until = Clock::time_point::max();
    worker->is_resting.store(true);
    num_resting_.fetch_add(1);
  }
}

// Of the late workers, whose pieces are done now. Under the mutex.
void ThreadPool::begin_rests(Clock::time_point now) {
  for (const auto& worker : workers_)
    if (worker->rests_until == Clock::time_point::max()) worker->rests_until = now + worker->rest;
}

void ThreadPool::recall_rested_workers(Clock::time_point now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& worker : workers_) {
    if (!worker->is_resting.load() || now < worker->rests_until) continue;
    worker->is_resting.store(false);
    num_resting_.fetch_sub(1);
    if (worker->is_asleep) num_sleeping_.fetch_add(1);
  }
}

void ThreadPool::work(Worker& worker) {
  while (!is_stopping_.load(std::memory_order_relaxed)) {
    if (!worker.is_resting.load(std::memory_order_relaxed) && spin_for_pieces(worker)) {
      worker.has_piece.store(true);
      const int num_taken = take_pieces();
      worker.has_piece.store(false);
      if (num_taken == 0 || !is_waiting_.load()) continue;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
      }
      done_.notify_one();
    } else {
      sleep(worker);
    }
  }
}

// True as soon as there are pieces to take; false when it is time to sleep.
bool ThreadPool::spin_for_pieces(const Worker& worker) const {
  Clock::time_point end{};
  for (;;) {
    for (int i = 0; i < SPINS_PER_LOOK; ++i) {
      if (has_pieces()) return true;
      pause_briefly();
    }
    if (is_stopping_.load(std::memory_order_relaxed) ||
        worker.is_resting.load(std::memory_order_relaxed))
      return false;
    const Clock::time_point now = Clock::now();
    if (end == Clock::time_point{}) end = now + SPIN_TIME;
    if (now > end) return false;
  }
}

void ThreadPool::sleep(Worker& worker) {
  std::unique_lock<std::mutex> lock(mutex_);
  worker.is_asleep = true;
  if (!worker.is_resting.load()) num_sleeping_.fetch_add(1);
  wake_.wait(lock,
             [&] { return is_stopping_.load() || (!worker.is_resting.load() && has_pieces()); });
  worker.is_asleep = false;
  if (!worker.is_resting.load()) num_sleeping_.fetch_sub(1);
}

}  // namespace understudy
