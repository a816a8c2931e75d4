#include <pthread.h>

#include <stdexcept>

#include "kernels/cpu.h"
#include "kernels/dispatch.h"

#define SNN_DECLARE(isa)         \
  namespace snn::isa {           \
  SNN_KERNELS(SNN_FUNCTION, isa) \
  }
SNN_DECLARE(plain)
#if defined(SNN_X86)
SNN_DECLARE(avx2)
SNN_DECLARE(avx512)
#endif

namespace snn::cpu {
namespace {

#define SNN_ADDRESS(isa, name, parameters) , isa::name
#define SNN_ENTRY(isa, condition) {#isa, [] { return static_cast<bool>(condition); } SNN_KERNELS(SNN_ADDRESS, isa)}

const Kernels all[] = {
#if defined(SNN_X86)
    SNN_ENTRY(avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")),
    SNN_ENTRY(avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")),
#endif
    SNN_ENTRY(plain, true),
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

}  // namespace

const Kernels& kernels() { return *current; }

int useful(std::int64_t work, int threads) {
  const std::int64_t most = forked ? 1 : work / kGrain;
  return most < 1 ? 1 : most < threads ? static_cast<int>(most) : threads;
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
