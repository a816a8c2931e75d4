// The moments: how Python's numbers become their arguments.
#pragma once

#include "bindings.h"
#include "kernels/moments.h"

namespace snn {

template <class... Where, class... Places>
void bind_moments(py::module_& m, void (*moments)(const MomentsArgs&, Where...), const Places&... places) {
  m.def(
      "moments",
      [=](int dtype, std::int64_t T, std::int64_t n, Address x, Address out, std::int64_t channels, std::int64_t inner,
          Where... where) {
        moments({static_cast<Dtype>(dtype), T, n, channels, inner, at<void>(x), at<void>(out)}, where...);
      },
      named("dtype"), named("T"), named("n"), named("x"), named("out"), named("channels"), named("inner"), places...,
      "Reads x [T, n]. _cpu writes float64 out [2, channels]: mean and biased variance by channel (neuron i is of\n"
      "channel i // inner % channels). _cuda writes float32 out [2, n]: mean and sum of squared deviations of each\n"
      "neuron over the steps.");
}

template <class... Places>
void bind_add_line(py::module_& m, void (*add_line)(const AddLineArgs&, int), const Places&... places) {
  m.def(
      "add_line",
      [=](std::int64_t T, std::int64_t n, Address x, Address line, Address to, std::int64_t channels,
          std::int64_t inner,
          int threads) { add_line({T, n, channels, inner, at<float>(x), at<float>(line), at<float>(to)}, threads); },
      named("T"), named("n"), named("x"), named("line"), named("to"), named("channels"), named("inner"), places...,
      "to [T, n] += line[0] * x + line[1], float32; x [T, n], line [2, channels].");
}

}  // namespace snn
