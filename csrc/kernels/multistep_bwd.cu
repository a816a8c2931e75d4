// Backward on CUDA of neurons without coefficients and without a line, and the choice between the two.
#include "kernels/detail/backward.cuh"
#include "kernels/gpu.h"

namespace snn::gpu {

void multistep_bwd(const BackwardArgs& args, int device, std::uintptr_t stream) {
  if (args.n == 0) return;
  const OnDevice guard(device);
  const auto queue = reinterpret_cast<cudaStream_t>(stream);
  if (!multistep_bwd_quick(args, queue))
    args.coefficients.values || args.line ? multistep_bwd_rows(args, queue) : run_backward<false>(args, queue);
  check(cudaGetLastError());
}

}  // namespace snn::gpu
