// Pools of counts, channels last: words in, words out.
#pragma once

#include <cstdint>
#include <utility>

#include "kernels/detail/event_lists.h"
#include "kernels/events.h"

namespace snn {
inline namespace SNN_ISA {

// The largest count, or the sum, of a window at every step: bytes of n words.
template <bool Largest>
SNN_LOOP fold_bytes(std::int8_t* __restrict__ to, const std::int8_t* __restrict__ from, Size n, bool begin) {
  if (begin) {
    for (Size i = 0; i < n; ++i) to[i] = from[i];
    return;
  }
  for (Size i = 0; i < n; ++i) {
    const std::int8_t more = Largest ? (from[i] > to[i] ? from[i] : to[i]) : static_cast<std::int8_t>(to[i] + from[i]);
    to[i] = more;
  }
}

// Adds step `step` of n words to running counts.
SNN_LOOP count_words(std::int32_t* __restrict__ running, const std::int32_t* __restrict__ words, int step, Size n) {
  for (Size i = 0; i < n; ++i) running[i] += count_of(words[i], step);
}

// The largest of running counts. begin: of these alone.
SNN_LOOP raise(std::int32_t* __restrict__ top, const std::int32_t* __restrict__ running, bool begin, Size n) {
  const std::int32_t least = begin ? INT32_MIN : 0, kept = begin ? 0 : -1;
  for (Size i = 0; i < n; ++i) {
    const std::int32_t before = (top[i] & kept) | least;
    top[i] = running[i] > before ? running[i] : before;
  }
}

// The cell with the largest running count, of equal ones the most spikes of the step.
SNN_LOOP win(std::int32_t* __restrict__ top, std::int32_t* __restrict__ won, const std::int32_t* __restrict__ running,
             const std::int32_t* __restrict__ words, int step, Size n) {
  for (Size i = 0; i < n; ++i) {
    const std::int32_t now = count_of(words[i], step);
    const bool better = (running[i] > top[i]) | ((running[i] == top[i]) & (now > won[i]));
    top[i] = better ? running[i] : top[i];
    won[i] = better ? now : won[i];
  }
}

SNN_LOOP put_step(std::int32_t* __restrict__ words, const std::int32_t* __restrict__ now,
                  const std::int32_t* __restrict__ before, int step, Size n) {
  for (Size i = 0; i < n; ++i) {
    const std::int32_t grown = before ? now[i] - before[i] : now[i];
    words[i] |= static_cast<std::int32_t>((static_cast<std::uint32_t>(grown) & 0xffu) << (8 * step));
  }
}

// One image of a pool. Running counts are of the source; windows that share cells leave the image to one thread.
class EventPool {
 public:
  EventPool(const EventRun& run, const EventShare& share)
      : step_(run.program.steps[run.numbers[share.index]]),
        map_(step_.synapses[0]),
        from_(run.program.slots[map_.source]),
        to_(run.program.slots[step_.target]),
        T_(run.T),
        words_(share.of<const std::int32_t>(run, map_.source)),
        out_(share.of<std::int32_t>(run, step_.target)),
        running_(share.state<std::int32_t>(run, from_.cells())),
        fresh_(run.fresh) {}

  void rows(Size y0, Size y1) {
    const bool plain = !counts();
    if (y0 == y1) return;
    const Size first = y0 ? map_.rows.at(y0, 0) : 0, end = y1 < to_.height ? map_.rows.at(y1, 0) : from_.height;
    const Size own = (end - first) * from_.row();
    if (fresh_ && !plain)
      for (Size i = 0; i < own; ++i) running_[first * from_.row() + i] = 0;
    for (Size y = y0; y < y1; ++y) plain ? fold(y) : compare(y);
    if (plain) return;
    for (Size t = 0; t < T_; ++t)
      count_words(running_ + first * from_.row(), words(t) + first * from_.row(), t % 4, own);
  }

  // Whether it keeps running counts.
  bool counts() const { return step_.pooling == EventPooling::lateral || step_.pooling == EventPooling::gated; }

  // Whether no cell belongs to windows of two rows, nor lies in front of them.
  bool apart() const {
    const EventAxis& rows = map_.rows;
    for (Size y = 0; y < rows.out; ++y)
      if (rows.at(y, 0) < 0 || (y && rows.at(y, 0) <= rows.at(y - 1, rows.kernel - 1))) return false;
    return true;
  }

 private:
  const std::int32_t* words(Size t) const { return words_ + t / 4 * from_.cells(); }

  Size taps() const { return map_.rows.kernel * map_.cols.kernel; }

  // What tap k of all windows of a row sees of one plane of the source, one behind the other; `none` where nothing is.
  void gather(const std::int32_t* plane, Size y, Size k, std::int32_t none, std::int32_t* to) const {
    const Size row = map_.rows.at(y, k / map_.cols.kernel), n = to_.channels;
    for (Size x = 0; x < to_.width; ++x) {
      const Size column = map_.cols.at(x, k % map_.cols.kernel);
      const bool there = row >= 0 && column >= 0;
      const std::int32_t* from = plane + row * from_.row() + column * n;
      for (Size i = 0; i < n; ++i) to[x * n + i] = there ? from[i] : none;
    }
  }

  void fold(Size y) {
    const bool largest = step_.pooling == EventPooling::max;
    const auto run = largest ? fold_bytes<true> : fold_bytes<false>;
    const auto lowest = static_cast<std::int32_t>(0x80808080u);
    const Size n = to_.row();
    auto* seen = reinterpret_cast<std::int32_t*>(event_scratch(sizeof(std::int32_t) * n));
    for (Size t = 0; t < T_; t += 4) {
      std::int32_t* to = out_ + t / 4 * to_.cells() + y * n;
      for (Size k = 0; k < taps(); ++k) {
        gather(words(t), y, k, largest ? lowest : 0, seen);
        run(reinterpret_cast<std::int8_t*>(to), reinterpret_cast<const std::int8_t*>(seen), 4 * n, k == 0);
      }
    }
  }

  void compare(Size y) {
    const Size n = to_.row(), cells = taps();
    auto* running = reinterpret_cast<std::int32_t*>(event_scratch(sizeof(std::int32_t) * n * (2 * cells + 2)));
    std::int32_t *seen = running + cells * n, *top = seen + cells * n, *before = top + n;
    for (Size k = 0; k < cells; ++k) {
      gather(running_, y, k, kNothing, running + k * n);
      raise(before, running + k * n, k == 0, n);
    }
    const bool lateral = step_.pooling == EventPooling::lateral;
    for (Size t = 0; t < T_; ++t) {
      const int step = static_cast<int>(t % 4);
      std::int32_t* to = out_ + t / 4 * to_.cells() + y * n;
      for (Size i = 0; i < n && !step; ++i) to[i] = 0;
      for (Size i = 0; i < n && !lateral; ++i) top[i] = kNothing, before[i] = INT32_MIN;
      for (Size k = 0; k < cells; ++k) {
        if (!step) gather(words(t), y, k, 0, seen + k * n);
        count_words(running + k * n, seen + k * n, step, n);
        lateral ? raise(top, running + k * n, k == 0, n) : win(top, before, running + k * n, seen + k * n, step, n);
      }
      put_step(to, lateral ? top : before, lateral ? before : nullptr, step, n);
      if (lateral) std::swap(top, before);
    }
  }

  static constexpr std::int32_t kNothing = -(1 << 30);  // below every running count

  const EventStep& step_;
  const EventSynapse& map_;
  const EventSlot &from_, &to_;
  const Size T_;
  const std::int32_t* words_;
  std::int32_t *out_, *running_;
  const bool fresh_;
};

}  // namespace SNN_ISA
}  // namespace snn
