// The AVX-512 target with VBMI: that of AVX-512, with q3's products over a vocabulary that unpacks
// faster.
#include "../kernels.h"
#include "simd.h"

namespace understudy {
namespace avx512 {
const Kernels& kernels();
}

namespace avx512_vbmi {

#define UNDERSTUDY_NOINLINE __attribute__((noinline))
constexpr int HALVES = PANEL_ROWS / LANES;

#include "../matmul.inl"
#include "../matmul_q3.inl"

static Kernels make_table() {
  Kernels k = avx512::kernels();
  k.name = "avx512_vbmi";
  k.matmul[index_of(Format::Q3)] = matmul<Format::Q3>;
  k.matmul_panels[index_of(Format::Q3)] = matmul_q3_panels;
  return k;
}

const Kernels& kernels() {
  static const Kernels table = make_table();
  return table;
}

}  // namespace avx512_vbmi
}  // namespace understudy
