// What backward keeps of a chunk of steps: rows of V floats in shared memory, each thread's in a column of its own,
// so that there are no barriers.
#pragma once

#include "kernels/detail/launch.cuh"
#include "kernels/detail/vector.cuh"
#include "kernels/multistep.h"

namespace snn::gpu {

// Row fired + k holds the potential that fired in step k of a chunk, m + k the fire's m before that step, and, where
// sums are wanted that need it, used + k what charged it. Those need the potential before the step, too, from which h
// follows: row fired + k then is the potential after step k. Row fired - 1 is the one before the chunk, where
// somebody needs it; `total` the gradient of a constant input; line + k what the line adds to the gradient in step k.
struct Rows {
  bool has_start, has_used, has_line;
  int fired, total, m, used, line, count;

  explicit Rows(const BackwardArgs& args) {
    const Spec& spec = args.spec;
    const int steps = static_cast<int>(args.T < args.interval ? args.T : args.interval);
    has_used = args.sums && (spec.rows[kA] >= 0 || spec.rows[kB] >= 0);
    has_line = args.line && args.grad_x && !args.constant;
    has_start = has_used || spec.delayed();
    fired = has_start;
    total = fired + steps;
    m = total + args.constant;
    used = m + steps * spec.remembers();
    line = used + steps * has_used;
    count = line + steps * has_line;
  }
  // The most threads of a block whose columns fit.
  int threads(int width, int most) const {
    constexpr int kWarp = 32;
    const int fit = kShared / (count * width * static_cast<int>(sizeof(float))) / kWarp * kWarp;
    return fit < most ? fit : most;
  }
};

extern __shared__ float4 shared_memory[];

template <int V>
struct Column {
  static constexpr int W = V < 4 ? V : 4;
  using Part = Vector<float, W>;

  // Neighbouring threads touch neighbouring words.
  __device__ __forceinline__ Part& part(int row, int q) const {
    return reinterpret_cast<Part*>(shared_memory)[(row * (V / W) + q) * blockDim.x + threadIdx.x];
  }
  __device__ __forceinline__ void put(int row, const float (&values)[V]) const {
#pragma unroll
    for (int j = 0; j < V; ++j) part(row, j / W).at[j % W] = values[j];
  }
  __device__ __forceinline__ void clear(int row) const {
    const float none[V] = {};
    put(row, none);
  }
  __device__ __forceinline__ void add(int row, const float (&values)[V]) const {
#pragma unroll
    for (int j = 0; j < V; ++j) part(row, j / W).at[j % W] += values[j];
  }
  // Those of neurons first, first + 1, ...
  template <int Count>
  __device__ __forceinline__ void get(int row, float (&values)[Count], int first = 0) const {
#pragma unroll
    for (int q = 0; q < Count / W; ++q) {
      const Part p = part(row, first / W + q);
#pragma unroll
      for (int j = 0; j < W; ++j) values[q * W + j] = p.at[j];
    }
  }
};

}  // namespace snn::gpu
