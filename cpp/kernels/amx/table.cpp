// The AMX target: the AVX-512 target with VBMI, and products of many tokens on tiles.
#include "../kernels.h"
#include "matmul.h"

namespace understudy {
namespace avx512_vbmi {
const Kernels& kernels();
}

namespace amx {

static Kernels make_table() {
  Kernels k = avx512_vbmi::kernels();
  k.name = "amx";
  k.block_tokens = MIN_BLOCK_TOKENS;
  k.block_panels = BLOCK_PANELS;
  k.matmul_block[index_of(Format::Q8)] = matmul_block<Format::Q8>;
  k.matmul_block[index_of(Format::Q4)] = matmul_block<Format::Q4>;
  k.matmul_block[index_of(Format::Q4_1)] = matmul_block<Format::Q4_1>;
  k.matmul_block[index_of(Format::Q3)] = matmul_block<Format::Q3>;
  k.matmul_block[index_of(Format::Q4_SPARSE)] = matmul_block<Format::Q4_SPARSE>;
  k.peak_loop = peak_loop;
  return k;
}

const Kernels& kernels() {
  static const Kernels table = make_table();
  return table;
}

}  // namespace amx
}  // namespace understudy
