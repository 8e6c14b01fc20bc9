// Memory that only grows and begins on a cache line; from 2 MiB on in huge pages where the system
// gives them, since many rows far apart are walked together.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace understudy {

template <class T>
class Memory {
 public:
  Memory() = default;
  ~Memory() { std::free(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  T* data() { return data_; }
  T& operator[](int64_t i) { return data_[i]; }

  // Room for `count` values: zeros where it grows, what it held is lost then.
  void reserve(size_t count) {
    if (count <= count_) return;
    const size_t page = count * sizeof(T) < HUGE_PAGE ? LINE : HUGE_PAGE;
    const size_t bytes = (count * sizeof(T) + page - 1) / page * page;
    std::free(data_);
    data_ = static_cast<T*>(std::aligned_alloc(page, bytes));
    count_ = data_ == nullptr ? 0 : count;
    if (data_ == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (page == HUGE_PAGE) madvise(data_, bytes, MADV_HUGEPAGE);
#endif
    std::memset(static_cast<void*>(data_), 0, bytes);
  }

 private:
  static constexpr size_t LINE = 64, HUGE_PAGE = size_t{2} << 20;
  T* data_ = nullptr;
  size_t count_ = 0;
};

// Zeros that take memory only where they are written, whatever room was asked for.
class LazyMemory {
 public:
  explicit LazyMemory(size_t bytes) : bytes_(bytes > 0 ? bytes : 1) {
#if defined(__linux__)
    void* pool = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool == MAP_FAILED) throw std::bad_alloc();
    madvise(pool, bytes_, MADV_HUGEPAGE);  // fewer TLB misses; where it is refused nothing is lost
#else
    void* pool = std::calloc(bytes_, 1);
    if (pool == nullptr) throw std::bad_alloc();
#endif
    data_ = static_cast<uint8_t*>(pool);
  }
  ~LazyMemory() {
#if defined(__linux__)
    munmap(data_, bytes_);
#else
    std::free(data_);
#endif
  }
  LazyMemory(const LazyMemory&) = delete;
  LazyMemory& operator=(const LazyMemory&) = delete;

  uint8_t* data() const { return data_; }

 private:
  size_t bytes_;
  uint8_t* data_;
};

}  // namespace understudy
