// The cells of a pool's window, as a thread sees them: V neighbouring channels (or one cell) of each tap.
#pragma once

#include "kernels/detail/launch.cuh"
#include "kernels/pool.h"
#include "math/pool.h"

namespace snn::gpu {

// Blocks of the pools that an SM's registers hold at least: where counts of windows stay in registers, and elsewhere.
constexpr int kHeavyBlocks = 2, kLightBlocks = 4;

// A cell or window of [outer, rows, cols, inner]: its place, plane by plane.
struct Spot {
  std::int64_t outer, row, col, channel;

  __device__ __forceinline__ Spot(std::int64_t i, std::int64_t rows, std::int64_t cols, std::int64_t inner) {
    channel = i % inner;
    i /= inner;
    col = i % cols;
    i /= cols;
    row = i % rows;
    outer = i / rows;
  }
};

// The place of tap (ky, kx) of a window in a step of x, or -1 in the padding.
__device__ __forceinline__ std::int64_t cell_of(const PoolArgs& a, const Spot& w, std::int64_t ky, std::int64_t kx) {
  const std::int64_t y = w.row * a.rows.stride - a.rows.padding + ky * a.rows.dilation;
  const std::int64_t x = w.col * a.cols.stride - a.cols.padding + kx * a.cols.dilation;
  if (y < 0 || y >= a.rows.size || x < 0 || x >= a.cols.size) return -1;
  return ((w.outer * a.rows.size + y) * a.cols.size + x) * a.inner + w.channel;
}

// The best cell of a window so far. Keys decide in lateral and plain pools, where the value is 0 throughout.
template <int V>
struct Winner {
  float key[V] = {}, value[V] = {};
  int tap[V] = {};
  bool any = false;

  __device__ __forceinline__ void offer(const float (&keys)[V], const float (&x)[V], bool by_value, int k) {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float mine = by_value ? x[j] : 0.f;
      const bool won = !any || wins(keys[j], mine, key[j], value[j]);
      key[j] = won ? keys[j] : key[j];
      value[j] = won ? mine : value[j];
      tap[j] = won ? k : tap[j];
    }
    any = true;
  }
};

// A window of at most N cells whose counts stay in registers.
template <int V, int N>
struct Window {
  std::int64_t cell[N];
  float counts[N][V];

  __device__ __forceinline__ Window(const PoolArgs& a, const Spot& w, const float* from) {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      cell[k] = k < a.taps() ? cell_of(a, w, k / a.cols.kernel, k % a.cols.kernel) : -1;
      load_state(from && cell[k] >= 0 ? from + cell[k] : nullptr, 0.f, counts[k]);
    }
  }
  // The winner, after (sign 1) or before (sign -1) a step's spikes are counted.
  template <class E>
  __device__ __forceinline__ Winner<V> step(const E* x, const Divisor& scale, bool by_value, bool bfloat, float sign) {
    Winner<V> best;
    Vector<E, V> row[N];
#pragma unroll
    for (int k = 0; k < N; ++k)
      if (cell[k] >= 0) row[k] = load<V>(x + cell[k]);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      if (cell[k] < 0) continue;
      float in[V], before[V];
      widen(row[k], bfloat, in);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        before[j] = counts[k][j];
        counts[k][j] += sign * spikes_of(in[j], scale);
      }
      best.offer(sign > 0.f ? counts[k] : before, in, by_value, k);
    }
    return best;
  }
  // The winner by the counts as they are.
  __device__ __forceinline__ Winner<V> now() const {
    Winner<V> best;
    const float none[V] = {};
#pragma unroll
    for (int k = 0; k < N; ++k)
      if (cell[k] >= 0) best.offer(counts[k], none, false, k);
    return best;
  }
};

// The number of a tap as it is kept between two kernels.
template <class W, int V>
__device__ __forceinline__ void store_taps(W* to, const int (&taps)[V]) {
  Vector<W, V> out;
#pragma unroll
  for (int j = 0; j < V; ++j) out.at[j] = static_cast<W>(taps[j]);
  *reinterpret_cast<Vector<W, V>*>(to) = out;
}

}  // namespace snn::gpu
