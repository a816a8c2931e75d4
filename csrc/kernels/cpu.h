// The CPU side: picks the best instruction set of this machine and the number of threads.
#pragma once

#include <string>
#include <vector>

#include "kernels/encode.h"
#include "kernels/event_grad.h"
#include "kernels/events.h"
#include "kernels/moments.h"
#include "kernels/multistep.h"
#include "kernels/pack.h"
#include "kernels/pool.h"

namespace snn::cpu {

void multistep_fwd(const ForwardArgs& args, int threads);
void multistep_bwd(const BackwardArgs& args, int threads);
void moments(const MomentsArgs& args, int threads);
void add_line(const AddLineArgs& args, int threads);
void poisson(const PoissonArgs& args, int threads);
void pack(const PackArgs& args, int threads);
void unpack(const PackArgs& args, int threads);
void event_run(const EventRun& run, int threads);
void event_pack(const EventPackArgs& args, int threads);
void event_grad(const EventGradArgs& args, int threads);
void pool_fwd(const PoolForwardArgs& args, int threads);
void pool_bwd(const PoolBackwardArgs& args, int threads);

// The instruction sets that this machine can run, best first; `choose` takes one of them for all later calls and
// throws std::invalid_argument for any other name.
std::vector<std::string> instruction_sets();
std::string chosen();
void choose(const std::string& name);

}  // namespace snn::cpu
