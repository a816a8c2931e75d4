// The Poisson encoder on CUDA: a thread draws four steps at a time of one vector of elements.
#include <algorithm>

#include "kernels/detail/launch.cuh"
#include "kernels/encode.h"
#include "kernels/gpu.h"
#include "math/philox.h"

namespace snn::gpu {
namespace {

// The bits of 1 in float32, float16 and bfloat16.
__device__ __forceinline__ std::uint32_t bits_of_one(Dtype dtype) {
  return dtype == Dtype::f32 ? 0x3f800000u : dtype == Dtype::f16 ? 0x3c00u : 0x3f80u;
}

// Spikes are 1 or 0: bits do. An ordinary store of a vector is taken apart behind so long a computation.
template <class E, int V>
__device__ __forceinline__ void put(E* to, const float (&spikes)[V], std::uint32_t one) {
  constexpr int kEach = V == 1 ? 1 : 4 / sizeof(E), kCount = V / kEach;
  std::uint32_t words[kCount];
#pragma unroll
  for (int q = 0; q < kCount; ++q) {
    words[q] = spikes[q * kEach] != 0.f ? one : 0u;
    if (kEach == 2) words[q] |= spikes[q * kEach + kEach - 1] != 0.f ? one << 16 : 0u;
  }
  if constexpr (V == 1)
    *reinterpret_cast<std::conditional_t<sizeof(E) == 4, std::uint32_t, std::uint16_t>*>(to) = words[0];
  else
    __stwb(reinterpret_cast<uint4*>(to), make_uint4(words[0], words[1], words[2], words[3]));
}

template <class E, int V>
__global__ void __launch_bounds__(kThreads) poisson_kernel(const PoissonArgs args) {
  const std::int64_t i = first_neuron<V>();
  if (i >= args.n) return;
  const std::uint32_t one = bits_of_one(args.dtype);
  float x[V];
  Vector<E, V> row;  // as one piece: a struct is taken apart before it is loaded
  *reinterpret_cast<Whole<E, V>*>(&row) =
      __ldg(reinterpret_cast<const Whole<E, V>*>(static_cast<const E*>(args.x) + i));
  widen(row, args.dtype == Dtype::bf16, x);
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
      if (t + k < args.T) put(static_cast<E*>(args.s) + (t + k) * args.n + i, s[k], one);
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
