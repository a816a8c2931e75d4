// Large blocks of memory for outputs: huge pages where the system grants them, and reuse.
//
// A fresh block of many MiB costs more in page faults than the kernel that fills it, so a block that is given
// back is kept, up to a limit, and handed out again.
#pragma once

#include <cstddef>

namespace snn::blocks {

struct Memory {
  void* at;
  std::size_t size;
};

// A block of at least `bytes`, aligned to 2 MiB. thrifty: any kept block that is large enough will do, and before the
// system is asked for more all others go back to it, so that nothing waits beside what is in use. Throws
// std::bad_alloc.
Memory take(std::size_t bytes, bool thrifty);

void give(Memory block);

// Bytes kept for reuse, and the most that may be kept (0: none); lowering the limit frees at once.
std::size_t kept();
std::size_t limit();
void set_limit(std::size_t bytes);

}  // namespace snn::blocks
