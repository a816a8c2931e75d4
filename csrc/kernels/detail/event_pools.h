// Pools of counts, channels last: words in, words out.
#pragma once

#include <cstdint>

#include "kernels/detail/event_lists.h"
#include "kernels/events.h"

namespace snn {
inline namespace SNN_ISA {

SNN_HD std::int32_t count_of(std::int32_t word, int step) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(word) << (24 - 8 * step)) >> 24;
}

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
  const int shift = 24 - 8 * step;
  for (Size i = 0; i < n; ++i)
    running[i] += static_cast<std::int32_t>(static_cast<std::uint32_t>(words[i]) << shift) >> 24;
}

SNN_LOOP raise(std::int32_t* __restrict__ top, const std::int32_t* __restrict__ running, Size n) {
  for (Size i = 0; i < n; ++i) top[i] = running[i] > top[i] ? running[i] : top[i];
}

// The cell with the largest running count, of equal ones the most spikes of the step.
SNN_LOOP win(std::int32_t* __restrict__ top, std::int32_t* __restrict__ won, const std::int32_t* __restrict__ running,
             const std::int32_t* __restrict__ words, int step, Size n) {
  const int shift = 24 - 8 * step;
  for (Size i = 0; i < n; ++i) {
    const std::int32_t now = static_cast<std::int32_t>(static_cast<std::uint32_t>(words[i]) << shift) >> 24;
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
    const bool plain = step_.pooling == EventPooling::max || step_.pooling == EventPooling::sum;
    if (y0 == y1) return;
    const Size first = y0 ? map_.rows.at(y0, 0) : 0, end = y1 < to_.height ? map_.rows.at(y1, 0) : from_.height;
    const Size own = (end - first) * from_.row();
    if (fresh_ && !plain)
      for (Size i = 0; i < own; ++i) running_[first * from_.row() + i] = 0;
    for (Size y = y0; y < y1; ++y)
      for (Size x = 0; x < to_.width; ++x) plain ? fold(y, x) : compare(y, x);
    if (plain) return;
    for (Size t = 0; t < T_; ++t)
      count_words(running_ + first * from_.row(), words(t) + first * from_.row(), t % 4, own);
  }

  // Whether no cell belongs to windows of two rows, nor lies in front of them.
  bool apart() const {
    const EventAxis& rows = map_.rows;
    for (Size y = 0; y < rows.out; ++y)
      if (rows.at(y, 0) < 0 || (y && rows.at(y, 0) <= rows.at(y - 1, rows.kernel - 1))) return false;
    return true;
  }

 private:
  const std::int32_t* words(Size t) const { return words_ + t / 4 * from_.cells(); }

  // f(cell) for the cells of a window, their place in the source.
  template <class F>
  void window(Size y, Size x, F&& f) const {
    for (Size ky = 0; ky < map_.rows.kernel; ++ky)
      for (Size kx = 0; kx < map_.cols.kernel; ++kx) {
        const Size row = map_.rows.at(y, ky), column = map_.cols.at(x, kx);
        if (row >= 0 && column >= 0) f(row * from_.row() + column * from_.channels);
      }
  }

  void fold(Size y, Size x) {
    const auto run = step_.pooling == EventPooling::max ? fold_bytes<true> : fold_bytes<false>;
    for (Size t = 0; t < T_; t += 4) {
      std::int32_t* to = out_ + t / 4 * to_.cells() + y * to_.row() + x * to_.channels;
      bool begin = true;
      window(y, x, [&](Size cell) {
        run(reinterpret_cast<std::int8_t*>(to), reinterpret_cast<const std::int8_t*>(words(t) + cell), 4 * to_.channels,
            begin);
        begin = false;
      });
    }
  }

  void compare(Size y, Size x) {
    const Size n = to_.channels, cells = map_.rows.kernel * map_.cols.kernel;
    auto* running = reinterpret_cast<std::int32_t*>(event_scratch(sizeof(std::int32_t) * n * (cells + 2)));
    std::int32_t *top = running + cells * n, *before = top + n;
    Size k = 0;
    window(y, x, [&](Size cell) {
      for (Size i = 0; i < n; ++i) running[k * n + i] = running_[cell + i];
      k ? raise(before, running + k * n, n) : copy_counts(before, running, n);
      ++k;
    });
    const bool lateral = step_.pooling == EventPooling::lateral;
    for (Size t = 0; t < T_; ++t) {
      std::int32_t* to = out_ + t / 4 * to_.cells() + y * to_.row() + x * n;
      if (t % 4 == 0)
        for (Size i = 0; i < n; ++i) to[i] = 0;
      k = 0;
      window(y, x, [&](Size cell) {
        std::int32_t* own = running + k * n;
        count_words(own, words(t) + cell, t % 4, n);
        if (lateral) {
          k ? raise(top, own, n) : copy_counts(top, own, n);
        } else if (k) {
          win(top, before, own, words(t) + cell, t % 4, n);
        } else {
          copy_counts(top, own, n);
          for (Size i = 0; i < n; ++i) before[i] = count_of(words(t)[cell + i], t % 4);
        }
        ++k;
      });
      put_step(to, lateral ? top : before, lateral ? before : nullptr, t % 4, n);
      if (lateral) copy_counts(before, top, n);
    }
  }

  static void copy_counts(std::int32_t* to, const std::int32_t* from, Size n) {
    for (Size i = 0; i < n; ++i) to[i] = from[i];
  }

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
