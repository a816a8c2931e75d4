// The contract of the Poisson encoder: every element spikes in every step with probability x, independently.
#pragma once

#include <cstdint>

#include "kernels/multistep.h"
#include "math/hd.h"

namespace snn {

// x: [n] in [0, 1], s: [T, n], dense. Spikes are drawn by Philox with the key `seed` and the counter (element, its
// high half, t / 4, 0), of which word t % 4 counts. Elements are numbered from `first` in contiguous order [..,
// channels, inner]; in memory they stand as [.., inner, channels] (channels 1: in that order).
struct PoissonArgs {
  Dtype dtype;
  std::int64_t T, n;
  std::uint64_t seed, first;
  std::int64_t channels, inner;
  const void* x;
  void* s;

  // The number of the element at place i.
  SNN_HD std::uint64_t element(std::int64_t i) const {
    if (channels == 1) return first + i;
    const std::int64_t cell = i / channels, sample = cell / inner;
    return first + (sample * channels + (i - cell * channels)) * inner + (cell - sample * inner);
  }
};

}  // namespace snn
