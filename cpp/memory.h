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

}  // namespace understudy
