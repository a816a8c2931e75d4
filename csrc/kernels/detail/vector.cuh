// A thread's neurons: V neighbours of a row, moved by one 16-byte access (or one element where that is impossible).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace snn::gpu {

// float16 or bfloat16: which of them is uniform, and one branch for a vector; as types they would double the kernels.
struct Half {
  std::uint16_t bits;
};

template <class E, int V>
struct alignas(sizeof(E) * V) Vector {
  E at[V];
};

template <int V, class E>
__device__ __forceinline__ Vector<E, V> load(const E* from) {
  return *reinterpret_cast<const Vector<E, V>*>(from);
}

// A vector as one piece. Halves that wait in registers would be shifted about one by one.
template <class E, int V>
using Whole = std::conditional_t<sizeof(E) * V == 16, std::conditional_t<sizeof(E) == 4, float4, uint4>,
                                 std::conditional_t<sizeof(E) == 4, float, unsigned short>>;

// Neurons first, first + 1, ... of a row. bfloat: what kind of Half.
template <int W, int V>
__device__ __forceinline__ void widen(const Vector<float, V>& row, bool, float (&to)[W], int first = 0) {
#pragma unroll
  for (int j = 0; j < W; ++j) to[j] = row.at[first + j];
}
template <int W, int V>
__device__ __forceinline__ void widen(const Vector<Half, V>& row, bool bfloat, float (&to)[W], int first = 0) {
  if (bfloat) {
#pragma unroll
    for (int j = 0; j < W; ++j) to[j] = __uint_as_float(std::uint32_t{row.at[first + j].bits} << 16);
  } else {
#pragma unroll
    for (int j = 0; j < W; ++j) to[j] = __half2float(__ushort_as_half(row.at[first + j].bits));
  }
}

// Neurons of a row as they are stored: rounded to E.
template <class E, int V>
__device__ __forceinline__ Vector<E, V> narrow(const float (&values)[V], bool bfloat) {
  Vector<E, V> out;
  if constexpr (std::is_same_v<E, float>) {
#pragma unroll
    for (int j = 0; j < V; ++j) out.at[j] = values[j];
  } else if (bfloat) {
#pragma unroll
    for (int j = 0; j < V; ++j) out.at[j].bits = __bfloat16_as_ushort(__float2bfloat16_rn(values[j]));
  } else {
#pragma unroll
    for (int j = 0; j < V; ++j) out.at[j].bits = __half_as_ushort(__float2half_rn(values[j]));
  }
  return out;
}

template <class E, int V>
__device__ __forceinline__ void store(E* to, const Vector<E, V>& row) {
  *reinterpret_cast<Vector<E, V>*>(to) = row;
}
template <class E, int V>
__device__ __forceinline__ void store(E* to, const float (&values)[V], bool bfloat = false) {
  store(to, narrow<E>(values, bfloat));
}

template <class E, int V>
__device__ __forceinline__ void add_row(const Vector<E, V>& row, bool bfloat, float (&to)[V]) {
  float more[V];
  widen(row, bfloat, more);
#pragma unroll
  for (int j = 0; j < V; ++j) to[j] += more[j];
}

// Of two rows, rounded as a tensor of theirs would be.
template <class E, int V>
__device__ __forceinline__ Vector<E, V> total(const Vector<E, V>& row, const Vector<E, V>& other, bool bfloat) {
  float sum[V];
  widen(row, bfloat, sum);
  add_row(other, bfloat, sum);
  return narrow<E>(sum, bfloat);
}

// Rows of a tensor, one after the other, asked for kAhead steps before they are used: a streaming kernel lives by
// bytes in flight. A stride of 0 is one row that is read once.
template <class E, int V, class Count = std::int64_t, int kAhead = 3>
class Stream {
 public:
  __device__ __forceinline__ Stream(const E* first, std::int64_t stride, Count rows)
      : next_(first), stride_(stride), left_(stride ? rows : 1) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a) fetch(ahead_[a]);
  }

  __device__ __forceinline__ Vector<E, V> next() {
    Vector<E, V> row;
    *reinterpret_cast<Whole<E, V>*>(&row) = ahead_[0];
    if (stride_ == 0) return row;
#pragma unroll
    for (int a = 0; a + 1 < kAhead; ++a) ahead_[a] = ahead_[a + 1];
    fetch(ahead_[kAhead - 1]);
    return row;
  }

 private:
  // Through the read-only path, where nothing in the kernel writes: such loads may overtake stores.
  __device__ __forceinline__ void fetch(Whole<E, V>& row) {
    if (left_ > 0) row = __ldg(reinterpret_cast<const Whole<E, V>*>(next_));
    next_ += stride_;
    --left_;
  }

  const E* next_;
  std::int64_t stride_;
  Count left_;
  Whole<E, V> ahead_[kAhead] = {};  // a value that no load sets would be kept from the loop's last round
};

// Potentials are float32 whatever the spikes are: eight of them take two accesses.
template <int V>
__device__ __forceinline__ void load_state(const float* from, float start, float (&v)[V]) {
  constexpr int W = V < 4 ? V : 4;
#pragma unroll
  for (int j = 0; j < V; j += W) {
#pragma unroll
    for (int k = 0; k < W; ++k) v[j + k] = start;
    if (!from) continue;
    const Vector<float, W> part = load<W>(from + j);
#pragma unroll
    for (int k = 0; k < W; ++k) v[j + k] = part.at[k];
  }
}

template <int V>
__device__ __forceinline__ void add_state(const float* from, float (&v)[V]) {
  float more[V];
  load_state(from, 0.f, more);
#pragma unroll
  for (int j = 0; j < V; ++j) v[j] += more[j];
}

template <int V>
__device__ __forceinline__ void store_state(float* to, const float (&v)[V]) {
  constexpr int W = V < 4 ? V : 4;
#pragma unroll
  for (int j = 0; j < V; j += W) {
    float part[W];
#pragma unroll
    for (int k = 0; k < W; ++k) part[k] = v[j + k];
    store(to + j, part);
  }
}

}  // namespace snn::gpu
