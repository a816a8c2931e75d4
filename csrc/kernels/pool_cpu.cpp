// The pools on the CPU: how many threads.
#include "kernels/cpu.h"
#include "kernels/dispatch.h"

namespace snn::cpu {

void lateral_pool(const PoolArgs& args, int threads) {
  kernels().lateral_pool(args, useful(args.T * args.planes * args.height * args.width, threads));
}

}  // namespace snn::cpu
