// Packed spikes: how Python's numbers become their arguments.
#pragma once

#include "bindings.h"
#include "kernels/pack.h"

namespace snn {

template <class... Where, class... Places>
void bind_pack(py::module_& m, void (*pack)(const PackArgs&, Where...), void (*unpack)(const PackArgs&, Where...),
               const Places&... places) {
  define_names(m, "PACKS", {"bits", "counts", "signed"});
  const auto define = [&](const char* name, const char* doc, void (*kernel)(const PackArgs&, Where...)) {
    m.def(
        name,
        [=](int kind, int dtype, std::int64_t n, Address x, Address packed, float scale, float inverse,
            std::uint32_t one, Address invalid, Where... where) {
          const auto what = static_cast<PackKind>(kind);
          const float low = what == PackKind::signed_counts ? -128.f : 0.f;
          kernel({what, static_cast<Dtype>(dtype), n, scale, inverse, low, low + 255.f, one, at<void>(x),
                  at<void>(packed), at<std::int32_t>(invalid)},
                 where...);
        },
        named("kind"), named("dtype"), named("n"), named("x"), named("packed"), py::arg("scale"), py::arg("inverse"),
        named("one"), named("invalid") = 0, places..., doc);
  };
  define("pack_spikes",
         "Reads x [n], writes packed: (n + 7) // 8 bytes (kind 0, the least significant bit first) or n bytes.\n"
         "scale, inverse: the worth of a spike and 1 / scale, float32. one: the bits of a spike in dtype. invalid: an\n"
         "int32 that is set to 1 if x holds anything else (packed is of no use then), 0: not looked for.",
         pack);
  define("unpack_spikes", "Reads packed, writes x [n]; arguments as for pack_spikes. invalid is not read.", unpack);
}

}  // namespace snn
