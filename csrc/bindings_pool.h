// The pools: how Python's numbers become their arguments.
#pragma once

#include <array>

#include "bindings.h"
#include "kernels/pool.h"

namespace snn {

template <class... Where>
void bind_pool(py::module_& m, void (*lateral)(const PoolArgs&, Where...)) {
  using Sizes = std::array<std::int64_t, 2>;
  m.def("lateral_pool2d", [=](int dtype, std::array<std::int64_t, 6> shape, Sizes kernel, Sizes stride, Sizes padding,
                              Sizes dilation, float scale, Address x, Address out, Where... where) {
    PoolArgs args = {static_cast<Dtype>(dtype),
                     shape[0],
                     shape[1],
                     shape[2],
                     shape[3],
                     shape[4],
                     shape[5],
                     {},
                     {},
                     {},
                     {},
                     scale,
                     at<void>(x),
                     at<void>(out)};
    for (int i = 0; i < 2; ++i) {
      args.kernel[i] = kernel[i];
      args.stride[i] = stride[i];
      args.padding[i] = padding[i];
      args.dilation[i] = dilation[i];
    }
    lateral(args, where...);
  });
}

}  // namespace snn
