// The kernels of one instruction set as a table.
#pragma once

#include <cstdint>

#include "kernels/families.h"

namespace snn::cpu {

struct Kernels {
  const char* name;
  bool (*runs)();
#define SNN_FIELD(isa, name, parameters) void(*name) parameters;
  SNN_KERNELS(SNN_FIELD, any)
#undef SNN_FIELD
};

// Those in use.
const Kernels& kernels();

// Threads that are worth it for this many element-steps; 1 in the child of a fork.
int useful(std::int64_t work, int threads);

}  // namespace snn::cpu
