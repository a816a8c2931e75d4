// The moments of one instruction set: sums of deviations from a number near the mean, and of their squares.
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "kernels/detail/isa.h"
#include "kernels/detail/numbers.h"
#include "kernels/detail/rows.h"

namespace snn {
inline namespace SNN_ISA {
namespace {

constexpr Size kLanes = 64;       // sums of a run of neurons in float32, as many at once
constexpr Size kRun = 4096;       // at most, before they are added up in double
constexpr Size kLongRun = 1024;   // of a channel: from here on row by row, which reads memory in its order
constexpr Size kRowsAtOnce = 64;  // else column by column: rows before sums go to double
constexpr Size kColumns = 512;

// Sums of x - origin and of its square over a run of one channel.
SNN_LOOP run_sums(const SNN_ROW x, float origin, double* first, double* second, Size count) {
  alignas(64) float sum[kLanes] = {}, square[kLanes] = {};
  Size j = 0;
  for (; j + kLanes <= count; j += kLanes)
    for (Size q = 0; q < kLanes; ++q) {
      const float d = x[j + q] - origin;
      sum[q] += d;
      square[q] += d * d;
    }
  for (Size q = 0; j + q < count; ++q) {
    const float d = x[j + q] - origin;
    sum[q] += d;
    square[q] += d * d;
  }
  double a = 0, b = 0;
  for (Size q = 0; q < kLanes; ++q) {
    a += static_cast<double>(sum[q]);
    b += static_cast<double>(square[q]);
  }
  *first += a;
  *second += b;
}

// The same of each neuron of a row.
SNN_LOOP column_sums(const SNN_ROW x, const SNN_ROW origin, SNN_ROW sum, SNN_ROW square, Size count) {
  for (Size j = 0; j < count; ++j) {
    const float d = x[j] - origin[j];
    sum[j] += d;
    square[j] += d * d;
  }
}

struct Moments {
  double *first, *second;  // [channels]
};

// Runs of one channel in neurons lo .. lo + m of a row.
void add_runs(const MomentsArgs& args, const Row& x, Size offset, Size lo, Size m, const float* origin, Moments to) {
  alignas(64) float buffer[kRun];
  const Coefficients channels = {nullptr, 1, args.channels, args.inner};
  for_channels(channels, lo, m, [&](Size channel, Size j, Size count) {
    for (Size k = 0; k < count; k += kRun) {
      const Size run = count - k < kRun ? count - k : kRun;
      run_sums(x.read(offset + lo + j + k, run, buffer), origin[channel], to.first + channel, to.second + channel, run);
    }
  });
}

// Columns lo .. lo + m of rows first .. last of [rows, channels * inner].
void add_columns(const MomentsArgs& args, const Row& x, Size first, Size last, Size lo, Size m, const float* origin,
                 Moments to) {
  alignas(64) float near[kPiece], sum[kPiece] = {}, square[kPiece] = {}, buffer[kPiece];
  const Coefficients channels = {nullptr, 1, args.channels, args.inner};
  fill_channels(channels, origin, lo, m, near);
  for (Size row = first; row < last; ++row)
    column_sums(x.read(row * args.channels * args.inner + lo, m, buffer), near, sum, square, m);
  for_channels(channels, lo, m, [&](Size channel, Size j, Size count) {
    const bool each = one_channel_each(channels);
    for (Size q = 0; q < count; ++q) {
      to.first[channel + (each ? q : 0)] += static_cast<double>(sum[j + q]);
      to.second[channel + (each ? q : 0)] += static_cast<double>(square[j + q]);
    }
  });
}

// A number near the mean of each channel: that of its first few neurons in the first row.
void find_origin(const MomentsArgs& args, const Row& x, float* origin) {
  for (Size c = 0; c < args.channels; ++c) {
    const Size count = args.inner < kLanes ? args.inner : kLanes;
    alignas(64) float buffer[kLanes];
    const float* row = x.read(args.channels == 1 ? 0 : c * args.inner, count, buffer);
    double sum = 0;
    for (Size j = 0; j < count; ++j) sum += static_cast<double>(row[j]);
    const float mean = static_cast<float>(sum / static_cast<double>(count));
    origin[c] = mean - mean == 0.f ? mean : 0.f;
  }
}

SNN_LOOP line_row(SNN_ROW to, const SNN_ROW x, const SNN_ROW slope, const SNN_ROW start, Size count) {
  for (Size j = 0; j < count; ++j) to[j] += slope[j] * x[j] + start[j];
}

}  // namespace

void moments(const MomentsArgs& args, int threads, float* origin, double* sums) {
  const Row x = {const_cast<void*>(args.x), args.dtype, false};
  find_origin(args, x, origin);
  const bool runs = args.inner >= kLongRun;
  // Pieces of the rows [n], or of those [channels * inner], in groups of rows.
  const Size length = runs ? args.n : args.channels * args.inner, size = runs ? 16 * kRun : kPiece;
  const Size pieces = (length + size - 1) / size, rows = args.T * args.n / length, group = runs ? 1 : kRowsAtOnce;
  const Size groups = (rows + group - 1) / group;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
#if defined(_OPENMP)
    const int thread = omp_get_thread_num();
#else
    const int thread = 0;
#endif
    const Moments own = {sums + thread * 2 * args.channels, sums + (thread * 2 + 1) * args.channels};
#pragma omp for schedule(static) nowait
    for (Size i = 0; i < groups * pieces; ++i) {
      const Size lo = i % pieces * size, m = length - lo < size ? length - lo : size, row = i / pieces * group;
      if (runs)
        add_runs(args, x, row * args.n, lo, m, origin, own);
      else
        add_columns(args, x, row, row + group < rows ? row + group : rows, lo, m, origin, own);
    }
  }
}

void add_line(const AddLineArgs& args, int threads) {
  const Coefficients channels = {nullptr, 1, args.channels, args.inner};
  const Size length = args.channels * args.inner, rows = args.T * args.n / length;
  const Size pieces = (length + kColumns - 1) / kColumns;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
  for (Size i = 0; i < pieces; ++i) {
    alignas(64) float slope[kColumns], start[kColumns];
    const Size lo = i * kColumns, m = length - lo < kColumns ? length - lo : kColumns;
    fill_channels(channels, args.line, lo, m, slope);
    fill_channels(channels, args.line + args.channels, lo, m, start);
    for (Size row = 0; row < rows; ++row)
      line_row(args.to + row * length + lo, args.x + row * length + lo, slope, start, m);
  }
}

}  // namespace SNN_ISA
}  // namespace snn
