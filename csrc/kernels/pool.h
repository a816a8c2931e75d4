// The contract of the lateral pool: out_t = M_t - M_{t-1}, M the window maximum of the cumulative counts.
#pragma once

#include <cstdint>

#include "kernels/multistep.h"

namespace snn {

// x: [T, planes, height, width] and out: [T, planes, out_height, out_width], contiguous; x holds scale * count.
struct PoolArgs {
  Dtype dtype;
  std::int64_t T, planes, height, width, out_height, out_width;
  std::int64_t kernel[2], stride[2], padding[2], dilation[2];
  float scale;
  const void* x;
  void* out;
};

}  // namespace snn
