// Event-driven programs on the CPU: which thread does what.
#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>

#include "kernels/events.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "kernels/cpu.h"
#include "kernels/dispatch.h"

namespace snn {

char* event_scratch(std::size_t bytes) {
  constexpr std::size_t kLine = 64;
  thread_local std::unique_ptr<char[]> memory;
  thread_local std::size_t size = 0;
  if (bytes > size) {
    memory.reset();  // not both at once
    memory.reset(new char[bytes + kLine]);
    size = bytes;
  }
  const auto at = reinterpret_cast<std::uintptr_t>(memory.get());
  return memory.get() + (kLine - at % kLine) % kLine;
}

namespace cpu {
namespace {

int thread_number() {
#if defined(_OPENMP)
  return omp_get_thread_num();
#else
  return 0;
#endif
}

// Threads of this region: they may be fewer than were asked for.
int team() {
#if defined(_OPENMP)
  return omp_get_num_threads();
#else
  return 1;
#endif
}

// The first exception of a region, which none may leave: threads go on, since others wait for them.
class Failure {
 public:
  template <class F>
  void guard(F&& f) {
    try {
      f();
    } catch (...) {
#pragma omp critical(snn_event_failure)
      if (!first_) first_ = std::current_exception();
    }
  }
  void raise() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::exception_ptr first_;
};

// Element-steps of a run, as `useful` counts them; a convolution takes some ten times as long as a neuron.
std::int64_t work_of(const EventRun& run) {
  constexpr std::int64_t kWeight = 16;
  std::int64_t cells = 0;
  for (const int number : run.numbers) cells += run.program.slots[run.program.steps[number].target].cells();
  return kWeight * cells * run.images * run.T;
}

}  // namespace

void event_run(const EventRun& run, int threads) {
  const int used = useful(work_of(run), threads);
  const auto step = kernels().event_step;
  const std::int64_t count = run.numbers.size();
  Failure failure;
  if (run.images >= used) {
    std::atomic<std::int64_t> next{0};
#pragma omp parallel num_threads(used) if (used > 1)
    for (;;) {
      // Fewer at a time towards the end, so that no thread waits for long.
      std::int64_t first = next.load(), end;
      do end = first + std::clamp<std::int64_t>((run.images - first) / used, 1, run.together);
      while (first < run.images && !next.compare_exchange_weak(first, end));
      if (first >= run.images) break;
      failure.guard([&] {
        for (std::int64_t i = 0; i < count; ++i)
          for (std::int64_t image = first; image < end; ++image)
            step(run, {i, image, thread_number() * run.together + image - first, 0, 1});
      });
    }
    return failure.raise();
  }
#pragma omp parallel num_threads(used)
  for (std::int64_t i = 0; i < count; ++i) {
    failure.guard([&] {
      for (std::int64_t image = 0; image < run.images; ++image) step(run, {i, image, image, thread_number(), team()});
    });
#pragma omp barrier
  }
  failure.raise();
}

}  // namespace cpu
}  // namespace snn
