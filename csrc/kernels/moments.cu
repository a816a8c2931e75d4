// Mean and sum of squared deviations of each neuron over its steps, on CUDA. Python adds up the neurons of a channel.
#include "kernels/detail/launch.cuh"
#include "kernels/gpu.h"

namespace snn::gpu {
namespace {

// Welford's recurrence, of differences from the first step: a mean far larger than the deviations takes no digits from
// them.
template <class E, int V>
__global__ void __launch_bounds__(kThreads) moments(const MomentsArgs args) {
  const std::int64_t i = first_neuron<V>();
  if (i >= args.n) return;
  const bool bfloat = args.dtype == Dtype::bf16;
  Stream<E, V> x(static_cast<const E*>(args.x) + i, args.n, args.T);
  float first[V], mean[V] = {}, deviation[V] = {};
  widen(x.next(), bfloat, first);
#pragma unroll 1
  for (std::int64_t t = 1; t < args.T; ++t) {
    float now[V];
    widen(x.next(), bfloat, now);
    const float share = 1.f / static_cast<float>(t + 1);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float above = now[j] - first[j], change = above - mean[j];
      mean[j] += change * share;
      deviation[j] += change * (above - mean[j]);
    }
  }
#pragma unroll
  for (int j = 0; j < V; ++j) mean[j] += first[j];
  float* out = static_cast<float*>(args.out) + i;
  store_state(out, mean);
  store_state(out + args.n, deviation);
}

}  // namespace

void moments(const MomentsArgs& args, int device, std::uintptr_t stream) {
  if (args.n == 0) return;
  const OnDevice guard(device);
  const auto run = [&](auto* element, auto width) {
    using E = std::remove_pointer_t<decltype(element)>;
    const auto queue = reinterpret_cast<cudaStream_t>(stream);
    moments<E, width><<<blocks_for(args.n, width, kThreads), kThreads, 0, queue>>>(args);
  };
  const bool vectors = args.n % (16 / bytes_of(args.dtype)) == 0 && all_aligned(args.x, args.out);
  args.dtype == Dtype::f32 ? with_width<float>(vectors, run) : with_width<Half>(vectors, run);
  check(cudaGetLastError());
}

}  // namespace snn::gpu
