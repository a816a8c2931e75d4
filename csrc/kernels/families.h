// The functions that are compiled once for each instruction set: X(isa, name, parameters). A family of kernels adds its
// header and its lines here.
#pragma once

#include "kernels/encode.h"
#include "kernels/events.h"
#include "kernels/moments.h"
#include "kernels/multistep.h"
#include "kernels/pack.h"
#include "kernels/pool.h"

// threads: how many to use. streamed: outputs are too large to stay in the cache. sums: null or [threads, P, steps,
// channels], zeros, to which the gradients of the coefficients are added; moments: [threads, 2, channels], sums of
// deviations from origin [channels] and of their squares.
#define SNN_KERNELS(X, isa)                                                                   \
  X(isa, multistep_fwd, (const ForwardArgs& args, int threads, bool streamed))                \
  X(isa, multistep_bwd, (const BackwardArgs& args, int threads, bool streamed, double* sums)) \
  X(isa, moments, (const MomentsArgs& args, int threads, float* origin, double* sums))        \
  X(isa, add_line, (const AddLineArgs& args, int threads))                                    \
  X(isa, pool_fwd, (const PoolForwardArgs& args, int threads))                                \
  X(isa, pool_bwd, (const PoolBackwardArgs& args, int threads))                               \
  X(isa, poisson, (const PoissonArgs& args, int threads, bool streamed))                      \
  X(isa, pack, (const PackArgs& args, int threads))                                           \
  X(isa, unpack, (const PackArgs& args, int threads))                                         \
  X(isa, event_step, (const EventRun& run, const EventShare& share))

#define SNN_FUNCTION(isa, name, parameters) void name parameters;
