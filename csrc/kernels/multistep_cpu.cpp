// The multistep kernels on the CPU: how many threads, streamed or not, and the sums of all threads.
#include <vector>

#include "kernels/cpu.h"
#include "kernels/dispatch.h"

namespace snn::cpu {
namespace {

// Outputs from this size on are written around the cache: 0.6 of the time at 4 MiB, and who reads them next is no
// slower (of 1 MiB he is, by half).
constexpr std::int64_t kStreamBytes = std::int64_t{1} << 22;

bool streams(const MultistepArgs& args) { return args.T * args.n * bytes_of(args.dtype) >= kStreamBytes; }

// Doubles for sums of all threads together: 128 MiB.
constexpr std::int64_t kMostSums = std::int64_t{1} << 24;

}  // namespace

void multistep_fwd(const ForwardArgs& args, int threads) {
  kernels().multistep_fwd(args, useful(args.T * args.n, threads), streams(args));
}

void multistep_bwd(const BackwardArgs& args, int threads) {
  int used = useful(args.T * args.n * 2, threads);
  const std::int64_t count = args.sums ? args.coefficient_count() : 0;
  // Sums of as many coefficients as neurons and steps would outgrow what they are sums of: fewer threads then.
  while (used > 1 && count * used > kMostSums) --used;
  // Each thread's own, added up in their order: the same sums for the same number of threads.
  std::vector<double> sums(count * used);
  kernels().multistep_bwd(args, used, streams(args), args.sums ? sums.data() : nullptr);
  for (std::int64_t i = 0; i < count; ++i) {
    double total = 0;
    for (int thread = 0; thread < used; ++thread) total += sums[thread * count + i];
    args.sums[i] = static_cast<float>(total);
  }
}

}  // namespace snn::cpu
