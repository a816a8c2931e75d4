// Drawn calls of every family of CPU kernels.
#pragma once

#include <functional>
#include <string>

#include "kernels/dispatch.h"
#include "memory.h"

namespace check {

// call: with the kernels in use, on so many threads, streamed or not. exact: the same outputs to the bit on any
// number of threads and every instruction set; otherwise only on the same ones.
struct Case {
  std::string name;
  bool exact = true;
  std::function<void(int threads, bool streamed)> call;
};

Case forward(Draw& draw, Memory& memory);
Case backward(Draw& draw, Memory& memory);
Case moments(Draw& draw, Memory& memory);
Case line(Draw& draw, Memory& memory);
Case poisson(Draw& draw, Memory& memory);
Case packed(Draw& draw, Memory& memory);
Case unpacked(Draw& draw, Memory& memory);
Case pool_forward(Draw& draw, Memory& memory);
Case pool_backward(Draw& draw, Memory& memory);
Case events(Draw& draw, Memory& memory);
Case spikes_packed(Draw& draw, Memory& memory);
Case weight_gradient(Draw& draw, Memory& memory);

// Sizes around those of vectors, tiles and blocks.
struct Shape {
  snn::Dtype dtype;
  Size T, n, channels, inner;

  explicit Shape(Draw& draw)
      : dtype(static_cast<snn::Dtype>(draw.whole(0, 2))),
        T(draw.of<Size>({1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 33})),
        channels(draw.of<Size>({1, 1, 2, 3, 5, 16, 33})),
        inner(draw.of<Size>({1, 2, 7, 16, 49, 64, 65, 300})) {
    n = channels * inner * draw.of<Size>({1, 2, 3});
    if (draw.chance(0.3)) {
      channels = inner = 1;
      n = draw.of<Size>({1, 3, 15, 16, 17, 63, 64, 65, 191, 193, 255, 256, 257, 511, 513, 2047, 2048, 2049, 4099});
    }
    while (T * n > 40000) T = (T + 1) / 2;
  }
  bool halves() const { return dtype != snn::Dtype::f32; }
  std::string text() const {
    return "dtype " + std::to_string(static_cast<int>(dtype)) + ", T " + std::to_string(T) + ", n " +
           std::to_string(n) + ", channels " + std::to_string(channels) + ", inner " + std::to_string(inner);
  }
};

}  // namespace check
