// Drawn calls of every CPU kernel, without Python: on every instruction set of this machine and 1 to 4 threads, each
// call twice, into memory that was filled with other bytes. So what nobody writes differs, what is read or written
// beyond an array stops the program, and sanitizers see the rest. Arguments: how many calls of each kind, and a seed.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "cases.h"
#include "kernels/blocks.h"
#include "kernels/cpu.h"

namespace check {
namespace {

using Maker = Case (*)(Draw&, Memory&);
constexpr Maker kMakers[] = {forward,  backward,     moments,       line,   poisson,       packed,
                             unpacked, pool_forward, pool_backward, events, spikes_packed, weight_gradient};
constexpr int kMost = 4;
constexpr int kFirst = 0x55, kSecond = 0xff;

std::vector<char> outcome(const Case& drawn, const Memory& memory, int threads, bool streamed, int byte) {
  for (const Array* array : memory.outputs) array->fill(byte);
  drawn.call(threads, streamed);
  std::vector<char> found;
  for (const Array* array : memory.outputs) found.insert(found.end(), array->begin(), array->end());
  return found;
}

// The number of faults.
int run(const Case& drawn, const Memory& memory) {
  int faults = 0;
  std::vector<char> expected;
  for (const std::string& isa : snn::cpu::instruction_sets()) {
    snn::cpu::choose(isa);
    for (int threads = 1; threads <= kMost; ++threads) {
      const bool streamed = threads % 2 == 0;
      const auto first = outcome(drawn, memory, threads, streamed, kFirst);
      const auto second = outcome(drawn, memory, threads, streamed, kSecond);
      if (expected.empty()) expected = first;
      const char* fault = first != second                    ? "is not written whole, or differs from call to call"
                          : drawn.exact && first != expected ? "differs from that of other threads and instructions"
                                                             : nullptr;
      if (!fault) continue;
      std::fprintf(stderr, "%s, %d threads, %s: what it gives %s\n", isa.c_str(), threads, drawn.name.c_str(), fault);
      ++faults;
    }
  }
  return faults;
}

// Calls of several threads at once, each of which may use several; and the blocks that they share.
int side_by_side(std::uint64_t seed) {
  constexpr Size T = 4, n = 40000;
  Draw draw(seed);
  Memory memory(draw);
  std::vector<snn::ForwardArgs> calls(kMost);
  for (snn::ForwardArgs& args : calls) {
    args.spec.charge_values[0] = args.spec.fire_values[0] = 1;
    std::fill(std::begin(args.spec.rows), std::end(args.spec.rows), -1);
    args.T = T;
    args.n = n;
    args.interval = 16;
    args.x = memory.floats(T * n);
    args.s = memory.written<float>(T * n);
  }
  std::vector<std::thread> threads;
  for (const snn::ForwardArgs& args : calls)
    threads.emplace_back([&args] {
      for (int i = 0; i < 3; ++i) {
        const snn::blocks::Memory block = snn::blocks::take(1 << 20, i % 2);
        snn::cpu::multistep_fwd(args, 2);
        snn::blocks::give(block);
        snn::blocks::set_limit(snn::blocks::kept() + (std::size_t{1} << 22));
      }
    });
  for (std::thread& thread : threads) thread.join();
  int faults = 0;
  for (const snn::ForwardArgs& args : calls) {
    const float* s = static_cast<const float*>(args.s);
    const std::vector<float> found(s, s + T * n);
    snn::cpu::multistep_fwd(args, 1);
    faults += !std::equal(found.begin(), found.end(), s);
  }
  snn::blocks::set_limit(0);
  return faults;
}

}  // namespace
}  // namespace check

int main(int count, char** words) {
  using namespace check;
  const int calls = count > 1 ? std::atoi(words[1]) : 100;
  if (calls < 1) {
    std::fprintf(stderr, "calls must be a number from 1 on, got %s\n", words[1]);
    return 2;
  }
  const std::uint64_t seed = count > 2 ? std::atoll(words[2]) : 0;
  int faults = 0;
  for (std::size_t kind = 0; kind < std::size(kMakers); ++kind)
    for (int i = 0; i < calls; ++i) {
      Draw draw(seed * 1000003 + kind * 10007 + i);
      Memory memory(draw);
      faults += run(kMakers[kind](draw, memory), memory);
    }
  faults += side_by_side(seed);
  std::printf("%d calls of each of %zu kinds, instruction sets:", calls, std::size(kMakers));
  for (const std::string& isa : snn::cpu::instruction_sets()) std::printf(" %s", isa.c_str());
  std::printf("; faults: %d\n", faults);
  return faults != 0;
}
