// The contract of packed spikes: a spike is `count * scale`, rounded to the dtype; its count takes a bit or a byte.
#pragma once

#include <cstdint>

#include "kernels/multistep.h"

namespace snn {

enum class PackKind : int { bits, counts, signed_counts };

// n values of x in memory order. packed: (n + 7) / 8 bytes, the least significant bit first, or n bytes. one: a single
// spike in x's dtype, to the bit. low, high: the counts that a byte can hold. invalid: set to 1 if x holds anything
// else, and packed is of no use then; null: not looked for.
struct PackArgs {
  PackKind kind;
  Dtype dtype;
  std::int64_t n;
  float scale, inverse, low, high;
  std::uint32_t one;
  void* x;
  void* packed;
  std::int32_t* invalid;
};

}  // namespace snn
