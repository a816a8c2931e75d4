// Forward of common neurons on CUDA.
#pragma once

#include "kernels/detail/quick.cuh"

namespace snn::gpu {
namespace {

template <bool Bfloat, class E, int V, class C, class Fires>
__device__ __forceinline__ void emit(const ForwardArgs& args, std::int64_t bytes, const C& charge, const Fires& fires,
                                     std::int64_t i) {
  constexpr bool kRemembers = Fires::Fire::remembers;
  const std::int64_t n = args.n;
  float v[V], m[V];
  load_state(args.states ? args.states + i : nullptr, fires.reset.start(), v);
  load_state(kRemembers && args.states ? args.states + n + i : nullptr, 0.f, m);
  const auto keep = [&](float* to) {
    store_state(to, v);
    if (kRemembers) store_state(to + n, m);
  };
  E* s = static_cast<E*>(args.s) + i;
  const auto body = [&](const Vector<E, V>& row) {
    float x[V], out[V];
    widen(row, Bfloat, x);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      float h = charge.charge(v[j], x[j]);
      out[j] = fires.fire.emitted(fires.forward(h, v[j], m[j]));
    }
    store(s, out, Bfloat);
    s = moved(s, bytes);
  };
  float* checkpoint = args.checkpoints ? args.checkpoints + i : nullptr;
  int until_checkpoint = static_cast<int>(args.interval);
  const auto between = [&](int left) {
    if (!checkpoint || (until_checkpoint -= kGroup) || left == 0) return;
    keep(checkpoint);
    checkpoint += (1 + kRemembers) * n;
    until_checkpoint = static_cast<int>(args.interval);
  };
  each_row<V, 1>(static_cast<const E*>(args.x) + i, bytes, args.constant, static_cast<int>(args.T), body, between);
  if (args.last) keep(args.last + i);
}

// bytes: of a row.
template <class E, class C, class F, class R>
__global__ void __launch_bounds__(kThreads)
    quick_forward(const ForwardArgs args, const std::int64_t bytes, const C charge, const Firing<F, R> fires) {
  constexpr int V = 16 / sizeof(E);
  const std::int64_t i = first_neuron<V>();
  if (i >= args.n) return;
  with_format<E>(args.dtype, [&](auto bfloat) { emit<bfloat, E, V>(args, bytes, charge, fires, i); });
}

template <class E>
bool run_quick_forward(const ForwardArgs& args, cudaStream_t stream) {
  if (!is_plain(args) || args.v || args.residual || args.sum || !can_be_vectors(args, args.s, args.last)) return false;
  return visit_quick<true>(args.spec, [&](const auto& charge, const auto& fire, const auto& reset) {
    using Fires = Firing<std::decay_t<decltype(fire)>, std::decay_t<decltype(reset)>>;
    const std::int64_t bytes = args.n * sizeof(E);
    const unsigned blocks = blocks_for(args.n, 16 / sizeof(E), kThreads);
    quick_forward<E><<<blocks, kThreads, 0, stream>>>(args, bytes, charge, Fires{fire, reset});
  });
}

}  // namespace
}  // namespace snn::gpu
