// Backward on CUDA: chunk by chunk from the end, each recomputed from the states before it.
//
// The potentials h of a chunk lie in shared memory: registers would need the loop over the chunk unrolled, and with
// it every surrogate once for each step.
#pragma once

#include "kernels/detail/gradient.cuh"
#include "kernels/detail/launch.cuh"
#include "kernels/detail/sums.cuh"

namespace snn::gpu {
namespace {

// Steps t, t + 1, ... from `now` on; what backward needs of them goes into the columns.
template <class E, int V, bool R, class C>
__device__ __forceinline__ void recompute(const Cell<C>& cell, Numbers<V, R>& numbers, const Rows& rows,
                                          const float* line, Stream<E, V, int> x, bool bfloat, std::int64_t t,
                                          int count, States<V>& now) {
  const Column<V> column;
  float slope[V], start[V];
  if constexpr (R) {
    if (rows.has_line) numbers.line(line, slope, start);
  }
  if (rows.has_start) column.put(rows.fired - 1, now.v);
#pragma unroll 1
  for (int k = 0; k < count; ++k) {
    float in[V], h[V], used[V], s[V];
    widen(x.next(), bfloat, in);
    numbers.advance(t + k);
    if constexpr (R) {
      if (rows.has_line) {
        float added[V] = {};
        add_line(slope, start, in, added);
        column.put(rows.line + k, added);
      }
    }
    if (cell.fire.remembers) column.put(rows.m + k, now.m);
    step(cell, numbers, in, now, h, used, s);
    if constexpr (R && C::learns) {
      if (rows.has_used) {
        column.put(rows.used + k, used);
        column.put(rows.fired + k, now.v);
        continue;
      }
    }
    column.put(rows.fired + k, h);
  }
}

// Of neurons first, first + 1, ...: the potentials that fired in step k of a chunk, and m before it.
template <int V, int W, bool R, class C>
__device__ __forceinline__ void load_fired(const Cell<C>& cell, const Numbers<V, R>& numbers, const Rows& rows, int k,
                                           int first, float (&h)[W], float (&m)[W]) {
  const Column<V> column;
  if (cell.fire.remembers) column.get(rows.m + k, m, first);
  if constexpr (R && C::learns) {
    if (rows.has_used && !cell.reset.delayed) {  // the v of a delayed reset is its h
      float v[W], used[W];
      column.get(rows.fired + k - 1, v, first);
      column.get(rows.used + k, used, first);
#pragma unroll
      for (int j = 0; j < W; ++j) h[j] = numbers.charging(cell.charging, first + j).forward(v[j], used[j]);
      return;
    }
  }
  column.get(rows.fired + k, h, first);
}

// The surrogate's slopes at h, added up over the levels of each side.
template <int V, int W, bool R, class C>
__device__ __forceinline__ void slopes_at(const Cell<C>& cell, const Numbers<V, R>& numbers, int first,
                                          const float (&h)[W], const float (&m)[W], Slopes (&p)[W]) {
#pragma unroll 1
  for (int side = 0; side < (cell.fire.negative.count ? 2 : 1); ++side) {
    const Levels& levels = side ? cell.fire.negative : cell.fire.positive;
    const bool gated = side && cell.fire.gates;
    float slope[W] = {}, by_level[W] = {}, by_alpha[W] = {};
#pragma unroll 1
    for (int k = 0; k < levels.count; ++k) {
      const float sign = side ? -1.f : 1.f, level = levels.level(k), number = static_cast<float>(k);
      cell.surrogate.visit([&](const auto& surrogate) {
#pragma unroll
        for (int j = 0; j < W; ++j) {
          const auto own = numbers.surrogate(surrogate, first + j);
          const float z = sign * h[j] - level * cell.fire.bar(numbers.theta(cell.fire.theta, first + j), m[j]);
          const bool closed = gated && !(m[j] > number);
          const float found = closed ? 0.f : own.grad(z);
          slope[j] += found;
          by_level[j] += level * found;
          by_alpha[j] += closed ? 0.f : own.by_alpha(z);
        }
      });
    }
#pragma unroll
    for (int j = 0; j < W; ++j) {
      (side ? p[j].down : p[j].up) = slope[j];
      (side ? p[j].down_level : p[j].up_level) = by_level[j];
      (side ? p[j].down_alpha : p[j].up_alpha) = by_alpha[j];
    }
  }
}

// row: dL/d(emitted) of step k. gh: dL/dh; g.v stays for the charge. A delayed reset has no m: g.m is dL/dh of the
// step after this one.
template <class E, int V, bool R, class C>
__device__ __forceinline__ void fire_back(const Cell<C>& cell, const Numbers<V, R>& numbers, const Rows& rows, int k,
                                          const Vector<E, V>& row, bool bfloat, States<V>& g, float (&gh)[V],
                                          Sums<V>& sums) {
  // Eight neurons at once that have more than a potential are more than the registers hold.
  constexpr int W = V > 4 && (R || C::filters) ? 4 : V;
#pragma unroll
  for (int first = 0; first < V; first += W) {
    float grad[W] = {}, h[W], m[W] = {};
    Slopes p[W];
    load_fired(cell, numbers, rows, k, first, h, m);
    slopes_at(cell, numbers, first, h, m, p);
    if (k >= 0) widen(row, bfloat, grad, first);
    cell.fire.visit([&](const auto& fire) {
#pragma unroll
      for (int j = 0; j < W; ++j) {
        const int q = first + j;
        const auto own = numbers.fire(fire, q);
        const Firing<std::decay_t<decltype(own)>, AnyReset> firing = {own, cell.reset};
        Adjoint at = {g.v[q], g.m[q], g.m[q]};
        gh[q] = firing.backward(grad[j], p[j], h[j], m[j], at, sums.fire[q]);
        g.m[q] = cell.reset.delayed ? at.h : at.m;
      }
    });
  }
}

// gx: dL/dx of step k of a chunk.
template <int V, bool R, class C>
__device__ __forceinline__ void charge_back(const Cell<C>& cell, const Numbers<V, R>& numbers, const Rows& rows, int k,
                                            const float (&gh)[V], States<V>& g, float (&gx)[V], Sums<V>& sums) {
  float v[V] = {}, used[V] = {};
  if constexpr (R && C::learns) {
    if (rows.has_used) {
      Column<V>().get(rows.fired + k - 1, v);
      Column<V>().get(rows.used + k, used);
    }
  }
#pragma unroll
  for (int j = 0; j < V; ++j) {
    const auto own = numbers.charging(cell.charging, j);
    gx[j] = own.backward(gh[j], v[j], used[j], g.v[j], g.i[j], sums.charge[j]);
  }
}

// Eight neurons of a thread are more than 128 registers hold on sm_75 and sm_80.
template <int V, bool R>
constexpr int kBlocks = V > 4 && !R ? 3 : kBackwardBlocks<R>;

template <class E, int V, bool R, class C>
__global__ void __launch_bounds__(kThreads, kBlocks<V, R>)
    backward(const BackwardArgs args, const Cell<C> cell, const Table table, const Rows rows) {
  const std::int64_t i = first_neuron<V>();
  if (i >= args.n) return;
  const bool bfloat = args.dtype == Dtype::bf16;
  Numbers<V, R> numbers(table, i);
  States<V> g;
  g.load(cell, args.grad_last ? args.grad_last + i : nullptr, args.n, 0.f);
  if (args.constant) Column<V>().clear(rows.total);
  Sums<V> sums;
  sums.clear();
  for (std::int64_t begin = (args.T - 1) / args.interval * args.interval; begin >= 0; begin -= args.interval) {
    const int count = static_cast<int>(args.T - begin < args.interval ? args.T - begin : args.interval);
    const float* kept = args.checkpoints + (begin / args.interval - 1) * states_of(cell) * args.n;
    const float* before = begin ? kept : args.states;
    States<V> now;
    now.load(cell, before ? before + i : nullptr, args.n, cell.reset.start());
    const E* x = static_cast<const E*>(args.x) + i + (args.constant ? 0 : begin * args.n);
    Stream<E, V, int> xs(x, args.constant ? 0 : args.n, count);
    recompute(cell, numbers, rows, args.line, xs, bfloat, begin, count, now);
    std::int64_t here = (begin + count - 1) * args.n + i;
    Stream<E, V, int> grad_s(static_cast<const E*>(args.grad_s) + here, -args.n, count);
    // A delayed reset of the first step depends on the potential before it: a step -1 that only fires.
    const int first = begin == 0 && cell.reset.delayed ? -1 : 0;
#pragma unroll 1
    for (int k = count - 1; k >= first; --k, here -= args.n) {
      const std::int64_t t = begin + (k < 0 ? 0 : k);
      const Vector<E, V> row = grad_s.next();
      float gh[V], gx[V];
      if (args.grad_v && k >= 0) add_state(args.grad_v + here, g.v);
      numbers.advance(t);
      fire_back(cell, numbers, rows, k, row, bfloat, g, gh, sums);
      if (k >= 0) {
        charge_back(cell, numbers, rows, k, gh, g, gx, sums);
        if (args.grad_x) put_grad_x<E, V, R>(args, rows, k, here, bfloat, gx);
      } else {
#pragma unroll
        for (int j = 0; j < V; ++j) g.v[j] = gh[j];
      }
      if constexpr (R) {
        if (args.sums && table.stride && (k > 0 || k == first)) {
          sums.template store<C>(args, args.sums + i, t);
          sums.clear();
        }
      }
    }
  }
  if (args.constant && args.grad_x) put_total<E>(args, numbers, rows, i, bfloat);
  if (args.grad_states) g.store(cell, args.grad_states + i, args.n);
  if constexpr (R) {
    if (args.sums && !table.stride) sums.template store<C>(args, args.sums + i, 0);
  }
}

template <bool R>
void run_backward(const BackwardArgs& args, cudaStream_t stream) {
  const bool vectors = can_be_vectors(args, args.grad_s, args.grad_last, args.grad_v, args.grad_sum, args.grad_x,
                                      args.grad_states, args.sums);
  with_kernel(args, vectors, [&](auto* element, auto width, const auto& cell) {
    using E = std::remove_pointer_t<decltype(element)>;
    const Rows rows(args);
    const int threads = rows.threads(width, kThreads);
    const std::size_t shared = sizeof(float) * rows.count * width * threads;
    backward<E, width, R><<<blocks_for(args.n, width, threads), threads, shared, stream>>>(
        args, cell, Table(args, width, args.line), rows);
  });
}

}  // namespace
}  // namespace snn::gpu
