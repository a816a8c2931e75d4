// A thread's neurons: V neighbours of a row, moved by one 16-byte access (or one element where that is impossible).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace snn::gpu {

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(__half x) { return __half2float(x); }
__device__ __forceinline__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ void narrow(float x, float& to) { to = x; }
__device__ __forceinline__ void narrow(float x, __half& to) { to = __float2half_rn(x); }
__device__ __forceinline__ void narrow(float x, __nv_bfloat16& to) { to = __float2bfloat16_rn(x); }

template <class E, int V>
struct alignas(sizeof(E) * V) Vector {
  E at[V];
};

template <int V, class E>
__device__ __forceinline__ Vector<E, V> load(const E* from) {
  return *reinterpret_cast<const Vector<E, V>*>(from);
}

// Through the read-only path, where nothing in the kernel writes: such loads may overtake stores.
template <int V, class E>
__device__ __forceinline__ Vector<E, V> load_once(const E* from) {
  Vector<E, V> row;
  if constexpr (sizeof(row) == 16) {
    *reinterpret_cast<uint4*>(&row) = __ldg(reinterpret_cast<const uint4*>(from));
  } else {
    row.at[0] = __ldg(from);
  }
  return row;
}

template <int V, class E>
__device__ __forceinline__ void store(E* to, const float (&values)[V]) {
  Vector<E, V> out;
#pragma unroll
  for (int j = 0; j < V; ++j) narrow(values[j], out.at[j]);
  *reinterpret_cast<Vector<E, V>*>(to) = out;
}

// Rows of a tensor, one after the other, asked for kAhead steps before they are used: a streaming kernel lives by
// bytes in flight. A stride of 0 is one row that is read once.
template <class E, int V>
class Stream {
 public:
  __device__ __forceinline__ Stream(const E* first, std::int64_t stride, std::int64_t rows)
      : next_(first), stride_(stride), left_(stride ? rows : 1) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a) fetch(ahead_[a]);
  }

  __device__ __forceinline__ Vector<E, V> next() {
    const Vector<E, V> row = ahead_[0];
    if (stride_ == 0) return row;
#pragma unroll
    for (int a = 0; a + 1 < kAhead; ++a) ahead_[a] = ahead_[a + 1];
    fetch(ahead_[kAhead - 1]);
    return row;
  }

 private:
  static constexpr int kAhead = 3;

  __device__ __forceinline__ void fetch(Vector<E, V>& row) {
    if (left_ > 0) row = load_once<V>(next_);
    next_ += stride_;
    --left_;
  }

  const E* next_;
  std::int64_t stride_, left_;
  Vector<E, V> ahead_[kAhead];
};

// Potentials are float32 whatever the spikes are: eight of them take two accesses.
template <int V>
__device__ __forceinline__ void load_state(const float* from, float start, float (&v)[V]) {
  constexpr int W = V < 4 ? V : 4;
#pragma unroll
  for (int j = 0; j < V; j += W) {
    Vector<float, W> part;
    if (from) part = load<W>(from + j);
#pragma unroll
    for (int k = 0; k < W; ++k) v[j + k] = from ? part.at[k] : start;
  }
}

template <int V>
__device__ __forceinline__ void store_state(float* to, const float (&v)[V]) {
  constexpr int W = V < 4 ? V : 4;
#pragma unroll
  for (int j = 0; j < V; j += W) {
    float part[W];
#pragma unroll
    for (int k = 0; k < W; ++k) part[k] = v[j + k];
    store<W>(to + j, part);
  }
}

}  // namespace snn::gpu
