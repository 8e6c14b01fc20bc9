// Products on AMX tiles: integer formats, many tokens. Everything is exact where the AVX-512 target
// is exact and rounds where it rounds, so a token's result has the same bits in both.
#pragma once
#include "../kernels.h"

namespace understudy::amx {

constexpr int MIN_BLOCK_TOKENS = 16;  // fewer do not fill a tile
constexpr int BLOCK_PANELS = 3;       // panels that meet a token tile while it is in the L1 cache

// Asks the kernel for the tile registers (Linux hands them out on demand); false where they cannot
// be had.
bool request_tiles();

template <Format FORMAT>
void matmul_block(const Block& block);
int64_t peak_loop(int64_t rounds);

}  // namespace understudy::amx
