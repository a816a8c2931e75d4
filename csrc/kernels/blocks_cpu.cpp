#include <pthread.h>
#include <sys/mman.h>

#include <list>
#include <mutex>
#include <new>

#include "kernels/blocks.h"

namespace snn::blocks {
namespace {

constexpr std::size_t kHuge = std::size_t{2} << 20;

struct Idle {
  std::size_t size;
  void* memory;
};

struct Pool {
  std::mutex mutex;
  std::list<Idle> idle;  // the one given back last is first: the likeliest to be in the cache
  std::size_t kept = 0, limit = std::size_t{512} << 20;
};

// Never destroyed: tensors may outlive static destruction.
Pool& pool() {
  static Pool* const instance = [] {
    auto* created = new Pool;
    pthread_atfork([] { pool().mutex.lock(); }, [] { pool().mutex.unlock(); }, [] { pool().mutex.unlock(); });
    return created;
  }();
  return *instance;
}

// To a multiple of 64 KiB: what lies behind the last whole huge page is made of small ones.
std::size_t rounded(std::size_t bytes) { return (bytes + 0xffff) / 0x10000 * 0x10000; }

// mmap aligns to 4 KiB only: ask for more and cut both ends off.
void* map_aligned(std::size_t size) {
  char* raw =
      static_cast<char*>(mmap(nullptr, size + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (raw == MAP_FAILED) throw std::bad_alloc();
  const std::size_t head = (kHuge - reinterpret_cast<std::size_t>(raw) % kHuge) % kHuge;
  if (head) munmap(raw, head);
  if (kHuge > head) munmap(raw + head + size, kHuge - head);
#if defined(MADV_HUGEPAGE)
  madvise(raw + head, size, MADV_HUGEPAGE);
#endif
  return raw + head;
}

void trim(Pool& p, std::size_t most) {
  while (p.kept > most) {
    munmap(p.idle.back().memory, p.idle.back().size);
    p.kept -= p.idle.back().size;
    p.idle.pop_back();
  }
}

}  // namespace

void* take(std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  Pool& p = pool();
  {
    const std::lock_guard<std::mutex> lock(p.mutex);
    for (auto found = p.idle.begin(); found != p.idle.end(); ++found) {
      if (found->size != size) continue;  // only blocks of this size: `give` knows no other
      void* const memory = found->memory;
      p.kept -= size;
      p.idle.erase(found);
      return memory;
    }
  }
  return map_aligned(size);
}

void give(void* block, std::size_t bytes) {
  const std::size_t size = rounded(bytes);
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  if (size > p.limit) {
    munmap(block, size);
    return;
  }
  trim(p, p.limit - size);
  p.idle.push_front({size, block});
  p.kept += size;
}

void drop(void* block, std::size_t bytes) { munmap(block, rounded(bytes)); }

std::size_t kept() {
  const std::lock_guard<std::mutex> lock(pool().mutex);
  return pool().kept;
}

std::size_t limit() {
  const std::lock_guard<std::mutex> lock(pool().mutex);
  return pool().limit;
}

void set_limit(std::size_t bytes) {
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  p.limit = bytes;
  trim(p, bytes);
}

}  // namespace snn::blocks
