// What a window of a pool lets through: counts of spikes, and which of two cells wins.
#pragma once

#include "math/hd.h"

namespace snn {
inline namespace SNN_ISA {

// Spikes in x, a multiple of the divisor: the nearest whole number, halves to even, by an addition that rounds. Sums
// of them are exact up to 2^22 spikes a step and 2^24 in all.
SNN_HD float spikes_of(float x, const Divisor& scale) { return (scale.divide(x) + 12582912.f) - 12582912.f; }

// Whether a key takes the place of the best one so far. The first of equal ones stays; a NaN wins, as in torch.
SNN_HD bool wins(float key, float best) { return (key > best) | (key != key); }

// The same of two cells with equal keys, the one with the larger value first.
SNN_HD bool wins(float key, float value, float best, float best_value) {
  return wins(key, best) | ((key == best) & (value > best_value));
}

}  // namespace SNN_ISA
}  // namespace snn
