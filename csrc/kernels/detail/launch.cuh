// How a multistep kernel is chosen and launched: by dtype, charge and whether 16-byte vectors are possible.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/detail/vector.cuh"
#include "kernels/multistep.h"
#include "math/step.h"

namespace snn::gpu {

constexpr int kThreads = 128;

// Fire and reset are uniform switches inside the kernel: as types they would only multiply the code.
template <class Charge>
using GpuStep = Step<Charge, AnyFire, AnyReset>;

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

inline bool aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

template <class... P>
bool all_aligned(const P*... pointers) {
  return (aligned(pointers) && ...);
}

// f(E, V) with a null pointer of the element type and the vector width as a constant.
template <class E, class F>
void with_width(bool vectors, F&& f) {
  if (vectors)
    f(static_cast<E*>(nullptr), std::integral_constant<int, 16 / sizeof(E)>{});
  else
    f(static_cast<E*>(nullptr), std::integral_constant<int, 1>{});
}

template <class F>
void with_elements(Dtype dtype, bool vectors, F&& f) {
  switch (dtype) {
    case Dtype::f32: return with_width<float>(vectors, f);
    case Dtype::f16: return with_width<__half>(vectors, f);
    case Dtype::bf16: return with_width<__nv_bfloat16>(vectors, f);
  }
}

inline unsigned blocks_for(std::int64_t n, int width) {
  const std::int64_t per_block = std::int64_t{kThreads} * width;
  return static_cast<unsigned>((n + per_block - 1) / per_block);
}

}  // namespace snn::gpu
