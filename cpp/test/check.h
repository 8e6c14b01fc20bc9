// What the checks of the kernel targets share: random numbers, and how a difference is reported.
#pragma once
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "../half.h"
#include "../kernels/kernels.h"

namespace understudy::test {

constexpr int MAX_REPORTED = 5;  // failures of one check that are printed in full

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  int integer(int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(engine_);
  }  // both included
  float normal(float deviation = 1.0f) {
    return std::normal_distribution<float>(0, deviation)(engine_);
  }
  uint8_t byte() { return static_cast<uint8_t>(engine_()); }
  std::vector<float> normals(int64_t count, float deviation = 1.0f) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = normal(deviation);
    return values;
  }

 private:
  std::mt19937 engine_;
};

// One named check of one target: counts comparisons and keeps quiet as long as they hold.
class Check {
 public:
  Check(const Kernels& target, const char* what) : Check(target.name, what) {}
  Check(const char* subject, const char* what) : subject_(subject), what_(what) {}
  ~Check() { total_failures() += failures_; }
  Check(const Check&) = delete;
  Check& operator=(const Check&) = delete;

  __attribute__((format(printf, 3, 4))) void hold(bool is_true, const char* format, ...) {
    ++total_comparisons();
    if (is_true || ++failures_ > MAX_REPORTED) return;
    std::printf("%s %s: ", subject_, what_);
    va_list arguments;
    va_start(arguments, format);
    std::vprintf(format, arguments);
    va_end(arguments);
    std::printf("\n");
  }
  // |found - expected| <= tolerance · max(1, largest |expected|); tolerance 0: the same bits.
  void equal(const float* found, const float* expected, int64_t count, float tolerance,
             const std::string& where) {
    float largest = 1.0f;
    for (int64_t i = 0; i < count; ++i) largest = std::fmax(largest, std::fabs(expected[i]));
    for (int64_t i = 0; i < count; ++i) {
      const bool same = float_to_bits(found[i]) == float_to_bits(expected[i]);
      const bool is_near = same || std::fabs(found[i] - expected[i]) <= tolerance * largest;
      hold(is_near, "%s, value %lld: found %.9g, expected %.9g", where.c_str(),
           static_cast<long long>(i), found[i], expected[i]);
    }
  }

  static int64_t& total_failures() {
    static int64_t count = 0;
    return count;
  }
  static int64_t& total_comparisons() {
    static int64_t count = 0;
    return count;
  }

 private:
  const char *subject_, *what_;
  int64_t failures_ = 0;
};

void check_slots(const Kernels& target);    // slots.cpp
void check_forward(const Kernels& target);  // forward.cpp
void check_pool();                          // pool.cpp

}  // namespace understudy::test
