// The moments on the CPU: threads, and what they found put together.
#include <vector>

#include "kernels/cpu.h"
#include "kernels/dispatch.h"

namespace snn::cpu {

void moments(const MomentsArgs& args, int threads) {
  const int used = useful(args.T * args.n, threads);
  const std::int64_t C = args.channels, each = args.T * args.n / C;
  std::vector<float> origin(C);
  std::vector<double> sums(2 * C * used);
  kernels().moments(args, used, origin.data(), sums.data());
  auto* out = static_cast<double*>(args.out);
  for (std::int64_t c = 0; c < C; ++c) {
    double first = 0, second = 0;
    for (int thread = 0; thread < used; ++thread) {
      first += sums[thread * 2 * C + c];
      second += sums[thread * 2 * C + C + c];
    }
    out[c] = static_cast<double>(origin[c]) + first / static_cast<double>(each);
    out[C + c] = (second - first * first / static_cast<double>(each)) / static_cast<double>(each);
  }
}

void add_line(const AddLineArgs& args, int threads) { kernels().add_line(args, useful(args.T * args.n, threads)); }

}  // namespace snn::cpu
