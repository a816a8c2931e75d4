// How a multistep kernel is chosen and launched: by dtype, charge and whether 16-byte vectors are possible.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/detail/cell.cuh"
#include "kernels/multistep.h"

namespace snn::gpu {

constexpr int kThreads = 128;      // of a block, at most
constexpr int kShared = 48 << 10;  // bytes of shared memory that a block has without asking for more
// Blocks that an SM's registers hold at least. Without a number ptxas spills for one block more.
template <bool Rows>
constexpr int kBackwardBlocks = Rows ? 2 : 4;
template <bool Rows, int V>
constexpr int kForwardBlocks = Rows ? (V > 4 ? 3 : 5) : (V > 4 ? 5 : 6);

inline void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // else the next launch would report this error again
  throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorName(error) + ": " + cudaGetErrorString(error));
}

// A statically linked runtime has a current device of its own: set it, and put back what was there.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    check(cudaGetDevice(&previous_));
    if (device != previous_) check(cudaSetDevice(device));
    changed_ = device != previous_;
  }
  ~OnDevice() {
    if (changed_) cudaSetDevice(previous_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int previous_ = 0;
  bool changed_ = false;
};

template <class... P>
bool all_aligned(const P*... pointers) {
  return (aligned(pointers) && ...);
}

// f(E, V) with a null pointer of the element type and the vector width as a constant.
template <class E, class F>
void with_width(bool vectors, const F& f) {
  if (vectors)
    f(static_cast<E*>(nullptr), std::integral_constant<int, 16 / sizeof(E)>{});
  else
    f(static_cast<E*>(nullptr), std::integral_constant<int, 1>{});
}

// f(E, V, cell) with the types of a kernel.
template <class F>
void with_kernel(const MultistepArgs& args, bool vectors, F&& f) {
  visit_charge<true>(args.spec, [&](const auto& charge) {
    const AnyReset reset(args.spec);
    const Cell<std::decay_t<decltype(charge)>> cell = {
        {charge, reset.carry}, AnyFire(args.spec), reset, AnySurrogate(args.spec)};
    const auto run = [&](auto* element, auto width) { f(element, width, cell); };
    args.dtype == Dtype::f32 ? with_width<float>(vectors, run) : with_width<Half>(vectors, run);
  });
}

// Whether every access can be one of 16 bytes. p: what a direction has besides the common arguments.
template <class... P>
bool can_be_vectors(const MultistepArgs& args, const P*... p) {
  return args.n % (16 / bytes_of(args.dtype)) == 0 && all_aligned(args.x, args.states, args.checkpoints, p...);
}

// Neurons with coefficients, and gradients with a line, have kernels of their own, compiled beside the others.
void multistep_fwd_rows(const ForwardArgs& args, cudaStream_t stream);
void multistep_bwd_rows(const BackwardArgs& args, cudaStream_t stream);
// Common neurons, too. False: it is none of theirs, nothing was launched.
bool multistep_fwd_quick(const ForwardArgs& args, cudaStream_t stream);
bool multistep_bwd_quick(const BackwardArgs& args, cudaStream_t stream);

inline unsigned blocks_for(std::int64_t n, int width, int threads) {
  const std::int64_t per_block = std::int64_t{threads} * width, blocks = (n + per_block - 1) / per_block;
  if (blocks > 0x7fffffff) throw std::runtime_error("CUDA: more than 2^31 - 1 blocks are needed");
  return static_cast<unsigned>(blocks);
}

template <int V>
__device__ __forceinline__ std::int64_t first_neuron() {
  return (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * V;
}

}  // namespace snn::gpu
