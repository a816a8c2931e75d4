// What all bindings share. One file per family of ops, bindings_<family>.h, binds the functions of either side: they
// take the arguments of a kernel and then where it runs (CPU: number of threads; CUDA: device index and stream).
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>

namespace py = pybind11;

using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}
