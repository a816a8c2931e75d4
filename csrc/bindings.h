// What all bindings share. One file per family of ops, bindings_<family>.h, binds the functions of either side: they
// take the arguments of a kernel and then where it runs (CPU: number of threads; CUDA: device index and stream), by
// names that docs/backend.md describes.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <string>
#include <vector>

namespace py = pybind11;

namespace snn {

// The first grows where a call by names that was right is so no longer, the second with everything else that Python can
// see (docs/backend.md); API in snnkern/backends/native/device.py is the same.
constexpr int kApiVersion[] = {1, 1};

using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

// An argument by name; noconvert: whole numbers only, which signatures then call int.
inline py::arg named(const char* name) { return py::arg(name).noconvert(); }

inline void define_version(py::module_& m) { m.attr("API_VERSION") = py::make_tuple(kApiVersion[0], kApiVersion[1]); }

// A list whose order is that of the ids.
inline void define_names(py::module_& m, const char* list, const std::vector<std::string>& names) {
  m.attr(list) = names;
}

}  // namespace snn
