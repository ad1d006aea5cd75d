// SPDX-License-Identifier: Apache-2.0
// own.pool.windows, own.adaptive_pool.windows: windows are lists of starts and counts per dim. Dense channels go together, position by position, or, where
// pixels are dense too and windows overlap, line by line: the lines of a window fold into one line, whose pixels fold into the outputs; those of bf16 go
// from memory to memory;
// otherwise the rows of a window fold into one row, whose columns fold into the outputs; with indices every output looks at its window.
// own.adaptive_pool.reduce: one position is a reduction.
#include <cmath>
#include <numeric>
#include <optional>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_functions.h"
#include "kernels/pointwise/tile_convert.h"
#include "kernels/pool/pool_windows.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kChannels = 256;

class WindowPool {
 public:
  /// indices: of the outputs' row-major places among the spatial dims of x.
  WindowPool(PoolWindows windows, const View& x, const View& out, std::optional<View> indices)
      : w_(std::move(windows)),
        x_(x),
        out_(out),
        index_(indices),
        spatial_(static_cast<int>(w_.dims.size())),
        lead_(x.rank - spatial_),
        load_(tile_load(x.dtype, DType::F32)),
        store_(tile_store(DType::F32, out.dtype)),
        x_bytes_(bits(x.dtype) / 8),
        out_bytes_(bits(out.dtype) / 8) {
    const int channel = lead_ - 1;
    channels_ = channel >= 0 && x.strides[channel] == 1 && out.strides[channel] == 1 && x.shape[channel] >= 8;
    const int skipped = channels_ ? channel : x.rank - 1;  // the dim inside of a task
    size_ = channels_ ? x.shape[channel] : x.shape[x.rank - 1];
    lines_ = channels_ && !index_ && in_place() && x.strides[x.rank - 1] == size_ && w_.dims.back().widest() > 1;
    short_ = channels_ && !index_ && x.dtype == DType::BF16 && out.dtype == DType::BF16;
    View tasks = out;
    tasks.shape[skipped] = std::min<int64_t>(1, out.shape[skipped]);
    if (lines_ || short_) tasks.shape[x.rank - 1] = std::min<int64_t>(1, out.shape[x.rank - 1]);
    tasks_ = {tasks.rank, tasks.shape, {}};
    units_ = tasks.numel();
    rows_ = 1;
    for (int d = 0; d < spatial_ - (channels_ ? 0 : 1); ++d) rows_ *= std::max<int64_t>(1, w_.dims[static_cast<size_t>(d)].widest());
    width_ = channels_ ? std::min(kChannels, size_) : size_;
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(out.numel() * rows_), std::max<int64_t>(1, units_)));
    const int64_t folded = lines_ ? size_ * x.shape[x.rank - 1] : width_;
    buffers_.resize(static_cast<size_t>(threads_));
    for (Buffer& b : buffers_) {
      b.rows.resize(static_cast<size_t>(rows_));
      b.places.resize(static_cast<size_t>(rows_));
      b.picks.resize(static_cast<size_t>(width_));
      b.folded.resize(static_cast<size_t>(folded));
      b.results.resize(static_cast<size_t>(std::max(lines_ ? size_ : width_, out.shape[out.rank - 1])));
      b.offsets.resize(static_cast<size_t>(rows_));
      if (!in_place()) b.loaded.resize(static_cast<size_t>(rows_ * width_));
    }
  }

  void operator()(void* const* ptr) {
    parallel_ranges(threads_, units_, [&](int thread, int64_t begin, int64_t end) {
      Odometer o = tasks_;
      o.seek(begin);
      for (int64_t n = begin; n < end; ++n, o.next()) {
        Buffer& b = buffers_[static_cast<size_t>(thread)];
        if (lines_) {
          run_line(ptr, b, o.index);
        } else if (short_) {
          run_short_line(ptr, b, o.index);
        } else if (channels_) {
          run_position(ptr, b, o.index);
        } else {
          run_row(ptr, b, o.index);
        }
      }
    });
  }

 private:
  struct Buffer {
    std::vector<const float*> rows;
    std::vector<int64_t> places;   // of the rows, among the dims that were collected
    std::vector<int64_t> offsets;  // of the positions of a window
    std::vector<int32_t> picks;    // rows with the largest value
    std::vector<float> loaded, folded, results;
  };
  bool in_place() const { return x_.dtype == DType::F32 && x_.strides[channels_ ? lead_ - 1 : x_.rank - 1] == 1; }
  const Windows::Entry& entry(int d, const Ix& o) const { return w_.dims[static_cast<size_t>(d)].entries[static_cast<size_t>(o[lead_ + d])]; }
  float divisor(const Ix& o, int dims) const {
    if (w_.kind == PoolKind::max) return 1;
    if (w_.divisor != 0) return static_cast<float>(w_.divisor);
    double product = 1;
    for (int d = 0; d < dims; ++d) product *= entry(d, o).share;
    return static_cast<float>(product);
  }

  // Pointers to `n` values of every window position of the first `dims` spatial dims; `first`: offset of the values along the dense dim.
  int64_t collect(const char* x, Buffer& b, const Ix& o, int dims, int64_t first, int64_t n) const {
    Odometer k{dims, {}, {}};
    int64_t count = 1, base = first;
    for (int d = 0; d < lead_; ++d) base += (channels_ && d == lead_ - 1 ? 0 : o[d]) * x_.strides[d];
    for (int d = 0; d < dims; ++d) {
      k.shape[d] = entry(d, o).count;
      count *= k.shape[d];
      base += entry(d, o).start * x_.strides[lead_ + d];
    }
    const int64_t dense = channels_ ? 1 : x_.strides[x_.rank - 1];
    for (int64_t i = 0; i < count; ++i, k.next()) {
      int64_t at = base, place = 0;
      for (int d = 0; d < dims; ++d) {
        const int64_t inside = k.index[d] * w_.dims[static_cast<size_t>(d)].step;
        at += inside * x_.strides[lead_ + d];
        place = place * x_.shape[lead_ + d] + entry(d, o).start + inside;
      }
      b.places[static_cast<size_t>(i)] = place;
      const char* from = x + at * x_bytes_;
      if (in_place()) {
        b.rows[static_cast<size_t>(i)] = reinterpret_cast<const float*>(from);
      } else {
        float* to = b.loaded.data() + i * width_;
        load_(Patch{from, n * dense, dense}, to, 1, n);
        b.rows[static_cast<size_t>(i)] = to;
      }
    }
    return count;
  }

  void run_position(void* const* ptr, Buffer& b, const Ix& o) const {
    const int64_t to = out_.offset(o);
    const float by = divisor(o, spatial_);
    for (int64_t c = 0; c < size_; c += kChannels) {
      const int64_t n = std::min(kChannels, size_ - c), count = collect(static_cast<const char*>(ptr[0]), b, o, spatial_, c, n);
      char* place = static_cast<char*>(ptr[1]) + (to + c) * out_bytes_;
      float* result = out_.dtype == DType::F32 ? reinterpret_cast<float*>(place) : b.results.data();
      if (index_) {
        pick(b, count, result, n);
        auto* index = static_cast<int64_t*>(ptr[2]) + index_->offset(o) + c * index_->strides[lead_ - 1];
        for (int64_t k = 0; k < n; ++k) index[k * index_->strides[lead_ - 1]] = count ? b.places[static_cast<size_t>(b.picks[static_cast<size_t>(k)])] : -1;
      } else {
        row_functions().pool(b.rows.data(), count, w_.kind == PoolKind::max, by, result, n);
      }
      if (out_.dtype != DType::F32) store_(result, Patch{place, n, 1}, 1, n);
    }
  }

  /// A line of outputs, at position 0 of `o`.
  void run_line(void* const* ptr, Buffer& b, Ix o) const {
    const bool max = w_.kind == PoolKind::max;
    const int last = out_.rank - 1;
    const int64_t count = collect(static_cast<const char*>(ptr[0]), b, o, spatial_ - 1, 0, size_);
    const float* line = count == 1 ? b.rows[0] : b.folded.data();
    if (count != 1) row_functions().pool(b.rows.data(), count, max, 1, b.folded.data(), size_ * x_.shape[last]);
    for (; o[last] < out_.shape[last]; ++o[last]) {
      const Windows::Entry& e = w_.dims.back().entries[static_cast<size_t>(o[last])];
      for (int64_t k = 0; k < e.count; ++k) b.rows[static_cast<size_t>(k)] = line + (e.start + k * w_.dims.back().step) * size_;
      char* place = static_cast<char*>(ptr[1]) + out_.offset(o) * out_bytes_;
      float* result = out_.dtype == DType::F32 ? reinterpret_cast<float*>(place) : b.results.data();
      row_functions().pool(b.rows.data(), e.count, max, divisor(o, spatial_), result, size_);
      if (out_.dtype != DType::F32) store_(result, Patch{place, size_, 1}, 1, size_);
    }
  }

  /// A line of outputs, at position 0 of `o`: bf16 channels, from memory to memory.
  void run_short_line(void* const* ptr, Buffer& b, Ix o) const {
    const int last = out_.rank - 1;
    const std::vector<Windows::Entry>& columns = w_.dims.back().entries;
    const auto* x = static_cast<const uint16_t*>(ptr[0]);
    for (int d = 0; d < lead_ - 1; ++d) x += o[d] * x_.strides[d];
    for (int d = 0; d + 1 < spatial_; ++d) x += entry(d, o).start * x_.strides[lead_ + d];
    auto* to = static_cast<uint16_t*>(ptr[1]) + out_.offset(o);
    int64_t count = 0;
    for (size_t i = 0; i < columns.size(); ++i, to += out_.strides[last]) {
      o[last] = static_cast<int64_t>(i);
      if (i == 0 || columns[i].count != columns[i - 1].count) count = window_offsets(o, b.offsets.data());
      const float by = divisor(o, spatial_);
      row_functions().pool_short(x + columns[i].start * x_.strides[last], b.offsets.data(), count, w_.kind == PoolKind::max, by, to, size_);
    }
  }

  /// Where the positions of a window lie, from its first; returns their number.
  int64_t window_offsets(const Ix& o, int64_t* offsets) const {
    int64_t count = 1;
    offsets[0] = 0;
    for (int d = 0; d < spatial_; ++d) {  // every position so far, moved along d; the last first, since they are read and written in one array
      const int64_t n = entry(d, o).count, step = w_.dims[static_cast<size_t>(d)].step * x_.strides[lead_ + d];
      for (int64_t i = count; i-- > 0;) {
        for (int64_t k = n; k-- > 0;) offsets[i * n + k] = offsets[i] + k * step;
      }
      count *= n;
    }
    return count;
  }

  /// The largest of each column of the rows, and its row: the first one, or the last NaN.
  static void pick(Buffer& b, int64_t count, float* best, int64_t n) {
    int32_t* picks = b.picks.data();
    std::fill_n(best, n, -INFINITY);
    std::fill_n(picks, n, 0);
    for (int32_t i = 0; i < static_cast<int32_t>(count); ++i) {
      const float* x = b.rows[static_cast<size_t>(i)];
      for (int64_t k = 0; k < n; ++k) {
        const bool take = x[k] > best[k] || x[k] != x[k];
        best[k] = take ? x[k] : best[k];
        picks[k] = take ? i : picks[k];
      }
    }
  }

  void run_row(void* const* ptr, Buffer& b, const Ix& o) const {
    const int last = x_.rank - 1;
    const bool max = w_.kind == PoolKind::max;
    const int64_t count = collect(static_cast<const char*>(ptr[0]), b, o, spatial_ - 1, 0, size_), n = out_.shape[last];
    if (index_) {
      pick_columns(b, count, static_cast<int64_t*>(ptr[2]) + index_->offset(o), index_->strides[last]);
    } else {
      const float* row = count == 1 ? b.rows[0] : b.folded.data();
      if (count != 1) row_functions().pool(b.rows.data(), count, max, 1, b.folded.data(), size_);
      fold_columns(row, b.results.data(), max);
      if (!max) divide(b.results.data(), o, n);
    }
    store_(b.results.data(), Patch{static_cast<char*>(ptr[1]) + out_.offset(o) * out_bytes_, n * out_.strides[last], out_.strides[last]}, 1, n);
  }

  /// For every output of a row: the largest value of the window, and its place.
  void pick_columns(Buffer& b, int64_t count, int64_t* index, int64_t stride) const {
    const Windows& list = w_.dims.back();
    for (size_t i = 0; i < list.entries.size(); ++i) {
      const Windows::Entry& e = list.entries[i];
      float best = -INFINITY;
      int64_t at = count && e.count ? b.places[0] * size_ + e.start : -1;
      for (int64_t row = 0; row < count; ++row) {
        const float* x = b.rows[static_cast<size_t>(row)];
        for (int64_t k = 0, from = e.start; k < e.count; ++k, from += list.step) {
          if (!(x[from] > best) && x[from] == x[from]) continue;
          best = x[from];
          at = b.places[static_cast<size_t>(row)] * size_ + from;
        }
      }
      b.results[i] = best;
      index[static_cast<int64_t>(i) * stride] = at;
    }
  }

  void fold_columns(const float* row, float* results, bool max) const {
    const Windows& list = w_.dims.back();
    for (size_t i = 0; i < list.entries.size(); ++i) {
      const float* x = row + list.entries[i].start;
      const int64_t count = list.entries[i].count;
      float value = max ? -INFINITY : 0.0f;
      if (max) {
        for (int64_t k = 0; k < count; ++k) value = x[k * list.step] > value || x[k * list.step] != x[k * list.step] ? x[k * list.step] : value;
      } else {
        for (int64_t k = 0; k < count; ++k) value += x[k * list.step];
      }
      results[i] = value;
    }
  }

  void divide(float* results, const Ix& o, int64_t n) const {
    const float outer = divisor(o, spatial_ - 1);
    const std::vector<Windows::Entry>& columns = w_.dims.back().entries;
    for (int64_t i = 0; i < n; ++i) results[i] /= w_.divisor != 0 ? outer : outer * static_cast<float>(columns[static_cast<size_t>(i)].share);
  }

  PoolWindows w_;
  View x_, out_;
  std::optional<View> index_;
  int spatial_, lead_;
  LoadFn load_;
  StoreFn store_;
  int64_t x_bytes_, out_bytes_;
  bool channels_ = false, lines_ = false, short_ = false;
  Odometer tasks_;
  int64_t units_ = 0, size_ = 0, rows_ = 1, width_ = 1;
  int threads_ = 1;
  std::vector<Buffer> buffers_;
};

template <class S>
std::unique_ptr<Executable> prepare_windows(const CpuProblem& p) {
  const View x(p.args.in[0]), out(p.args.out[0]);
  const std::optional<View> indices = p.outputs() > 1 ? std::optional(View(p.args.out[1])) : std::nullopt;
  return executable(WindowPool(windows_of(attrs<S>(p), x, out), x, out, indices));
}

std::unique_ptr<Executable> prepare_global_pool(const CpuProblem& p) {
  const auto& op = attrs<AdaptivePool>(p);
  Reduce reduce;
  reduce.kind = op.kind == PoolKind::max ? ReduceKind::max : ReduceKind::mean;
  reduce.axes.resize(op.out.size());
  std::iota(reduce.axes.begin(), reduce.axes.end(), static_cast<int64_t>(p.args.in[0].shape.size() - op.out.size()));
  reduce.keepdim = true;
  reduce.type = p.args.out[0].dtype;
  const Op as_reduce = reduce;
  return prepare_kernel("own.reduce.tile", CpuProblem{as_reduce, p.config, p.args});
}

}  // namespace

void add_pool_kernels(CpuKernelTable& table) {
  table.push_back({"own.pool.windows", prepare_windows<Pool>});
  table.push_back({"own.adaptive_pool.windows", prepare_windows<AdaptivePool>});
  table.push_back({"own.adaptive_pool.reduce", prepare_global_pool});
  add_pool_gradient_kernels(table);
}

}  // namespace tuyere::cpu
