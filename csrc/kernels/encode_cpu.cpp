// The encoders on the CPU: how many threads, streamed or not.
#include "kernels/cpu.h"
#include "kernels/dispatch.h"

namespace snn::cpu {

void poisson(const PoissonArgs& args, int threads) {
  constexpr std::int64_t kStreamBytes = std::int64_t{1} << 23;  // outputs beyond it are written around the cache
  const std::int64_t count = args.T * args.n;
  kernels().poisson(args, useful(count, threads), count * bytes_of(args.dtype) >= kStreamBytes);
}

}  // namespace snn::cpu
