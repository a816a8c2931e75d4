// The contract of the moments: mean and sum of squared deviations of x by channel, in one pass over x.
#pragma once

#include <cstdint>

#include "kernels/multistep.h"

namespace snn {

// x: rows [T, n] as for multistep. Neuron i belongs to channel (i / inner) % channels.
struct MomentsArgs {
  Dtype dtype;
  std::int64_t T, n, channels, inner;
  const void* x;
  void* out;  // CPU: double [2, channels]; CUDA: float [2, n], over the steps of each neuron
};

}  // namespace snn
