#include <pthread.h>

#include <stdexcept>

#include "kernels/cpu.h"

#define SNN_DECLARE(isa)                                                                  \
  namespace snn::isa {                                                                    \
  void multistep_fwd(const ForwardArgs& args, int threads, bool streamed);                \
  void multistep_bwd(const BackwardArgs& args, int threads, bool streamed, double* sums); \
  void lateral_pool(const PoolArgs& args, int threads);                                   \
  }
SNN_DECLARE(plain)
#if defined(SNN_X86)
SNN_DECLARE(avx2)
SNN_DECLARE(avx512)
#endif

namespace snn::cpu {
namespace {

struct Kernels {
  const char* name;
  bool (*runs)();
  decltype(&plain::multistep_fwd) forward;
  decltype(&plain::multistep_bwd) backward;
  decltype(&plain::lateral_pool) pool;
};

#define SNN_KERNELS(isa, condition) \
  {#isa, [] { return static_cast<bool>(condition); }, isa::multistep_fwd, isa::multistep_bwd, isa::lateral_pool}

const Kernels all[] = {
#if defined(SNN_X86)
    SNN_KERNELS(avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")),
    SNN_KERNELS(avx2,
                __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")),
#endif
    SNN_KERNELS(plain, true),
};

const Kernels* best() {
  for (const Kernels& k : all)
    if (k.runs()) return &k;
  return nullptr;
}

const Kernels* current = best();

// The threads of OpenMP do not survive a fork: a child that waits for them hangs. It runs on one thread.
bool forked = false;
[[maybe_unused]] const int watching = pthread_atfork(nullptr, nullptr, [] { forked = true; });

// A parallel region costs about 2 us: worth it from this many element-steps a thread on.
constexpr std::int64_t kGrain = 16384;

int useful(std::int64_t work, int threads) {
  const std::int64_t most = forked ? 1 : work / kGrain;
  return most < 1 ? 1 : most < threads ? static_cast<int>(most) : threads;
}

// Outputs of a call whose memory exceeds this are written around the cache.
constexpr std::int64_t kStreamBytes = std::int64_t{1} << 23;

bool streams(const MultistepArgs& args) { return args.T * args.n * bytes_of(args.dtype) >= kStreamBytes; }

// Doubles for sums of all threads together: 128 MiB.
constexpr std::int64_t kMostSums = std::int64_t{1} << 24;

}  // namespace

void multistep_fwd(const ForwardArgs& args, int threads) {
  current->forward(args, useful(args.T * args.n, threads), streams(args));
}

void multistep_bwd(const BackwardArgs& args, int threads) {
  int used = useful(args.T * args.n * 2, threads);
  const std::int64_t count = args.sums ? args.coefficient_count() : 0;
  // Sums of as many coefficients as neurons and steps would outgrow what they are sums of: fewer threads then.
  while (used > 1 && count * used > kMostSums) --used;
  // Each thread's own, added up in their order: the same sums for the same number of threads.
  std::vector<double> sums(count * used);
  current->backward(args, used, streams(args), args.sums ? sums.data() : nullptr);
  for (std::int64_t i = 0; i < count; ++i) {
    double total = 0;
    for (int thread = 0; thread < used; ++thread) total += sums[thread * count + i];
    args.sums[i] = static_cast<float>(total);
  }
}

void lateral_pool(const PoolArgs& args, int threads) {
  current->pool(args, useful(args.T * args.planes * args.height * args.width, threads));
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Kernels& k : all)
    if (k.runs()) names.emplace_back(k.name);
  return names;
}

std::string chosen() { return current->name; }

void choose(const std::string& name) {
  for (const Kernels& k : all)
    if (name == k.name && k.runs()) {
      current = &k;
      return;
    }
  throw std::invalid_argument("instruction set " + name + " is not one of this machine and build");
}

}  // namespace snn::cpu
