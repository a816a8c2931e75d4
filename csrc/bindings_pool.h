// The pools: how Python's numbers become their arguments.
#pragma once

#include <array>

#include "bindings.h"
#include "kernels/pool.h"

namespace snn {

// What both directions get from Python. shape: T, outer, inner; of rows and columns: size, out, kernel, stride,
// padding, dilation.
#define SNN_POOL_PARAMETERS                                                                 \
  int mode, int dtype, std::array<std::int64_t, 3> shape, std::array<std::int64_t, 6> rows, \
      std::array<std::int64_t, 6> cols, float scale, Address x
#define SNN_POOL_ARGUMENTS mode, dtype, shape, rows, cols, scale, x
#define SNN_POOL_NAMES \
  named("mode"), named("dtype"), py::arg("shape"), py::arg("rows"), py::arg("cols"), py::arg("scale"), named("x")

inline Axis axis_of(const std::array<std::int64_t, 6>& n) { return {n[0], n[1], n[2], n[3], n[4], n[5]}; }

inline PoolArgs pool_args(SNN_POOL_PARAMETERS) {
  return {static_cast<Pooling>(mode),
          static_cast<Dtype>(dtype),
          shape[0],
          shape[1],
          shape[2],
          axis_of(rows),
          axis_of(cols),
          scale,
          at<void>(x)};
}

template <class... Where, class... Places>
void bind_pool(py::module_& m, void (*forward)(const PoolForwardArgs&, Where...),
               void (*backward)(const PoolBackwardArgs&, Where...), const Places&... places) {
  define_names(m, "POOLS", {"lateral", "spike_max", "plain"});
  m.def(
      "pool_fwd",
      [=](SNN_POOL_PARAMETERS, Address out, Address state, Address last, Where... where) {
        forward({pool_args(SNN_POOL_ARGUMENTS), at<float>(state), at<void>(out), at<float>(last)}, where...);
      },
      SNN_POOL_NAMES, named("out"), named("state") = 0, named("last") = 0, places...,
      "shape: T, outer, inner. rows, cols: size, out, kernel, stride, padding, dilation. Reads x [T, outer, "
      "rows.size,\n"
      "cols.size, inner], writes out [T, outer, rows.out, cols.out, inner]. Counts, float32, or 0: state before the\n"
      "first step (read), last after the last one (written), [outer, rows.size, cols.size, inner]. A plain pool has\n"
      "T = 1 and no counts.");
  m.def(
      "pool_bwd",
      [=](SNN_POOL_PARAMETERS, Address grad, Address grad_x, Address last, Address grad_last, Address grad_state,
          Where... where) {
        backward({pool_args(SNN_POOL_ARGUMENTS), at<float>(last), at<void>(grad), at<float>(grad_last),
                  at<void>(grad_x), at<float>(grad_state)},
                 where...);
      },
      SNN_POOL_NAMES, named("grad"), named("grad_x"), named("last") = 0, named("grad_last") = 0,
      named("grad_state") = 0, places...,
      "Backward of pool_fwd: reads x, grad (as out) and last (as forward wrote it; 0 in a plain pool), writes grad_x "
      "(as\n"
      "x). Lateral pools only, or 0: grad_last (read), grad_state (written).");
}

}  // namespace snn
