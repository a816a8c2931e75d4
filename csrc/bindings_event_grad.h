// Convolutions of spikes in training: how Python's numbers become their arguments.
#pragma once

#include <array>
#include <utility>

#include "bindings.h"
#include "kernels/cpu.h"
#include "kernels/event_grad.h"

namespace snn {

// size, out, kernel, stride, padding, dilation of one direction.
using WindowNumbers = std::array<std::int64_t, 6>;

inline EventWindow event_window(const WindowNumbers& n) { return {n[0], n[1], n[2], n[3], n[4], n[5]}; }

struct EventConvolution {};

inline void bind_event_grad(py::module_& m) {
  py::class_<EventConvolution> convolution(m, "EventConvolution",
                                           "Convolutions of spikes in training; forward is an EventProgram.");
  convolution.def_static(
      "pack",
      [](Address x, Address words, std::int64_t steps, std::int64_t n, int threads) {
        std::int64_t found = 0, invalid = 0;
        {
          const py::gil_scoped_release released;
          cpu::event_pack({steps, n, at<float>(x), at<std::int32_t>(words), &found, &invalid}, threads);
        }
        return std::make_pair(found, invalid);
      },
      named("x"), named("words"), named("steps"), named("n"), named("threads") = 1,
      "Reads x [steps, n], 1, 2 or 4 steps, writes words [n] of their counts as signed bytes, the first step lowest.\n"
      "Returns how many are not 0, and how many are no whole numbers of -127 .. 127 (words are of no use then).");
  convolution.def_static(
      "weight_grad",
      [](Address words, Address grad, Address weight, std::int64_t steps, std::int64_t images, std::int64_t inputs,
         std::int64_t outputs, const WindowNumbers& rows, const WindowNumbers& cols, int threads) {
        const py::gil_scoped_release released;
        cpu::event_grad({steps, images, inputs, outputs, event_window(rows), event_window(cols),
                         at<std::int32_t>(words), at<float>(grad), at<float>(weight)},
                        threads);
      },
      named("words"), named("grad"), named("weight"), named("steps"), named("images"), named("inputs"),
      named("outputs"), py::arg("rows"), py::arg("cols"), named("threads") = 1,
      "The gradient of a convolution's weight [inputs, kernel rows, kernel columns, outputs]: words [images, height,\n"
      "width, inputs] of event_pack, grad [steps, images, out height, out width, outputs]. rows, cols: size, out,\n"
      "kernel, stride, padding, dilation.");
}

}  // namespace snn
