// The moments: how Python's numbers become their arguments.
#pragma once

#include "bindings.h"
#include "kernels/moments.h"

namespace snn {

template <class... Where>
void bind_moments(py::module_& m, void (*moments)(const MomentsArgs&, Where...)) {
  m.def("moments", [=](int dtype, std::int64_t T, std::int64_t n, std::int64_t channels, std::int64_t inner, Address x,
                       Address out, Where... where) {
    moments({static_cast<Dtype>(dtype), T, n, channels, inner, at<void>(x), at<void>(out)}, where...);
  });
}

inline void bind_add_line(py::module_& m, void (*add_line)(const AddLineArgs&, int)) {
  m.def("add_line", [=](std::int64_t T, std::int64_t n, std::int64_t channels, std::int64_t inner, Address x,
                        Address line, Address to, int threads) {
    add_line({T, n, channels, inner, at<float>(x), at<float>(line), at<float>(to)}, threads);
  });
}

}  // namespace snn
