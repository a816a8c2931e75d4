// The pools on the CPU: how many threads.
#include "kernels/cpu.h"
#include "kernels/dispatch.h"

namespace snn::cpu {

void pool_fwd(const PoolForwardArgs& args, int threads) {
  kernels().pool_fwd(args, useful(args.T * args.cells(), threads));
}

void pool_bwd(const PoolBackwardArgs& args, int threads) {
  kernels().pool_bwd(args, useful(args.T * args.cells() * 2, threads));
}

}  // namespace snn::cpu
