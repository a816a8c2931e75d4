// The pools on CUDA. A thread has a window, or a cell, and all steps of it.
//
// Windows of up to 9 cells keep their counts in registers, and backward their gradients where windows of up to 4 tile
// the plane. Else one kernel writes which tap won (a byte for each output and step), the next one gathers: no atomics.
// Larger windows take two launches a step, with the counts in memory. Plain pools have no steps and no counts.
#include "kernels/detail/gather.cuh"
#include "kernels/detail/window.cuh"
#include "kernels/gpu.h"

namespace snn::gpu {
namespace {

constexpr int kMost = 9;  // cells of a window in registers
constexpr int kFew = 4;   // with their gradients

bool in_registers(const PoolArgs& a) { return a.counts() && a.taps() <= kMost; }

// Whether each cell is in exactly one window.
bool tiles(const PoolArgs& a) {
  const auto along = [](const Axis& b) {
    return b.kernel == b.stride && b.padding == 0 && b.dilation == 1 && b.out * b.stride == b.size;
  };
  return along(a.rows) && along(a.cols);
}

bool few_tiles(const PoolArgs& a) { return a.counts() && a.taps() <= kFew && tiles(a); }

template <class E, int V, int N>
__global__ void __launch_bounds__(kThreads, kHeavyBlocks)
    pool_forward(const PoolForwardArgs a, const Divisor scale, bool covers) {
  const std::int64_t i = first_neuron<V>();
  if (i >= a.outputs()) return;
  const bool bfloat = a.dtype == Dtype::bf16, lateral = a.mode == Pooling::lateral;
  Window<V, N> window(a, Spot(i, a.rows.out, a.cols.out, a.inner), a.state);
  Winner<V> before = window.now();
#pragma unroll 1
  for (std::int64_t t = 0; t < a.T; ++t) {
    const E* x = static_cast<const E*>(a.x) + t * a.cells();
    const Winner<V> best = window.step(x, scale, !lateral, bfloat, 1.f);
    float out[V];
#pragma unroll
    for (int j = 0; j < V; ++j) out[j] = lateral ? (best.key[j] - before.key[j]) * a.scale : best.value[j];
    store(static_cast<E*>(a.out) + t * a.outputs() + i, out, bfloat);
    before = best;
  }
  if (!a.last || !covers) return;
#pragma unroll
  for (int k = 0; k < N; ++k)
    if (window.cell[k] >= 0) store_state(a.last + window.cell[k], window.counts[k]);
}

// Which tap wins in each step, row `extra` + t; with `extra` row 0 tells that of the counts before the first step.
template <class E, int V, int N>
__global__ void __launch_bounds__(kThreads, kHeavyBlocks)
    pool_winners(const PoolBackwardArgs a, const Divisor scale, std::uint8_t* to, int extra) {
  const std::int64_t i = first_neuron<V>();
  if (i >= a.outputs()) return;
  Window<V, N> window(a, Spot(i, a.rows.out, a.cols.out, a.inner), a.last);
#pragma unroll 1
  for (std::int64_t t = a.T - 1; t >= 0; --t) {
    const E* x = static_cast<const E*>(a.x) + t * a.cells();
    const bool by_value = a.mode == Pooling::spike_max;
    store_taps(to + (t + extra) * a.outputs() + i, window.step(x, scale, by_value, a.dtype == Dtype::bf16, -1.f).tap);
  }
  if (extra) store_taps(to + i, window.now().tap);
}

// Backward of windows that tile the plane.
template <class E, int V>
__global__ void __launch_bounds__(kThreads, kHeavyBlocks) pool_backward(const PoolBackwardArgs a, const Divisor scale) {
  constexpr int N = kFew;
  const std::int64_t i = first_neuron<V>();
  if (i >= a.outputs()) return;
  const bool bfloat = a.dtype == Dtype::bf16, lateral = a.mode == Pooling::lateral;
  Window<V, N> window(a, Spot(i, a.rows.out, a.cols.out, a.inner), a.last);
  float grads[N][V], after[V] = {};
#pragma unroll
  for (int k = 0; k < N; ++k) {
    load_state(a.grad_last && window.cell[k] >= 0 ? a.grad_last + window.cell[k] : nullptr, 0.f, grads[k]);
#pragma unroll
    for (int j = 0; j < V; ++j) grads[k][j] = scale.divide(grads[k][j]);
  }
  // Adds what came through the winners; as an output where it is wanted.
  const auto pass = [&](const int (&taps)[V], const float (&grad)[V], auto&& put) {
#pragma unroll
    for (int k = 0; k < N; ++k) {
#pragma unroll
      for (int j = 0; j < V; ++j) {
        const float mine = taps[j] == k ? grad[j] - after[j] : 0.f;
        grads[k][j] = lateral ? grads[k][j] + mine : mine;
      }
      if (window.cell[k] >= 0) put(k);
    }
#pragma unroll
    for (int j = 0; j < V; ++j) after[j] = lateral ? grad[j] : 0.f;
  };
#pragma unroll 1
  for (std::int64_t t = a.T - 1; t >= 0; --t) {
    float grad[V];
    widen(load<V>(static_cast<const E*>(a.grad) + t * a.outputs() + i), bfloat, grad);
    const E* x = static_cast<const E*>(a.x) + t * a.cells();
    const Winner<V> best = window.step(x, scale, !lateral, bfloat, -1.f);
    E* to = static_cast<E*>(a.grad_x) + t * a.cells();
    pass(best.tap, grad, [&](int k) { store(to + window.cell[k], grads[k], bfloat); });
  }
  if (!a.grad_state) return;
  const float none[V] = {};
  pass(window.now().tap, none, [&](int k) {
    float out[V];
#pragma unroll
    for (int j = 0; j < V; ++j) out[j] = grads[k][j] * a.scale;
    store_state(a.grad_state + window.cell[k], out);
  });
}

// One step of windows of any size, by counts in memory: what they emit, or which tap wins (`which`, where it is
// wanted). counts: before the step in forward, after it in backward; null in plain pools.
template <class E, int V, class W>
__global__ void __launch_bounds__(kThreads, kLightBlocks)
    pool_step(const PoolArgs a, const Divisor scale, const E* x, const float* counts, E* out, W* which) {
  const std::int64_t i = first_neuron<V>();
  if (i >= a.outputs()) return;
  const Spot spot(i, a.rows.out, a.cols.out, a.inner);
  const bool bfloat = a.dtype == Dtype::bf16, by_value = a.mode == Pooling::spike_max;
  Winner<V> best, before;
  for (std::int64_t k = 0, ky = 0; ky < a.rows.kernel; ++ky) {
    for (std::int64_t kx = 0; kx < a.cols.kernel; ++kx, ++k) {
      const std::int64_t cell = cell_of(a, spot, ky, kx);
      if (cell < 0) continue;
      float in[V], key[V];
      load_state(nullptr, 0.f, in);
      if (x) widen(load<V>(x + cell), bfloat, in);
#pragma unroll
      for (int j = 0; j < V; ++j) key[j] = in[j];
      if (counts) load_state(counts + cell, 0.f, key);
      if (counts && out) {
        before.offer(key, in, false, 0);
#pragma unroll
        for (int j = 0; j < V; ++j) key[j] += spikes_of(in[j], scale);
      }
      best.offer(key, in, by_value, static_cast<int>(k));
    }
  }
  if (which) store_taps(which + i, best.tap);
  if (!out) return;
  float values[V];
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const float growth = (best.key[j] - before.key[j]) * a.scale;
    values[j] = by_value ? best.value[j] : counts ? growth : best.key[j];
  }
  store(out + i, values, bfloat);
}

// to = from (null: 0) + sign * the spikes of `steps` steps.
template <class E, int V>
__global__ void __launch_bounds__(kThreads, kLightBlocks)
    pool_count(const PoolArgs a, const Divisor scale, const E* x, std::int64_t steps, float sign, const float* from,
               float* to) {
  const std::int64_t i = first_neuron<V>();
  if (i >= a.cells()) return;
  float counts[V];
  load_state(from ? from + i : nullptr, 0.f, counts);
  for (std::int64_t t = 0; t < steps; ++t, x += a.cells()) {
    float in[V];
    widen(load<V>(x + i), a.dtype == Dtype::bf16, in);
#pragma unroll
    for (int j = 0; j < V; ++j) counts[j] += sign * spikes_of(in[j], scale);
  }
  store_state(to + i, counts);
}

// f(E, V) with the types of a kernel. p: every pointer of the call.
template <class F, class... P>
void with_types(const PoolArgs& a, F&& f, const P*... p) {
  const bool vectors = a.inner % (16 / bytes_of(a.dtype)) == 0 && all_aligned(a.x, p...);
  a.dtype == Dtype::f32 ? with_width<float>(vectors, f) : with_width<Half>(vectors, f);
}

// f(N): the cells of a window in registers.
template <class F>
void with_taps(const PoolArgs& a, F&& f) {
  a.taps() <= kFew ? f(std::integral_constant<int, kFew>{}) : f(std::integral_constant<int, kMost>{});
}

template <class E, int V>
void forward(const PoolForwardArgs& a, float* scratch, cudaStream_t stream) {
  const Divisor scale(a.scale);
  const unsigned windows = blocks_for(a.outputs(), V, kThreads), cells = blocks_for(a.cells(), V, kThreads);
  const E* x = static_cast<const E*>(a.x);
  E* out = static_cast<E*>(a.out);
  if (in_registers(a)) {
    with_taps(a, [&](auto taps) { pool_forward<E, V, taps><<<windows, kThreads, 0, stream>>>(a, scale, tiles(a)); });
    if (a.last && !tiles(a)) pool_count<E, V><<<cells, kThreads, 0, stream>>>(a, scale, x, a.T, 1.f, a.state, a.last);
    return;
  }
  const auto step = pool_step<E, V, std::uint8_t>;
  if (!a.counts()) return step<<<windows, kThreads, 0, stream>>>(a, scale, x, nullptr, out, nullptr);
  float* counts = a.last ? a.last : scratch;
  pool_count<E, V><<<cells, kThreads, 0, stream>>>(a, scale, x, 0, 1.f, a.state, counts);
  for (std::int64_t t = 0; t < a.T; ++t, x += a.cells(), out += a.outputs()) {
    step<<<windows, kThreads, 0, stream>>>(a, scale, x, counts, out, nullptr);
    pool_count<E, V><<<cells, kThreads, 0, stream>>>(a, scale, x, 1, 1.f, counts, counts);
  }
}

// Backward by way of the winners of all steps, `which`.
template <class E, int V, class W>
void backward(const PoolBackwardArgs& a, W* which, float* counts, cudaStream_t stream) {
  const Divisor scale(a.scale);
  const unsigned windows = blocks_for(a.outputs(), V, kThreads), cells = blocks_for(a.cells(), V, kThreads);
  const int extra = a.grad_state != nullptr;
  if constexpr (sizeof(W) == 1) {
    if (in_registers(a))
      with_taps(a,
                [&](auto taps) { pool_winners<E, V, taps><<<windows, kThreads, 0, stream>>>(a, scale, which, extra); });
  }
  if (!in_registers(a)) {
    const auto step = pool_step<E, V, W>;
    if (a.counts()) pool_count<E, V><<<cells, kThreads, 0, stream>>>(a, scale, nullptr, 0, 1.f, a.last, counts);
    for (std::int64_t t = a.T - 1; t >= -extra; --t) {
      const E* x = t < 0 ? nullptr : static_cast<const E*>(a.x) + t * a.cells();
      W* to = which + (t + extra) * a.outputs();
      step<<<windows, kThreads, 0, stream>>>(a, scale, x, a.counts() ? counts : nullptr, nullptr, to);
      if (a.counts() && t >= 0) pool_count<E, V><<<cells, kThreads, 0, stream>>>(a, scale, x, 1, -1.f, counts, counts);
    }
  }
  if constexpr (sizeof(W) == 1) {
    if (overlaps_little(a)) {
      const std::int64_t tiles = a.outer * tiles_along(a.rows) * tiles_along(a.cols) * a.inner;
      return pool_gather_tile<E, V><<<blocks_for(tiles, V, kThreads), kThreads, 0, stream>>>(a, scale, which, extra);
    }
  }
  pool_gather<E, V, W><<<cells, kThreads, 0, stream>>>(a, scale, which, extra);
}

std::int64_t bytes_of_counts(const PoolArgs& a) {
  return a.counts() && !in_registers(a) ? (a.cells() * 4 + 63) / 64 * 64 : 0;
}

}  // namespace

std::int64_t pool_scratch(const PoolArgs& a, bool back, bool want_state) {
  if (!back) return want_state ? 0 : bytes_of_counts(a);
  if (few_tiles(a)) return 0;
  return bytes_of_counts(a) + (a.T + want_state) * a.outputs() * (a.taps() > 256 ? 4 : 1);
}

void pool_fwd(const PoolForwardArgs& args, std::uintptr_t scratch, int device, std::uintptr_t stream) {
  const OnDevice guard(device);
  const auto run = [&](auto* element, auto width) {
    using E = std::remove_pointer_t<decltype(element)>;
    forward<E, width>(args, reinterpret_cast<float*>(scratch), reinterpret_cast<cudaStream_t>(stream));
  };
  with_types(args, run, args.state, args.out, args.last);
  check(cudaGetLastError());
}

void pool_bwd(const PoolBackwardArgs& args, std::uintptr_t scratch, int device, std::uintptr_t stream) {
  const OnDevice guard(device);
  const auto queue = reinterpret_cast<cudaStream_t>(stream);
  void* which = reinterpret_cast<void*>(scratch + bytes_of_counts(args));
  const auto run = [&](auto* element, auto width) {
    using E = std::remove_pointer_t<decltype(element)>;
    float* counts = reinterpret_cast<float*>(scratch);
    if (few_tiles(args)) {
      const unsigned blocks = blocks_for(args.outputs(), width, kThreads);
      pool_backward<E, width><<<blocks, kThreads, 0, queue>>>(args, Divisor(args.scale));
    } else if (args.taps() > 256) {
      backward<E, width>(args, static_cast<int*>(which), counts, queue);
    } else {
      backward<E, width>(args, static_cast<std::uint8_t*>(which), counts, queue);
    }
  };
  with_types(args, run, args.last, args.grad, args.grad_last, args.grad_x, args.grad_state);
  check(cudaGetLastError());
}

}  // namespace snn::gpu
