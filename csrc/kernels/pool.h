// The contract of the pools. A cell's key is its count of spikes so far, the present step included, or, in a plain
// pool, its value; the cell with the largest key wins its window.
#pragma once

#include <cstdint>

#include "kernels/multistep.h"
#include "math/hd.h"

namespace snn {

// What a window emits. lateral: by how much its largest count has grown in this step, times scale. spike_max: the
// value of the winner, of equal winners the largest. plain: the largest value.
enum class Pooling : int { lateral, spike_max, plain };

// One of the two directions of a plane.
struct Axis {
  std::int64_t size, out, kernel, stride, padding, dilation;
};

// x: [T, outer, rows.size, cols.size, inner], holds scale * count; counts: [outer, ..., inner] of one step. Planes are
// contiguous if inner is 1, channels-last if it is the number of channels. A plain pool has T = 1 and no counts.
struct PoolArgs {
  Pooling mode;
  Dtype dtype;
  std::int64_t T, outer, inner;
  Axis rows, cols;
  float scale;
  const void* x;

  SNN_HD bool counts() const { return mode != Pooling::plain; }
  SNN_HD std::int64_t taps() const { return rows.kernel * cols.kernel; }
  SNN_HD std::int64_t cells() const { return outer * rows.size * cols.size * inner; }
  SNN_HD std::int64_t outputs() const { return outer * rows.out * cols.out * inner; }
};

struct PoolForwardArgs : PoolArgs {
  const float* state;  // counts before the first step, may be null: none
  void* out;           // [T, outer, rows.out, cols.out, inner]
  float* last;         // counts after the last step, may be null
};

struct PoolBackwardArgs : PoolArgs {
  const float* last;       // counts after the last step; null in a plain pool
  const void* grad;        // as out
  const float* grad_last;  // dL/d(last counts), lateral only, may be null
  void* grad_x;            // as x
  float* grad_state;       // dL/d(first counts), lateral only, may be null
};

}  // namespace snn
