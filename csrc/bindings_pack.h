// Packed spikes: how Python's numbers become their arguments.
#pragma once

#include "bindings.h"
#include "kernels/pack.h"

namespace snn {

template <class... Where>
void bind_pack(py::module_& m, void (*pack)(const PackArgs&, Where...), void (*unpack)(const PackArgs&, Where...)) {
  const auto define = [&m](const char* name, void (*kernel)(const PackArgs&, Where...)) {
    m.def(name, [=](int kind, int dtype, std::int64_t n, float scale, float inverse, std::uint32_t one, Address x,
                    Address packed, Address invalid, Where... where) {
      const auto what = static_cast<PackKind>(kind);
      const float low = what == PackKind::signed_counts ? -128.f : 0.f;
      kernel({what, static_cast<Dtype>(dtype), n, scale, inverse, low, low + 255.f, one, at<void>(x), at<void>(packed),
              at<std::int32_t>(invalid)},
             where...);
    });
  };
  define("pack_spikes", pack);
  define("unpack_spikes", unpack);
}

}  // namespace snn
