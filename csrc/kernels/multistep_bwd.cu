// Backward on CUDA: chunk by chunk from the end, each recomputed from the potential before it.
//
// The potentials h of a chunk lie in shared memory, each thread's in its own columns (no barriers): registers
// would need the loop over the chunk unrolled, and with it every surrogate once for each step.
#include "kernels/detail/launch.cuh"
#include "kernels/gpu.h"

namespace snn::gpu {
namespace {

extern __shared__ float4 shared_memory[];

// Row k of this thread's potentials; neighbouring threads touch neighbouring words.
template <int V>
struct Column {
  static constexpr int W = V < 4 ? V : 4;
  using Part = Vector<float, W>;

  __device__ __forceinline__ Part& part(int k, int q) const {
    return reinterpret_cast<Part*>(shared_memory)[(k * (V / W) + q) * kThreads + threadIdx.x];
  }
  __device__ __forceinline__ void put(int k, const float (&h)[V]) const {
#pragma unroll
    for (int j = 0; j < V; ++j) part(k, j / W).at[j % W] = h[j];
  }
  __device__ __forceinline__ void get(int k, float (&h)[V]) const {
#pragma unroll
    for (int q = 0; q < V / W; ++q) {
      const Part p = part(k, q);
#pragma unroll
      for (int j = 0; j < W; ++j) h[q * W + j] = p.at[j];
    }
  }
};

// Charges `count` steps from v on; their h go into the column.
template <class E, int V, class S>
__device__ __forceinline__ void recompute(const S& step, Stream<E, V> x, int count, float (&v)[V]) {
  const Column<V> column;
#pragma unroll 1
  for (int k = 0; k < count; ++k) {
    const Vector<E, V> row = x.next();
    float h[V];
#pragma unroll
    for (int j = 0; j < V; ++j) step.forward(widen(row.at[j]), v[j], h[j]);
    column.put(k, h);
  }
}

// ds/dh at h, summed over the thresholds that the fire counts.
template <int V>
__device__ __forceinline__ void slopes(const Spec& spec, const AnyFire& fire, const float (&h)[V], float (&p)[V]) {
#pragma unroll
  for (int j = 0; j < V; ++j) p[j] = 0.f;
#pragma unroll 1
  for (int level = 1; level <= fire.levels; ++level) {
    visit_surrogate(spec, [&](auto surrogate) {
#pragma unroll
      for (int j = 0; j < V; ++j) p[j] += surrogate.grad(h[j] - level * fire.theta);
    });
  }
}

template <class E, int V, class S>
__global__ void __launch_bounds__(kThreads) backward(const BackwardArgs args, const S step) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) * V;
  if (i >= args.n) return;
  const E* x = static_cast<const E*>(args.x) + i;
  const std::int64_t x_stride = args.constant ? 0 : args.n;
  const Column<V> column;
  float gv[V], v[V], sum[V] = {};
  load_state(args.grad_last ? args.grad_last + i : nullptr, 0.f, gv);
  for (std::int64_t begin = (args.T - 1) / args.interval * args.interval; begin >= 0; begin -= args.interval) {
    const int count = static_cast<int>(args.T - begin < args.interval ? args.T - begin : args.interval);
    const float* before = begin ? args.checkpoints + (begin / args.interval - 1) * args.n : args.v0;
    load_state(before ? before + i : nullptr, step.reset.start(), v);
    recompute(step, Stream<E, V>(x + begin * x_stride, x_stride, count), count, v);
    const std::int64_t last = (begin + count - 1) * args.n + i;
    Stream<E, V> grad_s(static_cast<const E*>(args.grad_s) + last, -args.n, count);
    E* grad_x = static_cast<E*>(args.grad_x) + last;
#pragma unroll 1
    for (int k = count - 1; k >= 0; --k, grad_x -= args.n) {
      const Vector<E, V> row = grad_s.next();
      float h[V], p[V], gx[V];
      column.get(k, h);
      slopes(args.spec, step.fire, h, p);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        gx[j] = step.backward(widen(row.at[j]), p[j], h[j], gv[j]);
        sum[j] += gx[j];
      }
      if (!args.constant) store(grad_x, gx);
    }
  }
  if (args.constant) store(static_cast<E*>(args.grad_x) + i, sum);
  if (args.grad_v0) store_state(args.grad_v0 + i, gv);
}

}  // namespace

void multistep_bwd(const BackwardArgs& args, int device, void* stream) {
  if (args.n == 0) return;
  const OnDevice guard(device);
  const bool whole = args.n % (16 / bytes_of(args.dtype)) == 0;
  const bool vectors =
      whole && all_aligned(args.x, args.grad_s, args.grad_x, args.v0, args.grad_last, args.grad_v0, args.checkpoints);
  const std::int64_t rows = args.T < args.interval ? args.T : args.interval;
  visit_charge(args.spec, [&](auto charge) {
    with_elements(args.dtype, vectors, [&](auto* element, auto width) {
      using E = std::remove_pointer_t<decltype(element)>;
      const GpuStep<decltype(charge)> step = {charge, AnyFire(args.spec), AnyReset(args.spec)};
      const std::size_t shared = rows * width * kThreads * sizeof(float);
      backward<E, width>
          <<<blocks_for(args.n, width), kThreads, shared, static_cast<cudaStream_t>(stream)>>>(args, step);
    });
  });
  check(cudaGetLastError());
}

}  // namespace snn::gpu
