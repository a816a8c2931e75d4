// Packed spikes on CUDA: one thread takes 16 bytes of x, four or eight neighbours; two threads of four share a byte of
// bits. Values stay whole numbers, W, as they stand in memory.
#include "kernels/detail/launch.cuh"
#include "kernels/gpu.h"

namespace snn::gpu {
namespace {

using Byte = std::uint8_t;
template <class W>
constexpr int kNeighbours = 16 / sizeof(W);

// V neighbours, of which `left` exist, by one access (Wide) or one by one.
template <bool Wide, class W, int V>
__device__ __forceinline__ Vector<W, V> read(const W* from, std::int64_t left) {
  if (Wide && left >= V) return load<V>(from);
  Vector<W, V> values = {};
#pragma unroll
  for (int j = 0; j < V; ++j)
    if (j < left) values.at[j] = from[j];
  return values;
}

template <bool Wide, class W, int V>
__device__ __forceinline__ void write(W* to, std::int64_t left, const Vector<W, V>& values) {
  if (Wide && left >= V) {
    *reinterpret_cast<Vector<W, V>*>(to) = values;
  } else {
#pragma unroll
    for (int j = 0; j < V; ++j)
      if (j < left) to[j] = values.at[j];
  }
}

template <class W>
__device__ __forceinline__ float number(W bits, bool bfloat) {
  if constexpr (sizeof(W) == 4) return __uint_as_float(bits);
  return bfloat ? __uint_as_float(std::uint32_t{bits} << 16) : __half2float(__ushort_as_half(bits));
}

template <class W>
__device__ __forceinline__ W stored(float value, bool bfloat) {
  if constexpr (sizeof(W) == 4) return __float_as_uint(value);
  return bfloat ? __bfloat16_as_ushort(__float2bfloat16_rn(value)) : __half_as_ushort(__float2half_rn(value));
}

template <class W, bool Wide, bool Counts>
__global__ void __launch_bounds__(kThreads) pack_spikes(const PackArgs args) {
  constexpr int V = kNeighbours<W>;
  const std::int64_t i = first_neuron<V>(), left = args.n - i;
  const Vector<W, V> x = read<Wide, W, V>(static_cast<const W*>(args.x) + i, left);
  Byte* packed = static_cast<Byte*>(args.packed);
  bool valid = true;
  if constexpr (Counts) {
    const bool bfloat = args.dtype == Dtype::bf16;
    Vector<Byte, V> counts;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float count = rintf(fminf(fmaxf(number(x.at[j], bfloat) * args.inverse, args.low), args.high));
      counts.at[j] = static_cast<Byte>(static_cast<int>(count));
      valid &= stored<W>((count + 0.f) * args.scale, bfloat) == x.at[j];  // + 0: not -0
    }
    write<Wide>(packed + i, left, counts);
  } else {
    const W one = static_cast<W>(args.one);
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      bits |= static_cast<unsigned>(x.at[j] == one) << j;
      valid &= x.at[j] == one || x.at[j] == 0;
    }
    if constexpr (V == 4) bits |= __shfl_down_sync(~0u, bits, 1) << 4;  // so no thread may have left
    if (left > 0 && i % 8 == 0) packed[i / 8] = static_cast<Byte>(bits);
  }
  if (args.invalid && !valid) atomicExch(args.invalid, 1);
}

template <class W, bool Wide, bool Counts>
__global__ void __launch_bounds__(kThreads) unpack_spikes(const PackArgs args) {
  constexpr int V = kNeighbours<W>;
  const std::int64_t i = first_neuron<V>(), left = args.n - i;
  if (left <= 0) return;
  const Byte* packed = static_cast<const Byte*>(args.packed);
  Vector<W, V> x;
  if constexpr (Counts) {
    const Vector<Byte, V> counts = read<Wide, Byte, V>(packed + i, left);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const int count = args.low < 0.f ? static_cast<std::int8_t>(counts.at[j]) : counts.at[j];
      x.at[j] = stored<W>(static_cast<float>(count) * args.scale, args.dtype == Dtype::bf16);
    }
  } else {
    const unsigned bits = packed[i / 8] >> i % 8;
#pragma unroll
    for (int j = 0; j < V; ++j) x.at[j] = bits >> j & 1 ? static_cast<W>(args.one) : W{0};
  }
  write<Wide>(static_cast<W*>(args.x) + i, left, x);
}

// f(W, wide, counts) with the types of a kernel.
template <class F>
void with_types(const PackArgs& args, const F& f) {
  const bool wide = all_aligned(args.x, args.packed), counts = args.kind != PackKind::bits;
  const auto choose = [&](auto word, auto is_wide) {
    counts ? f(word, is_wide, std::true_type{}) : f(word, is_wide, std::false_type{});
  };
  const auto width = [&](auto word) { wide ? choose(word, std::true_type{}) : choose(word, std::false_type{}); };
  args.dtype == Dtype::f32 ? width(std::uint32_t{}) : width(std::uint16_t{});
}

template <class F>
void launch(const PackArgs& args, int device, const F& run) {
  if (args.n == 0) return;
  const OnDevice guard(device);
  with_types(args, [&](auto word, auto wide, auto counts) {
    run(word, wide, counts, blocks_for(args.n, kNeighbours<decltype(word)>, kThreads));
  });
  check(cudaGetLastError());
}

}  // namespace

void pack(const PackArgs& args, int device, std::uintptr_t stream) {
  launch(args, device, [&](auto word, auto wide, auto counts, unsigned blocks) {
    pack_spikes<decltype(word), wide(), counts()>
        <<<blocks, kThreads, 0, reinterpret_cast<cudaStream_t>(stream)>>>(args);
  });
}

void unpack(const PackArgs& args, int device, std::uintptr_t stream) {
  launch(args, device, [&](auto word, auto wide, auto counts, unsigned blocks) {
    unpack_spikes<decltype(word), wide(), counts()>
        <<<blocks, kThreads, 0, reinterpret_cast<cudaStream_t>(stream)>>>(args);
  });
}

}  // namespace snn::gpu
