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

template <class... Where>
void bind_pool(py::module_& m, void (*forward)(const PoolForwardArgs&, Where...),
               void (*backward)(const PoolBackwardArgs&, Where...)) {
  m.def("pool_fwd", [=](SNN_POOL_PARAMETERS, Address state, Address out, Address last, Where... where) {
    forward({pool_args(SNN_POOL_ARGUMENTS), at<float>(state), at<void>(out), at<float>(last)}, where...);
  });
  m.def("pool_bwd", [=](SNN_POOL_PARAMETERS, Address last, Address grad, Address grad_last, Address grad_x,
                        Address grad_state, Where... where) {
    backward({pool_args(SNN_POOL_ARGUMENTS), at<float>(last), at<void>(grad), at<float>(grad_last), at<void>(grad_x),
              at<float>(grad_state)},
             where...);
  });
}

}  // namespace snn
