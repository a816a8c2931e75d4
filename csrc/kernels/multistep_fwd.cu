// Forward on CUDA of neurons without coefficients, and the choice between the two.
#include "kernels/detail/forward.cuh"
#include "kernels/gpu.h"

namespace snn::gpu {

void multistep_fwd(const ForwardArgs& args, int device, std::uintptr_t stream) {
  if (args.n == 0) return;
  const OnDevice guard(device);
  const auto queue = reinterpret_cast<cudaStream_t>(stream);
  if (!multistep_fwd_quick(args, queue))
    args.coefficients.values ? multistep_fwd_rows(args, queue) : run_forward<false>(args, queue);
  check(cudaGetLastError());
}

}  // namespace snn::gpu
