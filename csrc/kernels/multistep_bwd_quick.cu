// Backward on CUDA of common neurons.
#include "kernels/detail/quick_backward.cuh"

namespace snn::gpu {

bool multistep_bwd_quick(const BackwardArgs& args, cudaStream_t stream) {
  return args.dtype == Dtype::f32 ? run_quick_backward<float>(args, stream) : run_quick_backward<Half>(args, stream);
}

}  // namespace snn::gpu
