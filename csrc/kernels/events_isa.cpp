// Steps of event-driven programs, of one instruction set: rows of an image together, so that their events, currents and
// potentials stay in the cache.
#include "kernels/detail/event_fire.h"
#include "kernels/detail/event_pools.h"
#include "kernels/detail/event_sums.h"
#include "kernels/detail/event_tile.h"
#include "kernels/detail/isa.h"
#include "kernels/detail/rows.h"
#include "kernels/events.h"

namespace snn {
inline namespace SNN_ISA {
namespace {

constexpr Size kTileBytes = Size{384} << 10;  // of events and currents: they share the L2 cache with weights
constexpr Size kNearBytes = Size{24} << 10;   // of weights: they share the L1 cache with events
constexpr Size kStepsTogether = 8;            // T is cut at multiples of it only

// A step's counts of n neurons times weights, added to their currents.
SNN_LOOP add_counts(float* __restrict__ to, const std::int32_t* __restrict__ words, const float* __restrict__ weights,
                    int step, Size n) {
  for (Size i = 0; i < n; ++i) to[i] += weights[i] * static_cast<float>(count_of(words[i], step));
}

SNN_LOOP add_floats(float* __restrict__ to, const float* __restrict__ from, Size n) {
  for (Size i = 0; i < n; ++i) to[i] += from[i];
}

SNN_LOOP fill_floats(float* to, float value, Size n) {
  for (Size i = 0; i < n; ++i) to[i] = value;
}

// Four rows of n counts as words; null: zeros.
SNN_LOOP pack_words(std::int32_t* __restrict__ words, const float* const* rows, Size n) {
  const float* __restrict__ a = rows[0], * __restrict__ b = rows[1], * __restrict__ c = rows[2], * __restrict__ d = rows[3];
  const auto byte = [](float s, int place) {
    return (static_cast<std::uint32_t>(static_cast<int>(s)) & 0xffu) << place;
  };
  for (Size i = 0; i < n; ++i)
    words[i] = static_cast<std::int32_t>(byte(a[i], 0) | byte(b[i], 8) | byte(c[i], 16) | byte(d[i], 24));
}

// A layer for one image, or a share of it: some of its rows, or some of its channels.
class EventLayer {
 public:
  EventLayer(const EventRun& run, const EventShare& share)
      : run_(run),
        step_(run.program.steps[run.numbers[share.index]]),
        slot_(run.program.slots[step_.target]),
        share_(share),
        T_(run.T),
        together_(run.blocks[share.index]),
        S_(step_.fires ? step_.spec.states() : 0),
        states_(share.state<float>(run, S_ * slot_.cells())) {
    split(share);
  }

  void all() {
    if (y0_ >= y1_ || c0_ >= c1_) return;
    Size steps = T_, rows = 1;
    while (steps > kStepsTogether && bytes(1, steps) > 4 * kTileBytes)
      steps = (steps / 2 + kStepsTogether - 1) / kStepsTogether * kStepsTogether;
    while (rows < y1_ - y0_ && bytes(rows + 1, steps) <= kTileBytes) ++rows;
    for (Size t = 0; t < T_; t += steps)
      for (Size y = y0_; y < y1_; y += rows) tile(y, least(y + rows, y1_), t, least(t + steps, T_));
  }

 private:
  static Size least(Size a, Size b) { return a < b ? a : b; }

  void split(const EventShare& share) {
    y0_ = c0_ = 0;
    y1_ = slot_.height;
    c1_ = slot_.channels;
    if (share.parts == 1) return;
    Size grain = 0;  // channels that belong together; 0: they are not shared out
    for (const EventSynapse& s : step_.synapses)
      if (!s.channelwise) {
        const Size own = s.groups == 1 ? s.block : slot_.channels;
        grain = own > grain ? own : grain;
      }
    const Size blocks = grain ? (slot_.channels + grain - 1) / grain : 0;
    if (slot_.height >= 4 * share.parts || blocks < share.parts) {
      y0_ = slot_.height * share.part / share.parts;
      y1_ = slot_.height * (share.part + 1) / share.parts;
    } else {
      c0_ = blocks * share.part / share.parts * grain;
      c1_ = least(blocks * (share.part + 1) / share.parts * grain, slot_.channels);
    }
  }

  Size channels() const { return c1_ - c0_; }
  Size n() const { return slot_.width * channels(); }  // neurons of a row

  // Bytes of a tile that are used again, if half of the channels have events.
  Size bytes(Size rows, Size steps) const {
    Size most = 0;
    for (const EventSynapse& s : step_.synapses) {
      if (s.channelwise) continue;
      const EventSlot& from = run_.program.slots[s.source];
      const Size looked_at = least((from.height * rows + s.rows.out - 1) / s.rows.out + s.rows.kernel, from.height);
      const Size lists = (steps + together_ - 1) / together_ * looked_at * from.width * s.inputs * (2 + 2 * together_);
      most = lists > most ? lists : most;
    }
    return most + rows * n() * steps * 4;
  }

  void tile(Size y0, Size y1, Size t0, Size t1) {
    const Size steps = t1 - t0;
    Size most = 0;
    for (const EventSynapse& s : step_.synapses) {
      if (s.channelwise) continue;
      const Size room = TileEvents(run_, s, y0, y1, t0, t1, together_).room();
      most = room > most ? room : most;
    }
    const Size currents = whole_lines(4 * (y1 - y0) * n() * steps), spikes = whole_lines(4 * n() * (steps + 3));
    const Size states = whole_lines(4 * S_ * n()), numbers = whole_lines(4 * kSlots * channels());
    char* at = event_scratch(currents + spikes + states + numbers + most);
    const auto take = [&](Size size) { return reinterpret_cast<float*>((at += size) - size); };
    currents_ = take(currents);
    spikes_ = take(spikes);
    own_states_ = take(states);
    numbers_ = take(numbers);
    bool begun = false;
    for (const EventSynapse& s : step_.synapses) {
      if (s.channelwise) continue;
      sum_events(s, TileEvents(run_, s, y0, y1, t0, t1, together_), at, y0, y1, t0, t1, begun);
      begun = true;
    }
    const bool still = step_.fires && is_still();
    const Size varying = still ? t0 + 1 : t1;
    for (Size y = y0; y < y1; ++y) {
      float* rows = currents_ + (y - y0) * n() * steps;
      if (!begun) fill_bias(rows, varying - t0);
      for (const EventSynapse& s : step_.synapses)
        if (s.channelwise) add_channels(s, y, t0, t1, rows);
      for (const int slot : step_.currents) add_currents(slot, y, t0, varying, rows);
      step_.fires ? fire(y, t0, t1, rows, still) : store(y, t0, t1, rows);
    }
  }

  // Whether neurons see the same at every step.
  bool is_still() const {
    bool same = step_.synapses.empty();
    for (const int slot : step_.currents) same = same && run_.program.slots[slot].held == Held::constant;
    return same;
  }

  struct Part {
    Size rows, cols;
  };

  // Taps that all outputs take before the next ones: events of few steps use a weight too seldom for it to come from
  // further away than the L1 cache.
  static Part part_of(const EventSynapse& s, int steps, Size bytes) {
    if (steps > 2 || s.shared || s.rows.kernel * s.cols.kernel * bytes <= kNearBytes)
      return {s.rows.kernel, s.cols.kernel};
    return {1, s.cols.kernel * bytes <= kNearBytes ? s.cols.kernel : 1};
  }

  // The first synapse starts from the bias, others from what is there.
  void sum_events(const EventSynapse& s, const TileEvents& tile, char* lists, Size y0, Size y1, Size t0, Size t1,
                  bool begun) const {
    const Size taps = s.shared ? 1 : s.rows.kernel * s.cols.kernel, tap = s.inputs * s.block;
    const Size size = s.type == Weights::f32 ? 4 : s.type == Weights::bf16 ? 2 : 1;
    for (Size g = 0; g < s.groups; ++g) {
      tile.list(lists, share_, g);
      for (Size b = c0_ / s.block; b < s.blocks() && b * s.block < c1_; ++b) {
        const Size channel = g * s.outputs + b * s.block;
        const char* weights = static_cast<const char*>(s.weights) + (g * s.blocks() + b) * taps * tap * size;
        alignas(64) float base[32] = {}, scales[32] = {};
        const Size count = least(s.outputs - b * s.block, s.block);
        for (Size i = 0; i < count; ++i) {
          base[i] = step_.bias ? step_.bias[channel + i] : 0.f;
          scales[i] = s.scales ? s.scales[channel + i] : 0.f;
        }
        tile.each(lists, [&](const Block& block, const Events& events) {
          const Summing sum = summing(s, block.steps);
          const Size below = (t1 - t0) * n(), each = s.shared ? 0 : tap;
          const Part part = part_of(s, block.steps, tap * size);
          for (Size ky = 0; ky < s.rows.kernel; ky += part.rows)
            for (Size kx = 0; kx < s.cols.kernel; kx += part.cols)
              for (Size y = y0; y < y1;) {
                const bool both = sum.two && y + 1 < y1, more = begun || ky || kx;
                const std::int32_t* look = s.rows.inputs + y * s.rows.kernel + ky;
                Taps at = {look,
                           look + s.rows.kernel,
                           s.cols.inputs + kx,
                           part.rows,
                           part.cols,
                           tile.first_row(),
                           run_.program.slots[s.source].width,
                           tap,
                           each};
                Landing to = {currents_ + (y - y0) * below + (block.first - t0) * n() + channel - c0_,
                              n(),
                              below,
                              t1 - block.first,
                              more ? nullptr : base,
                              s.scales ? scales : nullptr,
                              count};
                const char* own = weights + (ky * s.cols.kernel + kx) * each * size;
                for (Size x = 0; x < slot_.width; ++x, at.cols += s.cols.kernel, to.to += channels())
                  (both ? sum.two : sum.one)(at, events, own, to);
                y += both ? 2 : 1;
              }
        });
      }
    }
  }

  void fill_bias(float* rows, Size steps) const {
    for (Size i = 0; i < steps * slot_.width; ++i)
      for (Size c = 0; c < channels(); ++c) rows[i * channels() + c] = step_.bias ? step_.bias[c0_ + c] : 0.f;
  }

  void add_channels(const EventSynapse& s, Size y, Size t0, Size t1, float* rows) const {
    const EventSlot& from = run_.program.slots[s.source];
    const Size begin = s.to > c0_ ? s.to : c0_, end = least(s.to + s.outputs, c1_);
    if (begin >= end) return;
    const std::int32_t* words = share_.of<const std::int32_t>(run_, s.source) + s.first + begin - s.to;
    const auto* weights = static_cast<const float*>(s.weights) + begin - s.to;
    for (Size x = 0; x < slot_.width; ++x)
      for (Size ky = 0; ky < s.rows.kernel; ++ky)
        for (Size kx = 0; kx < s.cols.kernel; ++kx) {
          const Size row = s.rows.at(y, ky), column = s.cols.at(x, kx);
          if (row < 0 || column < 0) continue;
          const std::int32_t* cell = words + row * from.row() + column * from.channels;
          const float* tap = weights + (s.shared ? 0 : ky * s.cols.kernel + kx) * s.outputs;
          for (Size t = t0; t < t1; ++t)
            add_counts(rows + (t - t0) * n() + x * channels() + begin - c0_, cell + t / 4 * from.cells(), tap,
                       static_cast<int>(t % 4), end - begin);
        }
  }

  void add_currents(int number, Size y, Size t0, Size t1, float* rows) const {
    const EventSlot& from = run_.program.slots[number];
    const auto* base = share_.of<const float>(run_, number) + y * from.row() + c0_;
    for (Size t = t0; t < t1; ++t) {
      const float* step = base + (from.held == Held::currents ? t : 0) * from.cells();
      float* to = rows + (t - t0) * n();
      if (channels() == slot_.channels) {
        add_floats(to, step, n());
        continue;
      }
      for (Size x = 0; x < slot_.width; ++x) add_floats(to + x * channels(), step + x * slot_.channels, channels());
    }
  }

  void store(Size y, Size t0, Size t1, const float* rows) const {
    auto* base = share_.of<float>(run_, step_.target) + y * slot_.row() + c0_;
    for (Size t = t0; t < t1; ++t)
      for (Size x = 0; x < slot_.width; ++x)
        copy(base + t * slot_.cells() + x * slot_.channels, rows + ((t - t0) * slot_.width + x) * channels(),
             channels());
  }

  // Neurons of a row, for all steps; states lie by rows [S, width, channels]. still: x is one step, for all.
  void fire(Size y, Size t0, Size t1, const float* rows, bool still) {
    const bool whole = channels() == slot_.channels;
    float* states = states_ + y * S_ * slot_.row();
    float* own = whole ? states : own_states_;
    if (run_.fresh && t0 == 0) start(y, states);
    if (!whole) move_states<false>(states);
    if (EventFire::is(step_.spec, !step_.coefficients)) {
      auto* words = share_.of<std::int32_t>(run_, step_.target) + t0 / 4 * slot_.cells() + y * slot_.row();
      auto* to = whole ? words : reinterpret_cast<std::int32_t*>(spikes_);
      const Size apart = whole ? slot_.cells() : n();
      EventFire(step_.spec).run(rows, still ? 0 : n(), t1 - t0, own, own + n(), to, apart, n());
      if (!whole) move_words(words, to, (t1 - t0 + 3) / 4);
    } else {
      ForwardArgs args = {};
      args.spec = step_.spec;
      args.T = t1 - t0;
      args.n = n();
      args.interval = 1;
      args.constant = still;
      args.x = rows;
      args.s = spikes_;
      if (step_.coefficients) args.coefficients = {coefficients(whole), 1, channels(), 1};
      args.states = args.last = own;
      multistep_fwd(args, 1, false);
      emit(y, t0, t1);
    }
    if (!whole) move_states<true>(states);
  }

  // A row's states before the first step, of the channels of this share.
  void start(Size y, float* states) const {
    for (Size i = 0; i < S_ * slot_.width; ++i) {
      float* to = states + i * slot_.channels;
      const bool potential = i < slot_.width;
      if (potential && step_.starts > 1) {
        const Size cell = step_.starts > slot_.channels ? y * slot_.width + i : 0;
        copy(to + c0_, step_.start + cell * slot_.channels + c0_, channels());
      } else {
        fill_floats(to + c0_, potential ? *step_.start : 0.f, channels());
      }
    }
  }

  // Words of a share of the channels, to the image's.
  void move_words(std::int32_t* to, const std::int32_t* from, Size count) const {
    for (Size k = 0; k < count; ++k)
      for (Size x = 0; x < slot_.width; ++x)
        for (Size c = 0; c < channels(); ++c)
          to[k * slot_.cells() + x * slot_.channels + c0_ + c] = from[k * n() + x * channels() + c];
  }

  const float* coefficients(bool whole) const {
    if (whole) return step_.coefficients;
    int count = 0;
    for (const int row : step_.spec.rows) count += row >= 0;
    for (int p = 0; p < count; ++p)
      copy(numbers_ + p * channels(), step_.coefficients + p * slot_.channels + c0_, channels());
    return numbers_;
  }

  // States of a share of the channels, from the image's or back.
  template <bool Back>
  void move_states(float* states) const {
    for (Size i = 0; i < S_ * slot_.width; ++i) {
      float *there = states + i * slot_.channels + c0_, *here = own_states_ + i * channels();
      Back ? copy(there, here, channels()) : copy(here, there, channels());
    }
  }

  void emit(Size y, Size t0, Size t1) {
    auto* base = share_.of<std::int32_t>(run_, step_.target) + y * slot_.row();
    const Size m = n(), together = channels() == slot_.channels ? m : channels();
    for (Size i = 0; i < m; ++i) currents_[i] = 0.f;  // its row is used up: steps that are not there
    for (Size t = t0; t < t1; t += 4) {
      const float* steps[4];
      for (Size j = 0; j < 4; ++j) steps[j] = t + j < t1 ? spikes_ + (t + j - t0) * m : currents_;
      for (Size i = 0; i < m; i += together) {
        pack_words(base + t / 4 * slot_.cells() + i / together * slot_.channels + c0_, steps, together);
        for (const float*& step : steps) step += together;
      }
    }
  }

  const EventRun& run_;
  const EventStep& step_;
  const EventSlot& slot_;
  const EventShare& share_;
  const Size T_;
  const int together_;
  const Size S_;
  float* states_;
  Size y0_, y1_, c0_, c1_;
  float *currents_, *spikes_, *own_states_, *numbers_;
};

}  // namespace

void event_step(const EventRun& run, const EventShare& share) {
  const EventStep& step = run.program.steps[run.numbers[share.index]];
  if (step.pooling == EventPooling::none) return EventLayer(run, share).all();
  EventPool pool(run, share);
  const Size height = run.program.slots[step.target].height;
  if (share.parts > 1 && pool.counts() && !pool.apart()) return share.part ? void() : pool.rows(0, height);
  pool.rows(height * share.part / share.parts, height * (share.part + 1) / share.parts);
}

}  // namespace SNN_ISA
}  // namespace snn
