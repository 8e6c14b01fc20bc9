#include "threads.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace understudy {
namespace {

// Half a millisecond to two, by processor. A core that is given away at a barrier comes back a time slice later, on a
// busy machine after hundreds of barriers' worth of time; so it is kept for longer than the other member is ever late
// by itself.
constexpr int SPINS = 40000;
constexpr int SPINS_BEFORE_SLEEP = 60000;

inline void relax(int spins) {
#if defined(__x86_64__)
  if (spins < SPINS) return _mm_pause();
#elif defined(__aarch64__)
  if (spins < SPINS) {
    asm volatile("isb" ::: "memory");  // about as long as the pause of x86; `yield` does nothing on most cores
    return;
  }
#else
  if (spins < SPINS) return;
#endif
  std::this_thread::yield();  // somebody else needs this core, perhaps the one we wait for
}

}  // namespace

Team::Team(int num_threads) : num_threads_(num_threads < 1 ? 1 : num_threads) {
  for (int member = 1; member < num_threads_; ++member) threads_.emplace_back([this, member] { work(member); });
}

Team::~Team() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_.store(true);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Team::run(const std::function<void(int)>& body) {
  if (num_threads_ > 1) {
    body_ = &body;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
  }
  body(0);
  barrier();
}

void Team::barrier() {
  if (num_threads_ == 1) {
    counter_.store(0, std::memory_order_relaxed);
    return;
  }
  const uint64_t phase = phase_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == num_threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    counter_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins) relax(spins);
}

void Team::work(int member) {
  uint64_t seen = 0;
  for (;;) {
    int spins = 0;
    while (generation_.load(std::memory_order_acquire) == seen && !stopping_.load(std::memory_order_relaxed)) {
      if (++spins < SPINS_BEFORE_SLEEP) {
        relax(spins);
        continue;
      }
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return stopping_.load() || generation_.load() != seen; });
    }
    if (stopping_.load()) return;
    seen = generation_.load(std::memory_order_acquire);
    (*body_)(member);
    barrier();
  }
}

}  // namespace understudy
