// Forward on CUDA of neurons with coefficients.
#include "kernels/detail/forward.cuh"

namespace snn::gpu {

void multistep_fwd_rows(const ForwardArgs& args, cudaStream_t stream) { run_forward<true>(args, stream); }

}  // namespace snn::gpu
