// Convolutions of spikes in training on the CPU: which thread does what.
#include <algorithm>

#include "kernels/cpu.h"
#include "kernels/dispatch.h"
#include "kernels/event_grad.h"

namespace snn::cpu {
namespace {

// Most of what holds no spikes shows it within so many values.
constexpr std::int64_t kProbe = 4096;

}  // namespace

void event_pack(const EventPackArgs& args, int threads) {
  const int used = useful(args.n * args.steps, threads);
  const auto pack = kernels().event_pack;
  std::int64_t head[2] = {0, 0};
  if (args.n > kProbe) pack(args, 0, kProbe, head);
  if (head[1]) {
    *args.invalid += head[1];
    return;
  }
  std::int64_t found = 0, invalid = 0;
#pragma omp parallel for num_threads(used) if (used > 1) reduction(+ : found, invalid)
  for (int part = 0; part < used; ++part) {
    std::int64_t own[2] = {0, 0};
    pack(args, args.n * part / used, args.n * (part + 1) / used, own);
    found += own[0];
    invalid += own[1];
  }
  *args.found += found;
  *args.invalid += invalid;
}

// Each thread looks after some of the inputs: sums have the same order on any number of them.
void event_grad(const EventGradArgs& args, int threads) {
  const std::int64_t cells = args.rows.out * args.cols.out * args.outputs;
  const std::int64_t most = std::min<std::int64_t>(useful(args.steps * args.images * cells, threads), args.inputs);
  const int used = static_cast<int>(std::max<std::int64_t>(most, 1));
  const auto grad = kernels().event_grad;
#pragma omp parallel for num_threads(used) if (used > 1)
  for (int part = 0; part < used; ++part) grad(args, args.inputs * part / used, args.inputs * (part + 1) / used);
}

}  // namespace snn::cpu
