// The pools of one instruction set: part by part of the planes, all steps of one while its counts are in the cache.
#include "kernels/detail/isa.h"
#include "kernels/detail/phases.h"
#include "kernels/detail/tiles.h"
#include "math/pool.h"

namespace snn {
inline namespace SNN_ISA {
namespace {

#define SNN_LOOP __attribute__((noinline))  // tests look at its machine code

// The best cell of each window so far: its key, its value, which tap it is.
struct Best {
  float *key, *value, *tap;
};

// Takes the taps first .. first + Taps of windows 0 .. n into account; Taps = 1 goes on from what is there, others
// begin. Values: keys are counts, `values` the cells that they belong to. Which: it is asked which tap won.
template <int Taps, class Values, class Which>
SNN_LOOP void fold_row(const Best& best, const float* keys, const float* values, const Size* taps, Size first, Size n) {
  float* __restrict__ top = best.key, * __restrict__ held = best.value, * __restrict__ which = best.tap;
  const float *key[Taps], *value[Taps];
  for (int k = 0; k < Taps; ++k) {
    key[k] = keys + taps[first + k];
    value[k] = values + taps[first + k];
  }
  constexpr int kBegin = Taps > 1;
#pragma GCC ivdep  // what is written is not what is read
  for (Size i = 0; i < n; ++i) {
    float m = kBegin ? key[0][i] : top[i], v = 0.f, at = 0.f;
    if (Values()) v = kBegin ? value[0][i] : held[i];
    if (Which() && !kBegin) at = which[i];
#pragma GCC unroll 16  // or the loop over windows is no innermost one, and no vector loop
    for (int k = kBegin; k < Taps; ++k) {
      const float c = key[k][i], x = Values() ? value[k][i] : 0.f;
      const bool won = Values() ? wins(c, x, m, v) : wins(c, m);
      m = select(won, c, m);
      if (Values()) v = select(won, x, v);
      if (Which()) at = select(won, static_cast<float>(first + k), at);
    }
    top[i] = m;
    if (Values()) held[i] = v;
    if (Which()) which[i] = at;
  }
}

template <class Values, class Which>
void fold(const Best& best, const float* keys, const float* values, const Size* taps, Size count, Size n) {
  if (count == 4) return fold_row<4, Values, Which>(best, keys, values, taps, 0, n);
  if (count == 9) return fold_row<9, Values, Which>(best, keys, values, taps, 0, n);
  copy(best.key, keys + taps[0], n);
  if (Values()) copy(best.value, values + taps[0], n);
  if (Which())
    for (Size i = 0; i < n; ++i) best.tap[i] = 0.f;
  for (Size k = 1; k < count; ++k) fold_row<1, Values, Which>(best, keys, values, taps, k, n);
}

template <class Which>
void fold(const PoolArgs& args, const Best& best, const float* counts, const float* x, const Size* taps, Size n) {
  if (args.mode == Pooling::spike_max) return fold<Yes, Which>(best, counts, x, taps, args.taps(), n);
  fold<No, Which>(best, args.counts() ? counts : x, x, taps, args.taps(), n);
}

// counts += sign * spikes of x.
SNN_LOOP void count_row(float* __restrict__ counts, const float* __restrict__ x, float sign, float worth, Size n) {
  const Divisor scale(worth);
  for (Size i = 0; i < n; ++i) counts[i] += sign * spikes_of(x[i], scale);
}

SNN_LOOP void growth_row(float* __restrict__ before, const float* __restrict__ top, float scale, Size n) {
  for (Size i = 0; i < n; ++i) before[i] = (top[i] - before[i]) * scale;
}

SNN_LOOP void minus_row(float* __restrict__ d, const float* __restrict__ a, const float* __restrict__ b, Size n) {
  for (Size i = 0; i < n; ++i) d[i] = a[i] - b[i];
}

SNN_LOOP void scale_row(float* values, float by, Size n) {
  for (Size i = 0; i < n; ++i) values[i] *= by;
}

void fill(float* values, float with, Size n) {
  for (Size i = 0; i < n; ++i) values[i] = with;
}

// To the cell that won each window, its gradient. Add: windows overlap, or there is something already.
template <class Add>
SNN_LOOP void scatter_row(float* __restrict__ to, const float* __restrict__ which, const float* __restrict__ grad,
                          float tap, Size n) {
  for (Size i = 0; i < n; ++i) to[i] = select(which[i] == tap, grad[i], 0.f) + (Add() ? to[i] : 0.f);
}

constexpr float kNever = -__builtin_inff();  // the key of padding

// What both directions do with the planes of a part, in the scratch memory of a thread.
class Worker {
 public:
  Worker(const PoolArgs& args, const Phases& phases, const Size* taps, float* scratch)
      : args_(args),
        p_(phases),
        taps_(taps),
        mover_(args, phases, scratch),
        x_{const_cast<void*>(args.x), args.dtype, false} {
    scratch += args.cols.size;
    counts_ = next(scratch, p_.total);
    values_ = next(scratch, p_.total);
    grads_ = next(scratch, p_.total);
    best_.key = next(scratch, p_.windows);
    best_.value = next(scratch, p_.windows);
    best_.tap = next(scratch, p_.windows);
    before_ = next(scratch, p_.windows);
    grad_ = next(scratch, p_.windows);
    after_ = next(scratch, p_.windows);
  }
  static Size floats(const PoolArgs& args, const Phases& p) { return args.cols.size + 3 * p.total + 6 * p.windows; }

  void forward(const PoolForwardArgs& args, const Part& part) {
    const Row out = {args.out, args.dtype, false};
    start(args.state, part);
    if (args.mode == Pooling::lateral && args.state)
      fold<No>(args, {before_, nullptr, nullptr}, counts_, values_, taps_, p_.windows);
    else
      fill(before_, 0.f, p_.windows);
    for (Size t = 0; t < args.T; ++t) {
      mover_.load_cells(x_, t * args.cells(), part, values_);
      if (args.counts()) count_row(counts_, values_, 1.f, args.scale, p_.total);
      fold<No>(args, best_, counts_, values_, taps_, p_.windows);
      mover_.save_windows(emitted(args), part, out, t * args.outputs());
    }
    if (args.last) mover_.save_cells(counts_, part, {args.last, Dtype::f32, false}, 0);
  }

  void backward(const PoolBackwardArgs& args, const Part& part) {
    const Row grad = {const_cast<void*>(args.grad), args.dtype, false}, grad_x = {args.grad_x, args.dtype, false};
    const bool lateral = args.mode == Pooling::lateral;
    start(args.last, part);
    fill(grad_, 0.f, p_.windows);
    fill(after_, 0.f, p_.windows);
    fill(grads_, 0.f, p_.total);
    if (args.grad_last) {
      mover_.load_cells({const_cast<float*>(args.grad_last), Dtype::f32, false}, 0, part, grads_);
      scale_row(grads_, 1.f / args.scale, p_.total);
    }
    for (Size t = args.T - 1; t >= 0; --t) {
      mover_.load_cells(x_, t * args.cells(), part, values_);
      mover_.load_windows(grad, t * args.outputs(), part, grad_);
      if (!lateral && !apart(args)) fill(grads_, 0.f, p_.total);
      scatter(args, lateral);
      mover_.save_cells(grads_, part, grad_x, t * args.cells());
      if (args.counts()) count_row(counts_, values_, -1.f, args.scale, p_.total);
    }
    if (!args.grad_state) return;
    fill(grad_, 0.f, p_.windows);
    scatter(args, true);
    scale_row(grads_, args.scale, p_.total);
    mover_.save_cells(grads_, part, {args.grad_state, Dtype::f32, false}, 0);
  }

 private:
  static float* next(float*& scratch, Size n) {
    float* here = scratch;
    scratch += n;
    return here;
  }

  // Counts before the first or after the last step.
  void start(const float* from, const Part& part) {
    if (!args_.counts()) return fill(values_, kNever, p_.total);
    fill(counts_, kNever, p_.total);
    fill(values_, 0.f, p_.total);
    if (from)
      mover_.load_cells({const_cast<float*>(from), Dtype::f32, false}, 0, part, counts_);
    else
      mover_.clear_cells(part, counts_);
  }

  // Whether each cell is the same tap of all windows that it may be in: of one window then.
  static bool apart(const PoolArgs& a) {
    const bool dense = a.rows.dilation == 1 && a.cols.dilation == 1;
    return dense && a.rows.kernel <= a.rows.stride && a.cols.kernel <= a.cols.stride;
  }

  // What the windows let through in a step.
  const float* emitted(const PoolArgs& args) {
    if (args.mode == Pooling::plain) return best_.key;
    if (args.mode == Pooling::spike_max) return best_.value;
    growth_row(before_, best_.key, args.scale, p_.windows);
    float* out = before_;
    before_ = best_.key;
    best_.key = out;
    return out;
  }

  // Adds to the cells' gradients: that of the step, minus that of the step behind it.
  void scatter(const PoolArgs& args, bool lateral) {
    fold<Yes>(args, best_, counts_, values_, taps_, p_.windows);
    float* grad = grad_;
    if (lateral) {
      minus_row(best_.key, grad_, after_, p_.windows);
      grad = best_.key;
    }
    const auto row = lateral || !apart(args) ? scatter_row<Yes> : scatter_row<No>;
    for (Size k = 0; k < args.taps(); ++k) row(grads_ + taps_[k], best_.tap, grad, static_cast<float>(k), p_.windows);
    float* swap = after_;
    after_ = grad_;
    grad_ = swap;
  }

  const PoolArgs& args_;
  const Phases& p_;
  const Size* taps_;
  Mover mover_;
  Row x_;
  Best best_;
  float *counts_, *values_, *grads_, *before_, *grad_, *after_;
};

// How the planes are divided: into parts of `group` planes, or of `width` channels, the last of them narrower.
struct Division {
  Size group, width, parts, narrow;

  Division(const PoolArgs& a, int threads) : group(1), width(1) {
    constexpr Size kCells = 4096, kStep = 64;  // floats of a part: with its gradients it stays in the L2 cache
    const Size cells = Phases(a, 1, 1).total, share = (a.outer + threads - 1) / threads;
    if (a.inner == 1) {
      group = clamp(kCells / cells, 1, share);
      parts = (a.outer + group - 1) / group;
      narrow = 1;
    } else {
      width = clamp(kCells / cells / kStep * kStep, kStep, a.inner);
      parts = a.outer * pieces(a);
      narrow = a.inner - (pieces(a) - 1) * width;
    }
  }
  Part part(const PoolArgs& a, Size i) const {
    if (a.inner > 1) return {i / pieces(a), i % pieces(a) * width, 1};
    return {i * group, 0, clamp(a.outer - i * group, 0, group)};
  }
  Size pieces(const PoolArgs& a) const { return (a.inner + width - 1) / width; }
  static Size clamp(Size value, Size least, Size most) {
    value = value < least ? least : value;
    return value < most ? value : most;
  }
};

// f(worker, part) for all parts, on threads that have scratch memory of their own.
template <class F>
void run(const PoolArgs& args, int threads, const F& f) {
  const Division division(args, threads);
  const Phases sizes[2] = {Phases(args, division.group, division.width), Phases(args, division.group, division.narrow)};
  Size* taps = new Size[2 * args.taps()];
  for (int kind = 0; kind < 2; ++kind)
    for (Size k = 0; k < args.taps(); ++k) taps[kind * args.taps() + k] = sizes[kind].tap(args, k);
  const Size share = (division.parts + threads - 1) / threads, floats = Worker::floats(args, sizes[0]);
  float* scratch = new float[threads * floats];
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (threads > 1)
  for (int thread = 0; thread < threads; ++thread) {
    const Size end = Division::clamp((thread + 1) * share, 0, division.parts);
    for (Size i = thread * share; i < end; ++i) {
      const Part part = division.part(args, i);
      const bool narrow = part.channel + division.width > args.inner;
      Worker worker(args, sizes[narrow], taps + narrow * args.taps(), scratch + thread * floats);
      f(worker, part);
    }
  }
  delete[] scratch;
  delete[] taps;
}

}  // namespace

void pool_fwd(const PoolForwardArgs& args, int threads) {
  run(args, threads, [&](Worker& worker, const Part& part) { worker.forward(args, part); });
}

void pool_bwd(const PoolBackwardArgs& args, int threads) {
  if (is_tiled(args)) return tile_backward(args, threads);
  run(args, threads, [&](Worker& worker, const Part& part) { worker.backward(args, part); });
}

}  // namespace SNN_ISA
}  // namespace snn
