// The contract of the multistep kernels: all T steps of n neurons, x as rows [T, n] of one dense block.
#pragma once

#include <cstdint>

#include "math/spec.h"

namespace snn {

enum class Dtype : int { f32, f16, bf16 };

inline std::int64_t bytes_of(Dtype dtype) { return dtype == Dtype::f32 ? 4 : 2; }

// Numbers of the neuron that are tensors: rows [P, steps, channels], steps 1 or T. Neuron i belongs to channel
// (i / inner) % channels. Null values: there are none.
struct Coefficients {
  const float* values;
  std::int64_t steps, channels, inner;
};

// What both directions read. S states (spec.states()): v, then i, then m, where the neuron has them. Null states:
// neurons start at the reset's start, i and m at 0. constant: x is one row, used at every step. checkpoints:
// [count, S, n], the states before steps interval, 2 * interval, ... (null: not kept; needed backward if T >
// interval).
struct MultistepArgs {
  Spec spec;
  Dtype dtype;
  std::int64_t T, n, interval;
  bool constant;
  const void* x;
  const float* states;  // [S, n]
  float* checkpoints;
  Coefficients coefficients;

  std::int64_t coefficient_count() const {
    std::int64_t rows = 0;
    for (int row : spec.rows) rows += row >= 0;
    return rows * coefficients.steps * coefficients.channels;
  }
};

// A second input [T, n] of x's dtype, or null. Connect::sew adds it to what is emitted, Connect::ms to x: sum is then
// what neurons see, x + residual rounded to the dtype, and backward gets it as its x.
enum class Connect : int { none, sew, ms };

struct ForwardArgs : MultistepArgs {
  void* s;      // spikes [T, n]
  float* last;  // [S, n], may be null
  float* v;     // after every step [T, n], may be null
  Connect connect;
  const void* residual;
  void* sum;  // [T, n], may be null
};

struct BackwardArgs : MultistepArgs {
  const void* grad_s;      // [T, n]
  const float* grad_last;  // dL/d(last states) [S, n], may be null
  const float* grad_v;     // dL/d(v after every step) [T, n], may be null
  const void* grad_sum;    // dL/dx from elsewhere [T, n], added to grad_x, may be null
  const float* line;       // [2, channels], may be null: grad_x gets line[0] * x + line[1] more (once if x is constant)
  void* grad_x;            // [T, n], or [1, n] if x is constant: the sum over the steps; null: not wanted
  float* grad_states;      // [S, n], may be null
  float* sums;             // dL/d(coefficients), may be null; CPU: [P, steps, channels], CUDA: [P, steps, n]
};

}  // namespace snn
