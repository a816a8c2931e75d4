// Coefficients [P, steps, channels] as rows of numbers for the neurons of a tile, and sums over neurons back into
// that form.
#pragma once

#include "kernels/detail/stages.h"
#include "kernels/multistep.h"

namespace snn {
inline namespace SNN_ISA {

// f(channel, j, count): neurons j .. j + count of a tile that begins at `lo` belong to this channel, or, if inner
// is 1, to this one and those behind it.
template <class F>
void for_channels(const Coefficients& k, Size lo, Size m, F&& f) {
  if (k.channels == 1) return f(Size{0}, Size{0}, m);
  const Size length = k.inner == 1 ? k.channels : k.inner;
  Size channel = k.inner == 1 ? lo % k.channels : lo / k.inner % k.channels;
  Size left = length - lo % length;
  for (Size j = 0; j < m; left = length) {
    const Size count = left < m - j ? left : m - j;
    f(channel, j, count);
    j += count;
    channel = k.inner == 1 || channel + 1 == k.channels ? 0 : channel + 1;
  }
}

inline bool one_channel_each(const Coefficients& k) { return k.channels > 1 && k.inner == 1; }

// Row of neurons lo .. lo + m from the values of their channels.
inline void fill_channels(const Coefficients& k, const float* values, Size lo, Size m, float* row) {
  for_channels(k, lo, m, [&](Size channel, Size j, Size count) {
    if (one_channel_each(k))
      for (Size q = 0; q < count; ++q) row[j + q] = values[channel + q];
    else
      for (Size q = 0; q < count; ++q) row[j + q] = values[channel];
  });
}

// The numbers of M neurons at most, those that are no coefficients too.
template <Size M>
class Tile {
 public:
  Tile(const Spec& spec, const Coefficients& k) : spec_(spec), k_(k) {}

  // Of a step: only the first call does anything if coefficients do not vary.
  void fill(Size t, Size lo, Size m) {
    if (filled_ && k_.steps == 1) return;
    for (int slot = 0; slot < kSlots; ++slot) {
      float* row = rows_[slot];
      const float number = spec_.number(slot);
      if (spec_.rows[slot] < 0 && filled_) continue;
      if (spec_.rows[slot] < 0) {
        for (Size j = 0; j < m; ++j) row[j] = number;
        continue;
      }
      const float* values = k_.values + (spec_.rows[slot] * k_.steps + (k_.steps > 1 ? t : 0)) * k_.channels;
      fill_channels(k_, values, lo, m, row);
    }
    filled_ = true;
  }

  // As the stages want them: none if the neuron's own numbers hold.
  Numbers numbers() const {
    if (!k_.values) return {};
    return {rows_[kA], rows_[kB], rows_[kC], rows_[kTheta], rows_[kAlpha]};
  }
  const float* row(Slot slot) const { return rows_[slot]; }

 private:
  const Spec& spec_;
  const Coefficients& k_;
  bool filled_ = false;
  alignas(64) float rows_[kSlots][M];
};

// Sums by coefficient of M neurons over the steps, then over the neurons of a channel in double.
template <Size M>
class TileSums {
 public:
  TileSums(const Spec& spec, const Coefficients& k, bool wanted) : spec_(spec), k_(k) {
    if (wanted) clear(M);
  }

  Sums rows() { return {rows_[kA], rows_[kB], rows_[kC], rows_[kTheta], rows_[kAlpha]}; }

  // Adds what was collected (of step t, if coefficients vary) to out [P, steps, channels] and begins anew.
  void flush(Size t, Size lo, Size m, double* out) {
    for (int slot = 0; slot < kSlots; ++slot) {
      if (spec_.rows[slot] < 0) continue;
      const float* row = rows_[slot];
      double* to = out + (spec_.rows[slot] * k_.steps + (k_.steps > 1 ? t : 0)) * k_.channels;
      for_channels(k_, lo, m, [&](Size channel, Size j, Size count) {
        if (one_channel_each(k_))
          for (Size q = 0; q < count; ++q) to[channel + q] += static_cast<double>(row[j + q]);
        else
          to[channel] += total(row + j, count);
      });
    }
    clear(m);
  }

 private:
  // In lanes: a single chain of additions would wait for each of them.
  static double total(const float* row, Size count) {
    constexpr Size kLanes = 16;
    double lanes[kLanes] = {};
    Size j = 0;
    for (; j + kLanes <= count; j += kLanes)
      for (Size q = 0; q < kLanes; ++q) lanes[q] += static_cast<double>(row[j + q]);
    double sum = 0;
    for (Size q = 0; q < kLanes; ++q) sum += lanes[q];
    for (; j < count; ++j) sum += static_cast<double>(row[j]);
    return sum;
  }

  void clear(Size m) {
    for (int slot = 0; slot < kSlots; ++slot)
      for (Size j = 0; j < m; ++j) rows_[slot][j] = 0.f;
  }

  const Spec& spec_;
  const Coefficients& k_;
  alignas(64) float rows_[kSlots][M];
};

}  // namespace SNN_ISA
}  // namespace snn
