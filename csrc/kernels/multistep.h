// The contract of the multistep kernels: all T steps of n neurons, x as rows [T, n] of one dense block.
#pragma once

#include <cstdint>

#include "math/spec.h"

namespace snn {

enum class Dtype : int { f32, f16, bf16 };

inline std::int64_t bytes_of(Dtype dtype) { return dtype == Dtype::f32 ? 4 : 2; }

// What both directions read. Null v0: neurons start at the reset's start. constant: x is one row, used at every
// step. checkpoints: rows of v before steps interval, 2 * interval, ... (null: not kept; needed backward if T >
// interval).
struct MultistepArgs {
  Spec spec;
  Dtype dtype;
  std::int64_t T, n, interval;
  bool constant;
  const void* x;
  const float* v0;
  float* checkpoints;
};

struct ForwardArgs : MultistepArgs {
  void* s;        // spikes [T, n]
  float* v_last;  // [n], may be null
};

struct BackwardArgs : MultistepArgs {
  const void* grad_s;      // [T, n]
  const float* grad_last;  // dL/dv_last [n], may be null
  void* grad_x;            // [T, n], or [1, n] if x is constant: the sum over the steps
  float* grad_v0;          // [n], may be null
};

}  // namespace snn
