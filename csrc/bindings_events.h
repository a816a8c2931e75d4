// Event-driven programs: built step by step from numbers and addresses, then run.
#pragma once

#include <array>
#include <memory>

#include "bindings.h"
#include "bindings_neuron.h"
#include "kernels/cpu.h"
#include "kernels/events.h"

namespace snn {

// Addresses, and whether each is local.
inline std::vector<EventMemory> memories(const std::vector<Address>& addresses, const std::vector<bool>& local) {
  std::vector<EventMemory> found;
  for (std::size_t i = 0; i < addresses.size(); ++i) found.push_back({at<char>(addresses[i]), local[i]});
  return found;
}

// inputs, out, kernel of one direction.
using AxisNumbers = std::array<std::uint64_t, 3>;

inline EventAxis event_axis(const AxisNumbers& n) {
  return {at<std::int32_t>(n[0]), static_cast<std::int64_t>(n[1]), static_cast<std::int64_t>(n[2])};
}

inline void bind_events(py::module_& m) {
  define_names(m, "EVENT_POOLS", {"lateral", "gated", "max", "sum"});
  define_names(m, "EVENT_WEIGHTS", {"float32", "bfloat16", "int8"});
  py::class_<EventProgram>(m, "EventProgram",
                           "Steps over slots (csrc/kernels/events.h), which are added in their order; what addresses\n"
                           "point to must outlive it.")
      .def(py::init<>())
      .def(
          "slot",
          [](EventProgram& p, int held, std::int64_t height, std::int64_t width, std::int64_t channels) {
            p.slots.push_back({static_cast<Held>(held), height, width, channels});
          },
          named("held"), named("height"), named("width"), named("channels"),
          "held: 0 counts, 1 currents, 2 the same currents at every step.")
      .def(
          "layer",
          [](EventProgram& p, int target, const std::vector<int>& currents, Address bias, const py::bytes& neuron,
             Address coefficients, Address start, std::int64_t starts) {
            EventStep step = {};
            step.target = target;
            step.pooling = EventPooling::none;
            step.currents = currents;
            step.bias = at<float>(bias);
            step.coefficients = at<float>(coefficients);
            step.start = at<float>(start);
            step.starts = starts;
            step.fires = py::len(neuron) > 0;
            if (step.fires) step.spec = unpack(neuron);
            p.steps.push_back(step);
          },
          named("target"), py::arg("currents"), named("bias"), py::arg("neuron"), named("coefficients") = 0,
          named("start") = 0, named("starts") = 0,
          "neuron: of pack_neuron, or no bytes: currents are the result. coefficients: [P, channels]. start:\n"
          "potential before the first step, `starts` numbers: 1, channels, or [height, width, channels].")
      .def(
          "pool",
          [](EventProgram& p, int target, int source, int mode, const AxisNumbers& rows, const AxisNumbers& cols) {
            EventSynapse look = {};
            look.source = source;
            look.rows = event_axis(rows);
            look.cols = event_axis(cols);
            EventStep step = {};
            step.target = target;
            step.pooling = static_cast<EventPooling>(mode);
            step.synapses = {look};
            p.steps.push_back(step);
          },
          named("target"), named("source"), named("mode"), py::arg("rows"), py::arg("cols"),
          "rows, cols: address of the inputs [out, kernel], out, kernel.")
      .def(
          "synapse",
          [](EventProgram& p, int source, const AxisNumbers& rows, const AxisNumbers& cols, bool channelwise,
             bool shared, const std::array<std::int64_t, 6>& sizes, int type, Address weights, Address scales) {
            p.steps.back().synapses.push_back({source, event_axis(rows), event_axis(cols), channelwise, shared,
                                               sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5],
                                               static_cast<Weights>(type), at<void>(weights), at<float>(scales)});
          },
          named("source"), py::arg("rows"), py::arg("cols"), named("channelwise"), named("shared"), py::arg("sizes"),
          named("type"), named("weights"), named("scales") = 0,
          "Of the layer that was added last. sizes: groups, inputs, outputs, first, to, block.")
      .def(
          "run",
          [](const EventProgram& p, const std::vector<int>& numbers, const std::vector<Address>& buffers,
             const std::vector<bool>& local, const std::vector<Address>& states, const std::vector<bool>& local_states,
             std::int64_t images, std::int64_t steps, const std::vector<int>& blocks, std::int64_t together, bool fresh,
             int threads) {
            const auto slots = memories(buffers, local), own = memories(states, local_states);
            const py::gil_scoped_release released;
            cpu::event_run({p, numbers, slots, own, blocks, images, steps, together, fresh}, threads);
          },
          py::arg("numbers"), py::arg("buffers"), py::arg("local"), py::arg("states"), py::arg("local_states"),
          named("images"), named("steps"), py::arg("blocks"), named("together") = 1, named("fresh") = false,
          named("threads") = 1,
          "Runs the steps `numbers` on buffers, one of each slot; states and blocks: of `numbers`. local: the buffer "
          "or\n"
          "state is not of every image but of threads * together places, or of as many as there are images if those\n"
          "are fewer than the threads. fresh: states start anew.");
}

}  // namespace snn
