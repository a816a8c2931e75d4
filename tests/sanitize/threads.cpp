// What of OpenMP the kernels use, on threads that ThreadSanitizer knows: it cannot see how libgomp waits.
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace {

// The threads of one region, and who of them waits at its barrier.
struct Team {
  int count;
  std::mutex lock;
  std::condition_variable all;
  int waiting = 0, turn = 0;

  explicit Team(int threads) : count(threads) {}
  void wait() {
    std::unique_lock<std::mutex> own(lock);
    const int now = turn;
    if (++waiting == count) {
      waiting = 0;
      ++turn;
      all.notify_all();
    }
    all.wait(own, [&] { return turn != now; });
  }
};

thread_local int number = 0;
thread_local Team* team = nullptr;
std::mutex one_at_a_time;

void run(void (*work)(void*), void* data, int own, Team* of) {
  number = own;
  team = of;
  work(data);
  number = 0;
  team = nullptr;
}

}  // namespace

extern "C" {

int omp_get_thread_num() { return number; }
int omp_get_num_threads() { return team ? team->count : 1; }

void GOMP_barrier() {
  if (team) team->wait();
}
void GOMP_atomic_start() { one_at_a_time.lock(); }
void GOMP_atomic_end() { one_at_a_time.unlock(); }
void GOMP_critical_name_start(void**) { one_at_a_time.lock(); }
void GOMP_critical_name_end(void**) { one_at_a_time.unlock(); }

void GOMP_parallel(void (*work)(void*), void* data, unsigned threads, unsigned) {
  Team all(static_cast<int>(threads));
  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i) others.emplace_back(run, work, data, i, &all);
  run(work, data, 0, &all);
  for (std::thread& thread : others) thread.join();
}
}
