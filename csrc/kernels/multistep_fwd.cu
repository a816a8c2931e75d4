// Forward on CUDA: one thread runs all steps of one vector of neurons, potentials stay in registers.
#include "kernels/detail/launch.cuh"
#include "kernels/gpu.h"

namespace snn::gpu {
namespace {

template <class E, int V, class S>
__global__ void __launch_bounds__(kThreads) forward(const ForwardArgs args, const S step) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * V;
  if (i >= args.n) return;
  float v[V];
  load_state(args.v0 ? args.v0 + i : nullptr, step.reset.start(), v);
  Stream<E, V> x(static_cast<const E*>(args.x) + i, args.constant ? 0 : args.n, args.T);
  E* s = static_cast<E*>(args.s) + i;
  std::int64_t until_checkpoint = args.interval;
  float* checkpoint = args.checkpoints ? args.checkpoints + i : nullptr;
#pragma unroll 1
  for (std::int64_t t = 0; t < args.T; ++t, s += args.n) {
    const Vector<E, V> row = x.next();
    float out[V];
#pragma unroll
    for (int j = 0; j < V; ++j) out[j] = step.forward(widen(row.at[j]), v[j]);
    store(s, out);
    if (checkpoint && --until_checkpoint == 0 && t + 1 < args.T) {
      store_state(checkpoint, v);
      checkpoint += args.n;
      until_checkpoint = args.interval;
    }
  }
  if (args.v_last) store_state(args.v_last + i, v);
}

}  // namespace

void multistep_fwd(const ForwardArgs& args, int device, void* stream) {
  if (args.n == 0) return;
  const OnDevice guard(device);
  const bool whole = args.n % (16 / bytes_of(args.dtype)) == 0;
  const bool vectors = whole && all_aligned(args.x, args.s, args.v0, args.v_last, args.checkpoints);
  visit_charge(args.spec, [&](auto charge) {
    with_elements(args.dtype, vectors, [&](auto* element, auto width) {
      using E = std::remove_pointer_t<decltype(element)>;
      const GpuStep<decltype(charge)> step = {charge, AnyFire(args.spec), AnyReset(args.spec)};
      forward<E, width><<<blocks_for(args.n, width), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(args, step);
    });
  });
  check(cudaGetLastError());
}

}  // namespace snn::gpu
