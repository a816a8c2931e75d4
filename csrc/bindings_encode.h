// The encoders: how Python's numbers become their arguments.
#pragma once

#include "bindings.h"
#include "kernels/encode.h"

namespace snn {

template <class... Where, class... Places>
void bind_encode(py::module_& m, void (*poisson)(const PoissonArgs&, Where...), const Places&... places) {
  m.def(
      "poisson",
      [=](int dtype, std::int64_t T, std::int64_t n, std::uint64_t seed, Address x, Address s, std::uint64_t first,
          std::int64_t channels, std::int64_t inner, Where... where) {
        poisson({static_cast<Dtype>(dtype), T, n, seed, first, channels, inner, at<void>(x), at<void>(s)}, where...);
      },
      named("dtype"), named("T"), named("n"), named("seed"), named("x"), named("s"), named("first") = 0,
      named("channels") = 1, named("inner") = 1, places...,
      "Reads x [n], probabilities, writes s [T, n], 1 with probability x in every step (Philox 4x32-10, key seed).\n"
      "Elements are numbered from first in the order [.., channels, inner]; in memory they stand as\n"
      "[.., inner, channels].");
}

}  // namespace snn
