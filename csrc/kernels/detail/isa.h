// The functions that are compiled once for each instruction set.
#pragma once

#include "kernels/multistep.h"
#include "kernels/pool.h"
#include "math/hd.h"

namespace snn {
inline namespace SNN_ISA {

// threads: how many to use; streamed: outputs are too large to stay in the cache; sums: null or [threads, P, steps,
// channels], zeros, to which the gradients of the coefficients are added.
void multistep_fwd(const ForwardArgs& args, int threads, bool streamed);
void multistep_bwd(const BackwardArgs& args, int threads, bool streamed, double* sums);
void lateral_pool(const PoolArgs& args, int threads);

}  // namespace SNN_ISA
}  // namespace snn
