// What kernels/*_isa.cpp define.
#pragma once

#include "kernels/families.h"
#include "math/hd.h"

namespace snn {
inline namespace SNN_ISA {

SNN_KERNELS(SNN_FUNCTION, SNN_ISA)

}  // namespace SNN_ISA
}  // namespace snn
