// The CUDA side, without CUDA's headers: launches on a device and a stream (cudaStream_t), throws
// std::runtime_error if that fails. The caller's current device stays what it was.
#pragma once

#include "kernels/multistep.h"

namespace snn::gpu {

void multistep_fwd(const ForwardArgs& args, int device, void* stream);
void multistep_bwd(const BackwardArgs& args, int device, void* stream);

}  // namespace snn::gpu
