// The encoders: how Python's numbers become their arguments.
#pragma once

#include "bindings.h"
#include "kernels/encode.h"

namespace snn {

template <class... Where>
void bind_encode(py::module_& m, void (*poisson)(const PoissonArgs&, Where...)) {
  m.def("poisson", [=](int dtype, std::int64_t T, std::int64_t n, std::uint64_t seed, std::uint64_t first,
                       std::int64_t channels, std::int64_t inner, Address x, Address s, Where... where) {
    poisson({static_cast<Dtype>(dtype), T, n, seed, first, channels, inner, at<void>(x), at<void>(s)}, where...);
  });
}

}  // namespace snn
