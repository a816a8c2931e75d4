// The functions that are compiled once for each instruction set: X(isa, name, parameters). A family of kernels adds its
// header and its lines here.
#pragma once

#include "kernels/multistep.h"
#include "kernels/pool.h"

// threads: how many to use. streamed: outputs are too large to stay in the cache. sums: null or [threads, P, steps,
// channels], zeros, to which the gradients of the coefficients are added.
// clang-format off
#define SNN_KERNELS(X, isa)                                                                      \
  X(isa, multistep_fwd, (const ForwardArgs& args, int threads, bool streamed))                   \
  X(isa, multistep_bwd, (const BackwardArgs& args, int threads, bool streamed, double* sums))    \
  X(isa, pool_fwd, (const PoolForwardArgs& args, int threads))                                   \
  X(isa, pool_bwd, (const PoolBackwardArgs& args, int threads))
// clang-format on

#define SNN_FUNCTION(isa, name, parameters) void name parameters;
