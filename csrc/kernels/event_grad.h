// The contract of convolutions of spikes in training: spikes as counts, and the gradient of the weight by events.
#pragma once

#include <cstdint>

#include "math/hd.h"

namespace snn {

// Spikes x [steps, n] as words [n] (EventSlot in events.h, one word of up to four steps). found: how many elements are
// not 0; invalid: how many are no whole numbers of -127 .. 127, and words are of no use then. Both are added to.
struct EventPackArgs {
  std::int64_t steps, n;
  const float* x;
  std::int32_t* words;
  std::int64_t *found, *invalid;
};

// One direction of a convolution: output o and tap k look at input o * stride + k * dilation - padding.
struct EventWindow {
  std::int64_t size, out, kernel, stride, padding, dilation;

  // Of a map in which gradients stand `stride` apart, so that tap k of input i is `place(k)` behind i for all inputs.
  SNN_HD std::int64_t places() const { return size + (kernel - 1) * dilation; }
  SNN_HD std::int64_t place(std::int64_t k) const { return (kernel - 1 - k) * dilation; }
  // Where output o stands there, if it is within.
  SNN_HD std::int64_t of_output(std::int64_t o) const { return o * stride - padding + (kernel - 1) * dilation; }
};

// words: [images, rows.size, cols.size, inputs] of `steps` steps; grad: [steps, images, rows.out, cols.out, outputs];
// weight: [inputs, rows.kernel, cols.kernel, outputs], written.
struct EventGradArgs {
  std::int64_t steps, images, inputs, outputs;
  EventWindow rows, cols;
  const std::int32_t* words;
  const float* grad;
  float* weight;
};

}  // namespace snn
