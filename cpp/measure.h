// What this machine can do at most: the limits that the figures of the engine are held against.
#pragma once
#include <cstdint>

namespace understudy {

// Bytes per second that `num_threads` read together from a buffer far larger than the caches (best
// pass in `seconds`).
double read_bandwidth(int num_threads, int64_t bytes, double seconds);

// Multiply-adds on int8 per second, counted as two operations, by the best target with
// everything in registers: no kernel can be faster.
double int8_rate(int num_threads, double seconds);

}  // namespace understudy
