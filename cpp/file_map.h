// A file as memory that stays readable. Where somebody cuts the file, what is lost reads as zeros
// and `is_cut` says so; without this the system ends a process that reads there (SIGBUS).
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace understudy {

// A stretch of memory that a file lies in. The handler of the signal looks through all of them.
struct FileRegion {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<bool> is_taken{false}, is_cut{false};
};

class FileMap {
 public:
  // The whole file, read only; the descriptor may be closed afterwards.
  // Throws std::system_error, and std::invalid_argument for an empty file.
  explicit FileMap(int descriptor);
  ~FileMap();
  FileMap(const FileMap&) = delete;
  FileMap& operator=(const FileMap&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  bool is_cut() const { return region_ != nullptr && region_->is_cut; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  FileRegion* region_ = nullptr;  // null where all places are taken
};

// The region that holds an address; null for memory of other origin.
const FileRegion* region_of(const void* address);

}  // namespace understudy
