// A group of planes in scratch memory, split by the strides of a pool.
#pragma once

#include "kernels/detail/rows.h"
#include "kernels/pool.h"

namespace snn {
inline namespace SNN_ISA {

using Size = std::int64_t;

// Every second number apart, and back together: kPairs at a time, the last of them once more where they do not divide.
constexpr Size kPairs = 8;

inline void unzip_few(float* __restrict__ a, float* __restrict__ b, const float* __restrict__ from, Size n) {
  for (Size j = 0; j < n; ++j) {
    a[j] = from[2 * j];
    b[j] = from[2 * j + 1];
  }
}
inline void zip_few(float* __restrict__ to, const float* __restrict__ a, const float* __restrict__ b, Size n) {
  for (Size j = 0; j < n; ++j) {
    to[2 * j] = a[j];
    to[2 * j + 1] = b[j];
  }
}
inline void unzip(float* a, float* b, const float* from, Size n) {
  if (n < kPairs) return unzip_few(a, b, from, n);
  for (Size j = 0; j < n; j += kPairs) {
    const Size k = j + kPairs <= n ? j : n - kPairs;
    unzip_few(a + k, b + k, from + 2 * k, kPairs);
  }
}
inline void zip(float* to, const float* a, const float* b, Size n) {
  if (n < kPairs) return zip_few(to, a, b, n);
  for (Size j = 0; j < n; j += kPairs) {
    const Size k = j + kPairs <= n ? j : n - kPairs;
    zip_few(to + 2 * k, a + k, b + k, kPairs);
  }
}
// n numbers of a tensor to and from float32.
inline void load(const Row& row, Size offset, Size n, float* to) {
  const float* from = row.read(offset, n, to);
  if (from != to) copy(to, from, n);
}
inline void save(const Row& row, Size offset, Size n, const float* from) {
  row.dtype == Dtype::f32 ? copy(row.f32(offset), from, n) : row.write(offset, n, from);
}

// Cell (y, x) of a padded plane lies in phase (y % stride, x % stride) at (y / stride, x / stride), `group` planes one
// behind the other, `width` channels of channels-last planes together. So each tap, the cells that are the k-th of
// their windows, is one contiguous run over the windows of all planes, and loops over it vectorise, whatever the
// window and the layout are. Between the windows of two rows and of two planes stand some that nobody wants.
struct Phases {
  Size group, width, rows, cols, plane, phase, total, windows;

  Phases(const PoolArgs& a, Size planes, Size channels)
      : group(planes),
        width(channels),
        rows(length(a.rows)),
        cols(length(a.cols) * width),
        plane(rows * cols),
        phase(group * plane),
        total(phase * a.rows.stride * a.cols.stride),
        windows((group - 1) * plane + (a.rows.out - 1) * cols + a.cols.out * width) {}

  // Row y of the first padded plane, the columns of phase 0.
  Size row(const PoolArgs& a, Size y) const {
    return y % a.rows.stride * a.cols.stride * phase + y / a.rows.stride * cols;
  }
  Size tap(const PoolArgs& a, Size k) const {
    const Size x = k % a.cols.kernel * a.cols.dilation;
    return row(a, k / a.cols.kernel * a.rows.dilation) + x % a.cols.stride * phase + x / a.cols.stride * width;
  }
  static Size length(const Axis& a) {
    const Size held = a.padding + a.size, used = (a.out - 1) * a.stride + (a.kernel - 1) * a.dilation + 1;
    return ((held > used ? held : used) + a.stride - 1) / a.stride;
  }
};

// Planes first, first + 1, ... or, channels-last, channels channel, channel + 1, ... of plane first.
struct Part {
  Size first, channel, planes;
};

// Moves the planes of a part between tensors [outer, H, W, inner], which begin at `start`, and phases.
class Mover {
 public:
  Mover(const PoolArgs& args, const Phases& phases, float* row) : a_(args), p_(phases), row_(row) {}

  void load_cells(const Row& x, Size start, const Part& part, float* to) const {
    for_lines(part, [&](Size at, Size place) {
      float* line = to + at;
      if (a_.inner == 1)
        split(x.read(start + place, a_.cols.size, row_), line);
      else
        for_cells([&](Size at, Size cell) { load(x, start + place + cell, p_.width, line + at); });
    });
  }
  void save_cells(const float* from, const Part& part, const Row& x, Size start) const {
    for_lines(part, [&](Size at, Size place) {
      const float* line = from + at;
      if (a_.inner > 1)
        return for_cells([&](Size at, Size cell) { save(x, start + place + cell, p_.width, line + at); });
      float* row = x.target(start + place, row_);
      join(line, row);
      x.write(start + place, a_.cols.size, row);
    });
  }
  void clear_cells(const Part& part, float* to) const {
    for (Size j = 0; j < a_.cols.size; ++j) row_[j] = 0.f;
    for_lines(part, [&](Size at, Size) {
      float* line = to + at;
      if (a_.inner == 1) return split(row_, line);
      for_cells([&](Size at, Size) {
        for (Size c = 0; c < p_.width; ++c) line[at + c] = 0.f;
      });
    });
  }
  void load_windows(const Row& g, Size start, const Part& part, float* to) const {
    for_windows(part, [&](Size at, Size place, Size n) { load(g, start + place, n, to + at); });
  }
  void save_windows(const float* from, const Part& part, const Row& out, Size start) const {
    for_windows(part, [&](Size at, Size place, Size n) { save(out, start + place, n, from + at); });
  }

 private:
  // f(place in scratch, place in a tensor) for all rows of cells.
  template <class F>
  void for_lines(const Part& part, const F& f) const {
    const Size s = a_.rows.stride, jump = a_.cols.stride * p_.phase;
    Size place = part.first * a_.rows.size * a_.cols.size * a_.inner + part.channel;
    for (Size i = 0; i < part.planes; ++i) {
      Size phase = a_.rows.padding % s, at = i * p_.plane + p_.row(a_, a_.rows.padding);
      for (Size y = 0; y < a_.rows.size; ++y, place += a_.cols.size * a_.inner) {
        f(at, place);
        at += jump;
        if (++phase < s) continue;
        phase = 0;
        at += p_.cols - s * jump;
      }
    }
  }
  // f(plane in scratch, row, its place in a tensor) for all rows of windows.
  template <class F>
  void for_rows(const Part& part, Size rows, Size cols, const F& f) const {
    for (Size i = 0; i < part.planes; ++i)
      for (Size y = 0; y < rows; ++y)
        f(i * p_.plane, y, ((part.first + i) * rows + y) * cols * a_.inner + part.channel);
  }
  // f(place in a row of phases, place in a row of a tensor) for all cells of a channels-last row.
  template <class F>
  void for_cells(const F& f) const {
    for (Size p = 0; p < a_.cols.stride; ++p) {
      Size x = first(p), at = p * p_.phase + (x + a_.cols.padding) / a_.cols.stride * p_.width;
      for (; x < a_.cols.size; x += a_.cols.stride, at += p_.width) f(at, x * a_.inner);
    }
  }
  // f(place in scratch, place in a tensor, length) of runs of windows.
  template <class F>
  void for_windows(const Part& part, const F& f) const {
    const Size row = a_.cols.out * p_.width, whole = part.planes * a_.rows.out * row;
    const bool together = p_.width == a_.inner;
    if (together && p_.plane == a_.rows.out * row) return f(0, part.first * a_.rows.out * row, whole);
    for_rows(part, a_.rows.out, a_.cols.out, [&](Size plane, Size y, Size place) {
      const Size line = plane + y * p_.cols;
      if (together) return f(line, place, row);
      for (Size x = 0; x < a_.cols.out; ++x) f(line + x * p_.width, place + x * a_.inner, p_.width);
    });
  }
  // The first column of a phase.
  Size first(Size phase) const {
    const Size s = a_.cols.stride;
    return (phase + s - a_.cols.padding % s) % s;
  }

  void split(const float* row, float* line) const {
    const Size s = a_.cols.stride, pad = a_.cols.padding, n = a_.cols.size;
    if (s == 1) return copy(line + pad, row, n);
    if (s == 2) {
      const Size lead = pad % 2, half = (pad + lead) / 2, pairs = (n - lead) / 2;
      if (lead) line[p_.phase + pad / 2] = row[0];
      unzip(line + half, line + p_.phase + half, row + lead, pairs);
      if (lead + 2 * pairs < n) line[half + pairs] = row[n - 1];
      return;
    }
    for (Size p = 0; p < s; ++p) {
      float* to = line + p * p_.phase + (first(p) + pad) / s;
      for (Size x = first(p); x < n; x += s) *to++ = row[x];
    }
  }
  void join(const float* line, float* row) const {
    const Size s = a_.cols.stride, pad = a_.cols.padding, n = a_.cols.size;
    if (s == 1) return copy(row, line + pad, n);
    if (s == 2) {
      const Size lead = pad % 2, half = (pad + lead) / 2, pairs = (n - lead) / 2;
      if (lead) row[0] = line[p_.phase + pad / 2];
      zip(row + lead, line + half, line + p_.phase + half, pairs);
      if (lead + 2 * pairs < n) row[n - 1] = line[half + pairs];
      return;
    }
    for (Size p = 0; p < s; ++p) {
      const float* from = line + p * p_.phase + (first(p) + pad) / s;
      for (Size x = first(p); x < n; x += s) row[x] = *from++;
    }
  }

  const PoolArgs& a_;
  const Phases& p_;
  float* row_;
};

}  // namespace SNN_ISA
}  // namespace snn
