// Gradients of coefficients: partial sums over time of each neuron, in registers. Python adds up the neurons.
#pragma once

#include "kernels/detail/vector.cuh"
#include "kernels/multistep.h"
#include "math/step.h"

namespace snn::gpu {

// dL/d of the numbers of each neuron, added up over the steps.
template <int V>
struct Sums {
  ChargeSums charge[V];
  FireSums fire[V];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      charge[j] = {0.f, 0.f, 0.f};
      fire[j] = {0.f, 0.f};
    }
  }
  // As row t of those that are coefficients. to: the first neuron's place in the first row.
  template <class C>
  __device__ __forceinline__ void store(const BackwardArgs& args, float* to, std::int64_t t) const {
    if constexpr (C::learns) {
      put(args, to, t, kA, [&](int j) { return charge[j].a; });
      put(args, to, t, kB, [&](int j) { return charge[j].b; });
    }
    put(args, to, t, kC, [&](int j) { return charge[j].c; });
    put(args, to, t, kTheta, [&](int j) { return fire[j].theta; });
    put(args, to, t, kAlpha, [&](int j) { return fire[j].alpha; });
  }

 private:
  template <class F>
  __device__ __forceinline__ void put(const BackwardArgs& args, float* to, std::int64_t t, int slot, F&& of) const {
    const int row = args.spec.rows[slot];
    if (row < 0) return;
    float values[V];
#pragma unroll
    for (int j = 0; j < V; ++j) values[j] = of(j);
    store_state(to + (row * args.coefficients.steps + t) * args.n, values);
  }
};

}  // namespace snn::gpu
