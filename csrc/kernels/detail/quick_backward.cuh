// Backward of common neurons on CUDA: their charge is two factors there.
#pragma once

#include "kernels/detail/quick.cuh"

namespace snn::gpu {
namespace {

extern __shared__ float4 shelf[];

// A thread's rows of V floats in shared memory: neighbouring threads touch neighbouring words.
template <int V>
class Shelf {
 public:
  static constexpr int kParts = V / 4, kRow = kParts * kThreads;

  __device__ __forceinline__ explicit Shelf(int row) : at_(shelf + row * kRow + threadIdx.x) {}
  __device__ __forceinline__ void move(int rows) { at_ += rows * kRow; }
  __device__ __forceinline__ void put(const float (&h)[V]) const {
#pragma unroll
    for (int q = 0; q < kParts; ++q)
      at_[q * kThreads] = make_float4(h[4 * q], h[4 * q + 1], h[4 * q + 2], h[4 * q + 3]);
  }
  __device__ __forceinline__ void get(float (&h)[V]) const {
#pragma unroll
    for (int q = 0; q < kParts; ++q) {
      const float4 part = at_[q * kThreads];
      h[4 * q] = part.x, h[4 * q + 1] = part.y, h[4 * q + 2] = part.z, h[4 * q + 3] = part.w;
    }
  }

 private:
  float4* at_;
};

// A call, as a thread sees it.
template <class E, class C, class Fires>
struct Back {
  static constexpr int V = 16 / sizeof(E);
  const BackwardArgs& args;
  const std::int64_t& bytes;  // of a row
  const C& charge;
  const Fires& fires;
  float dv, dx;
  std::int64_t i;

  __device__ __forceinline__ int interval() const { return static_cast<int>(args.interval); }
};

// The potentials that fired in the steps of a chunk.
template <bool Bfloat, class E, class C, class Fires>
__device__ __forceinline__ void recompute_chunk(const Back<E, C, Fires>& back, int chunk, int count) {
  constexpr int V = Back<E, C, Fires>::V;
  const BackwardArgs& args = back.args;
  const float* before = chunk ? args.checkpoints + (chunk - 1) * args.n : args.states;
  float v[V];
  load_state(before ? before + back.i : nullptr, back.fires.reset.start(), v);
  Shelf<V> place(0);
  const auto body = [&](const Vector<E, V>& row) {
    float x[V], h[V], none = 0.f;
    widen(row, Bfloat, x);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      h[j] = back.charge.charge(v[j], x[j]);
      back.fires.forward(h[j], v[j], none);
    }
    place.put(h);
    place.move(1);
  };
  const E* x = static_cast<const E*>(args.x) + back.i;
  each_row<V, 1>(moved(x, chunk * back.interval() * back.bytes), back.bytes, false, count, body, [](int) {});
}

// Back from the last step of a chunk to its first. g: dL/dv.
template <bool Bfloat, class P, class E, class C, class Fires, int V>
__device__ __forceinline__ void adjoint_chunk(const Back<E, C, Fires>& back, const P& surrogate, int chunk, int count,
                                              float (&g)[V]) {
  const BackwardArgs& args = back.args;
  const std::int64_t last = (chunk * back.interval() + count - 1) * back.bytes;
  Shelf<V> place(count - 1);
  E* to = moved(static_cast<E*>(args.grad_x) + back.i, last);
  const auto body = [&](const Vector<E, V>& row) {
    float grad[V], h[V], gx[V];
    widen(row, Bfloat, grad);
    place.get(h);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      Slopes p;
      p.up = surrogate.grad(h[j] - back.fires.fire.theta);
      FireSums sums = {};
      Adjoint at = {g[j], 0.f, 0.f};
      const float gh = back.fires.backward(grad[j], p, h[j], 0.f, at, sums);
      g[j] = gh * back.dv;
      gx[j] = gh * back.dx;
    }
    store(to, gx, Bfloat);
    to = moved(to, -back.bytes);
    place.move(-1);
  };
  each_row<V, -1>(moved(static_cast<const E*>(args.grad_s) + back.i, last), back.bytes, false, count, body, [](int) {});
}

template <bool Bfloat, class E, class C, class Fires>
__device__ __forceinline__ void propagate(const Back<E, C, Fires>& back) {
  constexpr int V = Back<E, C, Fires>::V;
  const BackwardArgs& args = back.args;
  float g[V];
  load_state(args.grad_last ? args.grad_last + back.i : nullptr, 0.f, g);
  int count = static_cast<int>(args.T), chunk = (count - 1) / back.interval();
  count -= chunk * back.interval();
#pragma unroll 1
  for (; chunk >= 0; --chunk, count = back.interval()) {
    recompute_chunk<Bfloat>(back, chunk, count);
    if (args.spec.surrogate == SurrogateId::ATan)
      adjoint_chunk<Bfloat>(back, ATan(args.spec.surrogate_values), chunk, count, g);
    else
      adjoint_chunk<Bfloat>(back, Sigmoid(args.spec.surrogate_values), chunk, count, g);
  }
  if (args.grad_states) store_state(args.grad_states + back.i, g);
}

// bytes: of a row.
template <class E, class C, class F, class R>
__global__ void __launch_bounds__(kThreads)
    quick_backward(const BackwardArgs args, const std::int64_t bytes, const C charge, const Firing<F, R> fires) {
  constexpr int V = 16 / sizeof(E);
  const std::int64_t i = first_neuron<V>();
  if (i >= args.n) return;
  const Back<E, C, Firing<F, R>> back = {args,           bytes, charge, fires, charge.dh_dv() * fires.reset.carry,
                                         charge.dh_dx(), i};
  with_format<E>(args.dtype, [&](auto bfloat) { propagate<bfloat>(back); });
}

template <class E>
bool run_quick_backward(const BackwardArgs& args, cudaStream_t stream) {
  const bool known = args.spec.surrogate == SurrogateId::ATan || args.spec.surrogate == SurrogateId::Sigmoid;
  if (!known || !is_plain(args) || args.constant || args.grad_v || args.grad_sum || args.line || args.sums ||
      !args.grad_x || !can_be_vectors(args, args.grad_s, args.grad_last, args.grad_x, args.grad_states))
    return false;
  constexpr int V = 16 / sizeof(E);
  const std::int64_t rows = args.T < args.interval ? args.T : args.interval, bytes = args.n * sizeof(E);
  const std::size_t shared = sizeof(float) * V * kThreads * rows;
  if (shared > kShared) return false;  // the other kernels take fewer threads for a longer interval
  return visit_quick<false>(args.spec, [&](const auto& charge, const auto& fire, const auto& reset) {
    using Fires = Firing<std::decay_t<decltype(fire)>, std::decay_t<decltype(reset)>>;
    quick_backward<E>
        <<<blocks_for(args.n, V, kThreads), kThreads, shared, stream>>>(args, bytes, charge, Fires{fire, reset});
  });
}

}  // namespace
}  // namespace snn::gpu
