// One time step of a thread's neurons: charge, then fire and reset, in registers.
#pragma once

#include "kernels/detail/numbers.cuh"
#include "math/any.h"
#include "math/step.h"

namespace snn::gpu {

// What a kernel runs. The charge is a type, fire and reset are switches.
template <class C>
struct Cell {
  Charging<C> charging;
  AnyFire fire;
  AnyReset reset;
  AnySurrogate surrogate;
};

// The state variables; also dL/d of them. What a neuron lacks is 0.
template <int V>
struct States {
  float v[V], i[V], m[V];

  // From rows [S, n], or from the start.
  template <class C>
  __device__ __forceinline__ void load(const Cell<C>& cell, const float* from, std::int64_t n, float start) {
    load_state(from, start, v);
    if constexpr (C::filters) load_state(from ? from += n : nullptr, 0.f, i);
    load_state(from && cell.fire.remembers ? from + n : nullptr, 0.f, m);
  }
  template <class C>
  __device__ __forceinline__ void store(const Cell<C>& cell, float* to, std::int64_t n) const {
    store_state(to, v);
    if constexpr (C::filters) store_state(to += n, i);
    if (cell.fire.remembers) store_state(to + n, m);
  }
};

template <class C>
__device__ __forceinline__ std::int64_t states_of(const Cell<C>& cell) {
  return 1 + C::filters + cell.fire.remembers;
}

// x: the input. h: the potential that fires, used: what charged it, s: what is emitted.
template <int V, bool Rows, class C>
__device__ __forceinline__ void step(const Cell<C>& cell, const Numbers<V, Rows>& numbers, const float (&x)[V],
                                     States<V>& now, float (&h)[V], float (&used)[V], float (&s)[V]) {
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const auto own = numbers.charging(cell.charging, j);
    used[j] = own.input(x[j], now.i[j]);
    h[j] = own.forward(now.v[j], used[j]);
  }
  cell.fire.visit([&](const auto& fire) {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const auto own = numbers.fire(fire, j);
      const Firing<std::decay_t<decltype(own)>, AnyReset> firing = {own, cell.reset};
      s[j] = own.emitted(firing.forward(h[j], now.v[j], now.m[j]));
    }
  });
}

}  // namespace snn::gpu
