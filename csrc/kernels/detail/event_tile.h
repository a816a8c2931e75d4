// The events that a tile of outputs looks at: a list for each block of steps, one behind the other in memory.
#pragma once

#include <cstdint>

#include "kernels/detail/event_lists.h"
#include "kernels/events.h"

namespace snn {
inline namespace SNN_ISA {

SNN_HD Size whole_lines(Size bytes) { return (bytes + 63) / 64 * 64; }

// Of one synapse and image, for outputs of rows y0 .. y1 and steps t0 .. t1.
class TileEvents {
 public:
  TileEvents(const EventRun& run, const EventSynapse& s, Size y0, Size y1, Size t0, Size t1, int together)
      : run_(run), s_(s), from_(run.program.slots[s.source]), t0_(t0), t1_(t1), together_(together) {
    first_ = from_.height;
    for (Size i = y0 * s.rows.kernel; i < y1 * s.rows.kernel; ++i) {
      const Size at = s.rows.inputs[i];
      if (at < 0) continue;
      first_ = at < first_ ? at : first_;
      end_ = at + 1 > end_ ? at + 1 : end_;
    }
    positions_ = end_ > first_ ? (end_ - first_) * from_.width : 0;
    if (!positions_) first_ = 0;
  }

  Size first_row() const { return first_; }

  // Bytes of all lists, if every channel has events.
  Size room() const {
    const Size blocks = (t1_ - t0_ + together_ - 1) / together_;
    return blocks * list_bytes() + scratch_bytes();
  }

  // f(block, events) for each block of steps, whose lists are at `memory`.
  template <class F>
  void each(char* memory, F&& f) const {
    char* at = memory + scratch_bytes();
    for (Size t = t0_; t < t1_; at += list_bytes()) {
      const Block block = block_at(t, t1_, together_);
      auto* ends = reinterpret_cast<std::int32_t*>(at) + 1;
      auto* offsets = reinterpret_cast<std::uint32_t*>(ends + positions_);
      f(block, Events{offsets, reinterpret_cast<float*>(offsets + positions_ * s_.inputs + kSpare), ends});
      t += block.steps;
    }
  }

  // Lists the events of an image in a group's channels.
  void list(char* memory, const EventShare& share, Size group) const {
    const std::int32_t* words =
        share.of<const std::int32_t>(run_, s_.source) + first_ * from_.row() + s_.first + group * s_.inputs;
    auto* scratch = reinterpret_cast<std::int32_t*>(memory);
    each(memory, [&](const Block& block, const Events& events) {
      const std::int32_t* low = words + block.first / 4 * from_.cells();
      const int shift = static_cast<int>(block.first % 4) * 8;
      const auto run = block.steps == 8   ? list_events<8>
                       : block.steps == 4 ? list_events<4>
                       : block.steps == 2 ? list_events<2>
                                          : list_events<1>;
      events.ends[-1] = 0;
      run(low, low + (block.steps == 8 ? from_.cells() : 0), from_.channels, positions_, from_.width, s_.inputs, shift,
          s_.block, scratch, events);
    });
  }

 private:
  Size list_bytes() const {
    return whole_lines(4 * (positions_ + 1) + (positions_ * s_.inputs + kSpare) * (4 + 4 * together_));
  }
  Size scratch_bytes() const { return whole_lines(12 * (s_.inputs + kSpare)); }

  const EventRun& run_;
  const EventSynapse& s_;
  const EventSlot& from_;
  Size t0_, t1_, first_, end_ = 0, positions_;
  int together_;
};

}  // namespace SNN_ISA
}  // namespace snn
