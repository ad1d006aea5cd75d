// SPDX-License-Identifier: Apache-2.0
// own.cumulate.lines: running sums and products in double (integers: 64 bits) over several lines at once, so that their additions overlap.
#include <algorithm>

#include "kernels/api/functions_ref.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/strided_copy.h"
#include "kernels/pointwise/tile_convert.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kLines = 8, kTile = 1024;

// T: double or int64_t, the type of the running value.
template <class T>
class CumulateLines {
 public:
  CumulateLines(const Cumulate& op, const CpuProblem& p) : x_(p.args.in[0]), out_(p.args.out[0]), product_(op.kind == CumKind::prod) {
    constexpr DType type = std::is_same_v<T, double> ? DType::F64 : DType::I64;
    load_ = tile_load(x_.dtype, type);
    store_ = tile_store(type, out_.dtype);
    axis_ = normalize_axis(op.axis, x_.rank);
    length_ = x_.shape[axis_];
    View lines = x_;
    lines.shape[axis_] = std::min<int64_t>(1, length_);
    nest_ = make_nest(lines.rank, lines.shape, {out_.strides, x_.strides});
    const int inner = nest_.rank - 1;
    // Across dense lines whole tiles are columns; otherwise a few lines go side by side.
    columns_ = nest_.strides[0][inner] == 1 && out_.strides[axis_] != 1;
    width_ = std::min(nest_.shape[inner], columns_ ? kTile / 4 : kLines);
    chunks_ = width_ == 0 ? 0 : (nest_.shape[inner] + width_ - 1) / width_;
    units_ = nest_.numel() == 0 || length_ == 0 ? 0 : product(inner, nest_.shape) * chunks_;
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(x_.numel()), std::max<int64_t>(1, units_)));
  }

  void operator()(void* const* ptr) const {
    parallel_ranges(threads_, units_, [&](int, int64_t begin, int64_t end) {
      NestWalk walk(nest_, nest_.rank - 1, begin / chunks_);
      for (int64_t unit = begin; unit < end; ++unit) {
        run(ptr, walk, unit % chunks_ * width_);
        if ((unit + 1) % chunks_ == 0) walk.next();
      }
    });
  }

 private:
  void run(void* const* ptr, const NestWalk& walk, int64_t first) const {
    const int inner = nest_.rank - 1;
    const int64_t n = std::min(width_, nest_.shape[inner] - first), steps = std::max<int64_t>(1, kTile / std::max(n, columns_ ? n : kLines));
    std::array<T, kTile> tile;
    std::array<T, kTile> total;
    std::fill_n(total.begin(), n, static_cast<T>(product_));
    for (int64_t j = 0; j < length_; j += steps) {
      const int64_t count = std::min(steps, length_ - j);
      const Patch in = patch(x_, 1, static_cast<char*>(ptr[0]), walk.offset(1), first, j),
                  out = patch(out_, 0, static_cast<char*>(ptr[1]), walk.offset(0), first, j);
      if (columns_) {
        load_(in, tile.data(), count, n);
        for (int64_t r = 0; r < count; ++r) advance(tile.data() + r * n, total.data(), n);
        store_(tile.data(), out, count, n);
      } else {
        load_(flipped(in), tile.data(), n, count);
        along(tile.data(), total.data(), n, count);
        store_(tile.data(), flipped(out), n, count);
      }
    }
  }

  // Rows run along the axis, columns across lines.
  Patch patch(const View& v, int k, char* data, int64_t line, int64_t first, int64_t j) const {
    const int64_t step = nest_.strides[static_cast<size_t>(k)][nest_.rank - 1];
    return {data + (line + first * step + j * v.strides[axis_]) * (bits(v.dtype) / 8), v.strides[axis_], step};
  }
  static Patch flipped(const Patch& p) { return {p.data, p.col_stride, p.row_stride}; }

  T next(T total, T v) const { return product_ ? ref::mul(total, v) : ref::add(total, v); }
  void advance(T* row, T* total, int64_t n) const {
    if (product_) {
      for (int64_t i = 0; i < n; ++i) row[i] = total[i] = ref::mul(total[i], row[i]);
    } else {
      for (int64_t i = 0; i < n; ++i) row[i] = total[i] = ref::add(total[i], row[i]);
    }
  }
  void along(T* tile, T* total, int64_t lines, int64_t count) const {
    if (lines == kLines) return product_ ? along_all<true>(tile, total, count) : along_all<false>(tile, total, count);
    for (int64_t r = 0; r < lines; ++r) {
      for (int64_t i = 0; i < count; ++i) tile[r * count + i] = total[r] = next(total[r], tile[r * count + i]);
    }
  }
  template <bool kProduct>
  static void along_all(T* tile, T* total, int64_t count) {
    T sums[kLines];
    std::copy_n(total, kLines, sums);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t r = 0; r < kLines; ++r) {
        T& v = tile[r * count + i];
        v = sums[r] = kProduct ? ref::mul(sums[r], v) : ref::add(sums[r], v);
      }
    }
    std::copy_n(sums, kLines, total);
  }

  View x_, out_;
  bool product_;
  LoadFn load_ = nullptr;
  StoreFn store_ = nullptr;
  int axis_ = 0;
  int64_t length_ = 0;
  LoopNest nest_;  // lines: output, x
  bool columns_ = false;
  int64_t width_ = 1, chunks_ = 1, units_ = 0;
  int threads_ = 1;
};

std::unique_ptr<Executable> prepare_cumulate(const CpuProblem& p) {
  const auto& op = attrs<Cumulate>(p);
  const DType in = p.args.in[0].dtype, out = p.args.out[0].dtype;
  if (p.args.in[0].shape.empty()) return prepare_kernel("reference.cumulate", p);
  if (!is_float(in) && !is_float(out)) return executable(CumulateLines<int64_t>(op, p));
  return executable(CumulateLines<double>(op, p));
}

}  // namespace

void add_cumulate_kernels(CpuKernelTable& table) { table.push_back({"own.cumulate.lines", prepare_cumulate}); }

}  // namespace tuyere::cpu
