// The functions that are compiled once for each instruction set: X(isa, name, parameters). A family of kernels adds its
// header and its lines here.
#pragma once

#include "kernels/encode.h"
#include "kernels/event_grad.h"
#include "kernels/events.h"
#include "kernels/moments.h"
#include "kernels/multistep.h"
#include "kernels/pack.h"
#include "kernels/pool.h"

// threads: how many to use. streamed: outputs are too large to stay in the cache. sums: null or [threads, P, steps,
// channels], zeros, to which the gradients of the coefficients are added; moments: [threads, 2, channels], sums of
// deviations from origin [channels] and of their squares. first, end: the elements that are packed, or the inputs whose
// weights get a gradient. found: how many elements are not 0, and how many are no spikes, to which is added.
#define SNN_KERNELS(X, isa)                                                                                  \
  X(isa, multistep_fwd, (const ForwardArgs& args, int threads, bool streamed))                               \
  X(isa, multistep_bwd, (const BackwardArgs& args, int threads, bool streamed, double* sums))                \
  X(isa, moments, (const MomentsArgs& args, int threads, float* origin, double* sums))                       \
  X(isa, add_line, (const AddLineArgs& args, int threads))                                                   \
  X(isa, pool_fwd, (const PoolForwardArgs& args, int threads))                                               \
  X(isa, pool_bwd, (const PoolBackwardArgs& args, int threads))                                              \
  X(isa, poisson, (const PoissonArgs& args, int threads, bool streamed))                                     \
  X(isa, pack, (const PackArgs& args, int threads))                                                          \
  X(isa, unpack, (const PackArgs& args, int threads))                                                        \
  X(isa, event_step, (const EventRun& run, const EventShare& share))                                         \
  X(isa, event_pack, (const EventPackArgs& args, std::int64_t first, std::int64_t end, std::int64_t* found)) \
  X(isa, event_grad, (const EventGradArgs& args, std::int64_t first, std::int64_t end))

#define SNN_FUNCTION(isa, name, parameters) void name parameters;
