// The AMX row of the kernel table: the AVX-512 row, with products of many tokens on tiles.
#include "../kernels.h"
#include "matmul.h"

namespace understudy {
namespace avx512 {
extern const Kernels TABLE;
}

namespace amx {

const Kernels& table() {
  static const Kernels kernels = [] {
    Kernels row = avx512::TABLE;
    row.name = "amx";
    row.block_tokens = 16;
    row.block_panels = BLOCK_PANELS;
    row.matmul_block[static_cast<int>(Format::Q8)] = matmul_block<Format::Q8>;
    row.matmul_block[static_cast<int>(Format::Q4)] = matmul_block<Format::Q4>;
    row.matmul_block[static_cast<int>(Format::Q4M)] = matmul_block<Format::Q4M>;
    row.matmul_block[static_cast<int>(Format::Q4S)] = matmul_block<Format::Q4S>;
    row.busy = busy;
    return row;
  }();
  return kernels;
}

}  // namespace amx
}  // namespace understudy
