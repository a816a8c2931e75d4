#include <pthread.h>
#include <sys/mman.h>

#include <list>
#include <mutex>
#include <new>

#include "kernels/blocks.h"

namespace snn::blocks {
namespace {

constexpr std::size_t kHuge = std::size_t{2} << 20;

struct Pool {
  std::mutex mutex;
  std::list<Memory> idle;  // the one given back last is first: the likeliest to be in the cache
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
    munmap(p.idle.back().at, p.idle.back().size);
    p.kept -= p.idle.back().size;
    p.idle.pop_back();
  }
}

}  // namespace

Memory take(std::size_t bytes, bool thrifty) {
  const std::size_t size = rounded(bytes);
  Pool& p = pool();
  {
    const std::lock_guard<std::mutex> lock(p.mutex);
    auto best = p.idle.end();
    for (auto found = p.idle.begin(); found != p.idle.end(); ++found) {
      const bool fits = thrifty ? found->size >= size : found->size == size;
      if (fits && (best == p.idle.end() || found->size < best->size)) best = found;
    }
    if (best != p.idle.end()) {
      const Memory block = *best;
      p.kept -= block.size;
      p.idle.erase(best);
      return block;
    }
    if (thrifty) trim(p, 0);
  }
  return {map_aligned(size), size};
}

void give(Memory block) {
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  if (block.size > p.limit) {
    munmap(block.at, block.size);
    return;
  }
  trim(p, p.limit - block.size);
  p.idle.push_front(block);
  p.kept += block.size;
}

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
