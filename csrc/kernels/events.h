// The contract of event-driven programs: steps over slots, for images whose spikes lie as counts, channels last.
// snnkern/backends/events.py says what the parts are; here they are numbers and addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/multistep.h"
#include "math/hd.h"

namespace snn {

// A slot holds, for each image, counts (words [K, height, width, channels] of four steps as signed bytes, the first
// step lowest), currents (float [T, height, width, channels]) or one step of currents, the same for all.
enum class Held : int { counts, currents, constant };

struct EventSlot {
  Held held;
  std::int64_t height, width, channels;

  SNN_HD std::int64_t row() const { return width * channels; }
  SNN_HD std::int64_t cells() const { return height * row(); }
  SNN_HD std::int64_t times(std::int64_t steps) const {
    return held == Held::counts ? (steps + 3) / 4 : held == Held::currents ? steps : 1;
  }
};

// One direction of a map: the input of each output and tap [out, kernel], -1 for none.
struct EventAxis {
  const std::int32_t* inputs;
  std::int64_t out, kernel;

  SNN_HD std::int32_t at(std::int64_t o, std::int64_t k) const { return inputs[o * kernel + k]; }
};

enum class Weights : int { f32, bf16, i8 };

// Outputs of a group whose weights stand together: [groups, blocks, taps, inputs, block], block 16 or 32. Weights
// of type i8 are times scales [groups * outputs]. Channelwise: float [taps, outputs], output channel to + i reads
// channel first + i of the source. taps: those that have weights of their own, 1 if all share them.
struct EventSynapse {
  int source;
  EventAxis rows, cols;
  bool channelwise, shared;
  std::int64_t groups, inputs, outputs, first, to, block;
  Weights type;
  const void* weights;
  const float* scales;

  SNN_HD std::int64_t blocks() const { return (outputs + block - 1) / block; }
};

// As POOLS in snnkern/backends/events.py.
enum class EventPooling : int { lateral, gated, max, sum, none };

// A layer (pooling is none) or a pool. fires: else a layer gives currents.
struct EventStep {
  int target;
  EventPooling pooling;
  std::vector<EventSynapse> synapses;  // of a pool one, of which only source, rows and cols count
  std::vector<int> currents;
  const float* bias;  // [channels], may be null
  bool fires;
  Spec spec;
  const float* coefficients;  // [P, channels], may be null
  const float* start;         // potential before the first step: `starts` numbers, 1, channels or those of all cells
  std::int64_t starts;
};

struct EventProgram {
  std::vector<EventSlot> slots;
  std::vector<EventStep> steps;
};

// What a slot or state of a run lies in. local: it is not of every image but of every place; an image that a thread is
// done with leaves its place to the next one.
struct EventMemory {
  char* at;
  bool local;
};

// One run: for `images` the steps `numbers`, in this order. buffers: of the slots; states: of `numbers`, [images,
// height, S, width, channels] of a layer's neurons, int32 [images, height, width, channels] of a pool's source, or
// none. blocks: steps that an event stands for, 1, 2, 4 or 8, of `numbers`. together: images that go through one step
// one after the other, so that its weights are read once for them; there are as many places for each thread, or one for
// each image if those are fewer than the threads. fresh: neurons and pools start, whatever is in their states.
struct EventRun {
  const EventProgram& program;
  const std::vector<int>& numbers;
  const std::vector<EventMemory>& buffers;
  const std::vector<EventMemory>& states;
  const std::vector<int>& blocks;
  std::int64_t images, T, together;
  bool fresh;
};

// The share `part` of `parts` that one thread takes of step `index` of a run, for one image at its place.
struct EventShare {
  std::int64_t index, image, place;
  int part, parts;

  // The slot of the image.
  template <class V>
  SNN_HD V* of(const EventRun& run, int slot) const {
    const EventSlot& s = run.program.slots[slot];
    const EventMemory& memory = run.buffers[slot];
    return reinterpret_cast<V*>(memory.at) + (memory.local ? place : image) * s.times(run.T) * s.cells();
  }

  // Its state, of so many cells; null if there is none.
  template <class V>
  SNN_HD V* state(const EventRun& run, std::int64_t cells) const {
    const EventMemory& memory = run.states[index];
    return memory.at ? reinterpret_cast<V*>(memory.at) + (memory.local ? place : image) * cells : nullptr;
  }
};

// Memory of the calling thread, aligned to cache lines, until its next call. Not inline: what a header defines for all
// instruction sets must not need one of them.
char* event_scratch(std::size_t bytes);

}  // namespace snn
