#include "file_map.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <mutex>
#include <stdexcept>
#include <system_error>

namespace understudy {
namespace {

constexpr size_t MAX_REGIONS = 1024;
std::array<FileRegion, MAX_REGIONS> regions;
std::mutex install_lock;
struct sigaction previous;  // what acted on the signal before

FileRegion* find_region(uintptr_t address) {
  for (FileRegion& region : regions)
    if (address >= region.begin && address < region.end) return &region;
  return nullptr;
}

// Zeros in place of all that the file has lost from here on. mmap is a bare system call: it may be
// made in the handler of a signal.
bool replace(FileRegion& region, uintptr_t address) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t first = address / page * page;
  const int saved = errno;
  void* zeros = mmap(reinterpret_cast<void*>(first), region.end - first, PROT_READ,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  errno = saved;
  if (zeros == MAP_FAILED) return false;
  region.is_cut = true;
  return true;
}

void on_lost_page(int signal, siginfo_t* info, void* context) {
  FileRegion* region = find_region(reinterpret_cast<uintptr_t>(info->si_addr));
  if (region != nullptr && replace(*region, reinterpret_cast<uintptr_t>(info->si_addr))) return;
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr)
    previous.sa_sigaction(signal, info, context);
  else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
    previous.sa_handler(signal);
  else
    sigaction(signal, &previous, nullptr);  // the access is tried again, and ends the process
}

// Takes the signal; again where somebody took it from us meanwhile.
void install() {
  const std::lock_guard<std::mutex> hold(install_lock);
  struct sigaction current = {};
  sigaction(SIGBUS, nullptr, &current);
  if ((current.sa_flags & SA_SIGINFO) != 0 && current.sa_sigaction == on_lost_page) return;
  struct sigaction ours = {};
  ours.sa_sigaction = on_lost_page;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  previous = current;
  sigaction(SIGBUS, &ours, nullptr);
}

FileRegion* take_region(uintptr_t begin, size_t size) {
  for (FileRegion& region : regions) {
    bool is_taken = false;
    if (!region.is_taken.compare_exchange_strong(is_taken, true)) continue;
    region.is_cut = false;
    region.begin = begin;
    region.end = begin + size;
    return &region;
  }
  return nullptr;
}

}  // namespace

FileMap::FileMap(int descriptor) {
  struct stat about = {};
  if (fstat(descriptor, &about) != 0)
    throw std::system_error(errno, std::generic_category(), "fstat");
  size_ = static_cast<size_t>(about.st_size);
  if (size_ == 0) throw std::invalid_argument("the file is empty");
  void* mapped = mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
  if (mapped == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  data_ = static_cast<const uint8_t*>(mapped);
  install();
  region_ = take_region(reinterpret_cast<uintptr_t>(data_), size_);
}

FileMap::~FileMap() {
  if (region_ != nullptr) {
    region_->end = 0;  // first: a region from 0 on would hold what is not ours
    region_->begin = 0;
  }
  munmap(const_cast<uint8_t*>(data_), size_);
  if (region_ != nullptr) region_->is_taken = false;
}

const FileRegion* region_of(const void* address) {
  return find_region(reinterpret_cast<uintptr_t>(address));
}

}  // namespace understudy
