// What of OpenMP the kernels use, on threads that ThreadSanitizer knows: it cannot see how libgomp waits.
#include <thread>
#include <vector>

namespace {

thread_local int number = 0, count = 1;

void run(void (*work)(void*), void* data, int own, int all) {
  number = own;
  count = all;
  work(data);
  number = 0;
  count = 1;
}

}  // namespace

extern "C" {

int omp_get_thread_num() { return number; }
int omp_get_num_threads() { return count; }

void GOMP_parallel(void (*work)(void*), void* data, unsigned threads, unsigned) {
  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i) others.emplace_back(run, work, data, i, threads);
  run(work, data, 0, threads);
  for (std::thread& thread : others) thread.join();
}
}
