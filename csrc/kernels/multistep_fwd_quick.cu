// Forward on CUDA of common neurons.
#include "kernels/detail/quick_forward.cuh"

namespace snn::gpu {

bool multistep_fwd_quick(const ForwardArgs& args, cudaStream_t stream) {
  return args.dtype == Dtype::f32 ? run_quick_forward<float>(args, stream) : run_quick_forward<Half>(args, stream);
}

}  // namespace snn::gpu
