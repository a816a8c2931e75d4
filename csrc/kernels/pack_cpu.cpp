// Packed spikes on the CPU: how many threads.
#include "kernels/cpu.h"
#include "kernels/dispatch.h"

namespace snn::cpu {
namespace {

// Most of what holds no spikes shows it within so many values, and no thread need wake for that.
constexpr std::int64_t kProbe = 4096;

}  // namespace

void pack(const PackArgs& args, int threads) {
  if (args.invalid && args.n > kProbe) {
    PackArgs head = args;
    head.n = kProbe;
    kernels().pack(head, 1);
    if (*args.invalid) return;
  }
  kernels().pack(args, useful(args.n / 2, threads));
}

void unpack(const PackArgs& args, int threads) { kernels().unpack(args, useful(args.n / 2, threads)); }

}  // namespace snn::cpu
