// The CUDA side, without CUDA's headers: launches on a device and a stream (a cudaStream_t as a number), throws
// std::runtime_error if that fails. The caller's current device stays what it was.
#pragma once

#include <cstdint>

#include "kernels/encode.h"
#include "kernels/moments.h"
#include "kernels/multistep.h"
#include "kernels/pack.h"
#include "kernels/pool.h"

namespace snn::gpu {

void multistep_fwd(const ForwardArgs& args, int device, std::uintptr_t stream);
void multistep_bwd(const BackwardArgs& args, int device, std::uintptr_t stream);
void moments(const MomentsArgs& args, int device, std::uintptr_t stream);
void poisson(const PoissonArgs& args, int device, std::uintptr_t stream);
void pack(const PackArgs& args, int device, std::uintptr_t stream);
void unpack(const PackArgs& args, int device, std::uintptr_t stream);

// scratch: the address of memory of pool_scratch's bytes, aligned to 16; want_state: counts (backward: their gradient)
// are wanted.
std::int64_t pool_scratch(const PoolArgs& args, bool back, bool want_state);
void pool_fwd(const PoolForwardArgs& args, std::uintptr_t scratch, int device, std::uintptr_t stream);
void pool_bwd(const PoolBackwardArgs& args, std::uintptr_t scratch, int device, std::uintptr_t stream);

}  // namespace snn::gpu
