// The contract of the moments: mean and variance (CUDA: sum of squared deviations) of x by channel, in one pass over x;
// and of what they add to a gradient, a line in x.
#pragma once

#include <cstdint>

#include "kernels/multistep.h"

namespace snn {

// x: rows [T, n] as for multistep. Neuron i belongs to channel (i / inner) % channels.
struct MomentsArgs {
  Dtype dtype;
  std::int64_t T, n, channels, inner;
  const void* x;
  void* out;  // CPU: double [2, channels], mean and variance; CUDA: float [2, n], over the steps of each neuron
};

// to, x: float rows [T, n]; to becomes to + line[0] * x + line[1] of each channel, line: [2, channels]. CPU only: where
// a second pass over the neurons costs more than one over memory.
struct AddLineArgs {
  std::int64_t T, n, channels, inner;
  const float* x;
  const float* line;
  float* to;
};

}  // namespace snn
