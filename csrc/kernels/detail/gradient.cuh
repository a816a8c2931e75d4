// The gradient of x on its way to memory: what else is added to what the neurons give.
#pragma once

#include "kernels/detail/columns.cuh"
#include "kernels/detail/numbers.cuh"

namespace snn::gpu {

template <int V>
__device__ __forceinline__ void add_line(const float (&slope)[V], const float (&start)[V], const float (&x)[V],
                                         float (&to)[V]) {
#pragma unroll
  for (int j = 0; j < V; ++j) to[j] += slope[j] * x[j] + start[j];
}

// gx: dL/dx of step k of a chunk by the neurons, here: its place.
template <class E, int V, bool R>
__device__ __forceinline__ void put_grad_x(const BackwardArgs& args, const Rows& rows, int k, std::int64_t here,
                                           bool bfloat, float (&gx)[V]) {
  if (args.grad_sum) add_row(load<V>(static_cast<const E*>(args.grad_sum) + here), bfloat, gx);
  if (args.constant) return Column<V>().add(rows.total, gx);
  if constexpr (R) {
    if (rows.has_line) {
      float added[V];
      Column<V>().get(rows.line + k, added);
#pragma unroll
      for (int j = 0; j < V; ++j) gx[j] += added[j];
    }
  }
  store(static_cast<E*>(args.grad_x) + here, gx, bfloat);
}

// Of a constant x: what the steps have added up to, and the line once.
template <class E, int V, bool R>
__device__ __forceinline__ void put_total(const BackwardArgs& args, const Numbers<V, R>& numbers, const Rows& rows,
                                          std::int64_t i, bool bfloat) {
  float total[V];
  Column<V>().get(rows.total, total);
  if constexpr (R) {
    if (args.line) {
      float slope[V], start[V], x[V];
      numbers.line(args.line, slope, start);
      widen(load<V>(static_cast<const E*>(args.x) + i), bfloat, x);
      add_line(slope, start, x, total);
    }
  }
  store(static_cast<E*>(args.grad_x) + i, total, bfloat);
}

}  // namespace snn::gpu
