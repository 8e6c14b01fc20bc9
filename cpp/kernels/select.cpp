// Which rows of the kernel table this CPU can run, best last.
#include <cstring>

#include "kernels.h"

#if defined(UNDERSTUDY_X86)
#include <cpuid.h>
#elif defined(UNDERSTUDY_ARM64) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(UNDERSTUDY_ARM64) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace understudy {

#if defined(UNDERSTUDY_X86)
namespace avx2 {
extern const Kernels TABLE;
}
namespace avx_vnni {
extern const Kernels TABLE;
}
namespace avx512 {
extern const Kernels TABLE;
}
namespace amx {
const Kernels& table();
bool request_tiles();
}  // namespace amx

static bool has_avx_vnni() {  // not among the names that every compiler's __builtin_cpu_supports knows
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}
#elif defined(UNDERSTUDY_ARM64)
namespace neon {
extern const Kernels TABLE;
}
namespace neon_dotprod {
extern const Kernels TABLE;
}

static bool has_dot_product() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#elif defined(__APPLE__)
  int has = 0;
  size_t size = sizeof(has);
  return sysctlbyname("hw.optional.arm.FEAT_DotProd", &has, &size, nullptr, 0) == 0 && has != 0;
#else
  return false;
#endif
}
#endif

const Kernels* const* available_kernels(int* count) {
  static const Kernels* rows[8];
  static const int num_rows = [] {
    int n = 0;
    rows[n++] = &reference_kernels();
#if defined(UNDERSTUDY_X86)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
      rows[n++] = &avx2::TABLE;
      if (has_avx_vnni()) rows[n++] = &avx_vnni::TABLE;
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni")) {
      rows[n++] = &avx512::TABLE;
      if (__builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8") && amx::request_tiles())
        rows[n++] = &amx::table();
    }
#elif defined(UNDERSTUDY_ARM64)
    rows[n++] = &neon::TABLE;  // part of every AArch64
    if (has_dot_product()) rows[n++] = &neon_dotprod::TABLE;
#endif
    return n;
  }();
  *count = num_rows;
  return rows;
}

const Kernels* find_kernels(const char* name) {
  int count;
  const Kernels* const* rows = available_kernels(&count);
  for (int i = 0; i < count; ++i)
    if (std::strcmp(rows[i]->name, name) == 0) return rows[i];
  return nullptr;
}

}  // namespace understudy
