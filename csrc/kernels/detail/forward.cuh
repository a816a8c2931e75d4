// Forward on CUDA: one thread runs all steps of one vector of neurons, states stay in registers.
#pragma once

#include "kernels/detail/launch.cuh"

namespace snn::gpu {
namespace {

template <class E, int V, bool Rows, class C>
__global__ void __launch_bounds__(kThreads, kForwardBlocks<Rows, V>)
    forward(const ForwardArgs args, const Cell<C> cell, const Table table) {
  const std::int64_t i = first_neuron<V>();
  if (i >= args.n) return;
  const bool bfloat = args.dtype == Dtype::bf16;
  Numbers<V, Rows> numbers(table, i);
  States<V> now;
  now.load(cell, args.states ? args.states + i : nullptr, args.n, cell.reset.start());
  Stream<E, V> x(static_cast<const E*>(args.x) + i, args.constant ? 0 : args.n, args.T);
  Stream<E, V, std::int64_t, 2> residual(static_cast<const E*>(args.residual) + i, args.n, args.residual ? args.T : 0);
  float* checkpoint = args.checkpoints ? args.checkpoints + i : nullptr;
  int until_checkpoint = static_cast<int>(args.interval);
  std::int64_t here = i;
#pragma unroll 1
  for (std::int64_t t = 0; t < args.T; ++t, here += args.n) {
    float in[V], h[V], used[V], out[V];
    Vector<E, V> row = x.next(), second = {};
    if (args.residual) second = residual.next();
    if (args.connect == Connect::ms) row = total<E, V>(row, second, bfloat);
    if (args.sum) store(static_cast<E*>(args.sum) + here, row);
    widen(row, bfloat, in);
    numbers.advance(t);
    step(cell, numbers, in, now, h, used, out);
    if (args.connect == Connect::sew) add_row(second, bfloat, out);
    store(static_cast<E*>(args.s) + here, out, bfloat);
    if (args.v) store_state(args.v + here, now.v);
    if (checkpoint && --until_checkpoint == 0 && t + 1 < args.T) {
      now.store(cell, checkpoint, args.n);
      checkpoint += states_of(cell) * args.n;
      until_checkpoint = static_cast<int>(args.interval);
    }
  }
  if (args.last) now.store(cell, args.last + i, args.n);
}

template <bool Rows>
void run_forward(const ForwardArgs& args, cudaStream_t stream) {
  const bool vectors = can_be_vectors(args, args.s, args.last, args.v, args.residual, args.sum);
  with_kernel(args, vectors, [&](auto* element, auto width, const auto& cell) {
    using E = std::remove_pointer_t<decltype(element)>;
    const Table table(args, width);
    forward<E, width, Rows><<<blocks_for(args.n, width, kThreads), kThreads, 0, stream>>>(args, cell, table);
  });
}

}  // namespace
}  // namespace snn::gpu
