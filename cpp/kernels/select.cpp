// Which kernel targets this CPU can run, best last.
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
const Kernels& kernels();
}
namespace avx_vnni {
const Kernels& kernels();
}
namespace avx512 {
const Kernels& kernels();
}
namespace avx512_vbmi {
const Kernels& kernels();
}
namespace amx {
const Kernels& kernels();
bool request_tiles();
}  // namespace amx

static bool
has_avx_vnni() {  // not among the names that every compiler's __builtin_cpu_supports knows
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}
#elif defined(UNDERSTUDY_ARM64)
namespace neon {
const Kernels& kernels();
}
namespace neon_dotprod {
const Kernels& kernels();
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
  static const Kernels* targets[8];
  static const int num_targets = [] {
    int n = 0;
    targets[n++] = &reference_kernels();
#if defined(UNDERSTUDY_X86)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c")) {
      targets[n++] = &avx2::kernels();
      if (has_avx_vnni()) targets[n++] = &avx_vnni::kernels();
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni")) {
      targets[n++] = &avx512::kernels();
      const bool has_vbmi = __builtin_cpu_supports("avx512vbmi");
      if (has_vbmi) targets[n++] = &avx512_vbmi::kernels();
      if (has_vbmi && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8") &&
          amx::request_tiles())
        targets[n++] = &amx::kernels();
    }
#elif defined(UNDERSTUDY_ARM64)
    targets[n++] = &neon::kernels();  // part of every AArch64
    if (has_dot_product()) targets[n++] = &neon_dotprod::kernels();
#endif
    return n;
  }();
  *count = num_targets;
  return targets;
}

const Kernels& best_kernels() {
  int count;
  const Kernels* const* targets = available_kernels(&count);
  return *targets[count - 1];
}

const Kernels* find_kernels(const char* name) {
  int count;
  const Kernels* const* targets = available_kernels(&count);
  for (int i = 0; i < count; ++i)
    if (std::strcmp(targets[i]->name, name) == 0) return targets[i];
  return nullptr;
}

}  // namespace understudy
