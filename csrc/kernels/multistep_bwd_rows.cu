// Backward on CUDA of neurons with coefficients or with a line.
#include "kernels/detail/backward.cuh"

namespace snn::gpu {

void multistep_bwd_rows(const BackwardArgs& args, cudaStream_t stream) { run_backward<true>(args, stream); }

}  // namespace snn::gpu
