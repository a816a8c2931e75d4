// Large blocks of memory for outputs: huge pages where the system grants them, and reuse.
//
// A fresh block of many MiB costs more in page faults than the kernel that fills it, so a block that is given
// back is kept, up to a limit, and handed out again.
#pragma once

#include <cstddef>

namespace snn::blocks {

// A block of at least `bytes`, aligned to 2 MiB. Throws std::bad_alloc.
void* take(std::size_t bytes);

// Give a block back; `bytes` as asked for. `drop`: to the system, at once.
void give(void* block, std::size_t bytes);
void drop(void* block, std::size_t bytes);

// Bytes kept for reuse, and the most that may be kept (0: none); lowering the limit frees at once.
std::size_t kept();
std::size_t limit();
void set_limit(std::size_t bytes);

}  // namespace snn::blocks
