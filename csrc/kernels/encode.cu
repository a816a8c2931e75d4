// The Poisson encoder on CUDA: a thread draws four steps at a time of one vector of elements.
#include <algorithm>

#include "kernels/detail/launch.cuh"
#include "kernels/encode.h"
#include "kernels/gpu.h"
#include "math/philox.h"

namespace snn::gpu {
namespace {

template <class E, int V>
__global__ void __launch_bounds__(kThreads) poisson_kernel(const PoissonArgs args) {
  const std::int64_t i = first_neuron<V>();
  if (i >= args.n) return;
  const bool bfloat = args.dtype == Dtype::bf16;
  float x[V];
  widen(load<V>(static_cast<const E*>(args.x) + i), bfloat, x);
  std::uint64_t element[V];
#pragma unroll
  for (int j = 0; j < V; ++j) element[j] = args.element(i + j);
#pragma unroll 1
  for (std::int64_t t = std::int64_t{blockIdx.y} * 4; t < args.T; t += std::int64_t{gridDim.y} * 4) {
    float s[4][V];
#pragma unroll
    for (int j = 0; j < V; ++j) {
      std::uint64_t words[4] = {element[j], element[j] >> 32, static_cast<std::uint64_t>(t / 4), 0};
      philox<OneLane>(words, args.seed);
#pragma unroll
      for (int k = 0; k < 4; ++k) s[k][j] = bernoulli(static_cast<std::uint32_t>(words[k]), x[j]);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k)
      if (t + k < args.T) store(static_cast<E*>(args.s) + (t + k) * args.n + i, s[k], bfloat);
  }
}

}  // namespace

void poisson(const PoissonArgs& args, int device, std::uintptr_t stream) {
  if (args.n == 0) return;
  const OnDevice guard(device);
  const bool vectors = args.n % (16 / bytes_of(args.dtype)) == 0 && all_aligned(args.x, args.s);
  const auto run = [&](auto* element, auto width) {
    using E = std::remove_pointer_t<decltype(element)>;
    const unsigned across = blocks_for(args.n, width, kThreads);
    // Steps are independent: few elements share them out among blocks, up to 1024 in all.
    const std::int64_t most = std::max(1u, 1024 / across);
    const dim3 grid(across, static_cast<unsigned>(std::min((args.T + 3) / 4, most)));
    poisson_kernel<E, width><<<grid, kThreads, 0, reinterpret_cast<cudaStream_t>(stream)>>>(args);
  };
  args.dtype == Dtype::f32 ? with_width<float>(vectors, run) : with_width<Half>(vectors, run);
  check(cudaGetLastError());
}

}  // namespace snn::gpu
