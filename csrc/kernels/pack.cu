// Packed spikes on CUDA: one thread takes eight neighbours, which are one byte of bits or eight of counts. Values stay
// whole numbers, W, as they stand in memory.
#include "kernels/detail/launch.cuh"
#include "kernels/gpu.h"

namespace snn::gpu {
namespace {

constexpr int kEight = 8;
using Byte = std::uint8_t;

// Eight neighbours, of which `left` exist, by accesses of 16 bytes at most (Wide) or one by one.
template <bool Wide, class W>
__device__ __forceinline__ void load_eight(const W* from, std::int64_t left, W (&to)[kEight]) {
  constexpr int V = sizeof(W) == 4 ? 4 : kEight;
  if (Wide && left >= kEight) {
#pragma unroll
    for (int j = 0; j < kEight; j += V) *reinterpret_cast<Vector<W, V>*>(to + j) = load<V>(from + j);
  } else {
#pragma unroll
    for (int j = 0; j < kEight; ++j) to[j] = j < left ? from[j] : W{0};
  }
}

template <bool Wide, class W>
__device__ __forceinline__ void store_eight(W* to, std::int64_t left, const W (&values)[kEight]) {
  constexpr int V = sizeof(W) == 4 ? 4 : kEight;
  if (Wide && left >= kEight) {
#pragma unroll
    for (int j = 0; j < kEight; j += V)
      *reinterpret_cast<Vector<W, V>*>(to + j) = *reinterpret_cast<const Vector<W, V>*>(values + j);
  } else {
#pragma unroll
    for (int j = 0; j < kEight; ++j)
      if (j < left) to[j] = values[j];
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

__device__ __forceinline__ std::int64_t first_value() {
  return (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kEight;
}

template <class W, bool Wide, bool Counts>
__global__ void __launch_bounds__(kThreads) pack_spikes(const PackArgs args) {
  const std::int64_t i = first_value(), left = args.n - i;
  if (left <= 0) return;
  alignas(16) W x[kEight];
  load_eight<Wide>(static_cast<const W*>(args.x) + i, left, x);
  Byte* packed = static_cast<Byte*>(args.packed);
  bool valid = true;
  if constexpr (Counts) {
    const bool bfloat = args.dtype == Dtype::bf16;
    alignas(8) Byte counts[kEight];
#pragma unroll
    for (int j = 0; j < kEight; ++j) {
      const float count = rintf(fminf(fmaxf(number(x[j], bfloat) * args.inverse, args.low), args.high));
      counts[j] = static_cast<Byte>(static_cast<int>(count));
      valid &= stored<W>((count + 0.f) * args.scale, bfloat) == x[j];
    }
    store_eight<Wide>(packed + i, left, counts);
  } else {
    const W one = static_cast<W>(args.one);
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < kEight; ++j) {
      bits |= static_cast<unsigned>(x[j] == one) << j;
      valid &= x[j] == one || x[j] == 0;
    }
    packed[i / kEight] = static_cast<Byte>(bits);
  }
  if (args.invalid && !valid) atomicExch(args.invalid, 1);
}

template <class W, bool Wide, bool Counts>
__global__ void __launch_bounds__(kThreads) unpack_spikes(const PackArgs args) {
  const std::int64_t i = first_value(), left = args.n - i;
  if (left <= 0) return;
  const Byte* packed = static_cast<const Byte*>(args.packed);
  alignas(16) W x[kEight];
  if constexpr (Counts) {
    alignas(8) Byte counts[kEight];
    load_eight<Wide>(packed + i, left, counts);
#pragma unroll
    for (int j = 0; j < kEight; ++j) {
      const int count = args.low < 0.f ? static_cast<std::int8_t>(counts[j]) : counts[j];
      x[j] = stored<W>(static_cast<float>(count) * args.scale, args.dtype == Dtype::bf16);
    }
  } else {
    const unsigned bits = packed[i / kEight];
#pragma unroll
    for (int j = 0; j < kEight; ++j) x[j] = bits >> j & 1 ? static_cast<W>(args.one) : W{0};
  }
  store_eight<Wide>(static_cast<W*>(args.x) + i, left, x);
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
  with_types(args,
             [&](auto word, auto wide, auto counts) { run(word, wide, counts, blocks_for(args.n, kEight, kThreads)); });
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
