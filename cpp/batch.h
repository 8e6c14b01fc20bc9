// One step's work.
#pragma once
#include <cstdint>

#include "adapter.h"

namespace understudy {

// Token i stands at positions[i] of the sequence with page table row slots[i].
struct Batch {
  int num_tokens;
  const int32_t *tokens, *positions, *slots;
  const int32_t* page_tables;
  int max_pages;
  int num_logits;
  const int32_t* logit_rows;
  const int32_t* frequency_sets;             // by sequence, an index into Spec::frequency_sets
  const AdapterMix* const* mixes = nullptr;  // by sequence, null for none; null: none has any
  // Of models with recurrent layers. By sequence (source, target): which state it goes on from, -1
  // for none, and where its state is kept; by token where the state after it is kept as well, -1
  // for nowhere. The tokens of a sequence stand together.
  const int32_t* states = nullptr;
  const int32_t* state_saves = nullptr;

  const int32_t* page_table(int slot) const {
    return page_tables + static_cast<int64_t>(slot) * max_pages;
  }
};

}  // namespace understudy
