// SPDX-License-Identifier: Apache-2.0
// own.arg_reduce.tile: along a line block by block, or down many columns at once. Values are compared in f32, which holds every type that computes in it.
#include <algorithm>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_functions.h"
#include "kernels/cpu/strided_copy.h"
#include "kernels/pointwise/tile_convert.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kBlock = 1024, kColumns = 256;

class ArgLines {
 public:
  ArgLines(const ArgReduce& op, const CpuProblem& p) : x_(p.args.in[0]), less_(op.kind == ArgKind::argmin), load_(tile_load(x_.dtype, DType::F32)) {
    View out(p.args.out[0]);
    axis_ = normalize_axis(op.axis, x_.rank);
    length_ = x_.shape[axis_];
    USER_CHECK(length_ > 0 || out.numel() == 0, "argmax of an empty dimension");
    View kept = x_, to = x_;
    to.strides = {};
    for (int d = 0, next = 0; d < x_.rank; ++d) {
      if (d != axis_) to.strides[d] = out.strides[next];
      if (d != axis_ || op.keepdim) ++next;
    }
    kept.shape[axis_] = std::min<int64_t>(1, length_);
    nest_ = make_nest(kept.rank, kept.shape, {x_.strides, to.strides});
    bytes_ = bits(x_.dtype) / 8;
    in_place_ = x_.dtype == DType::F32;
    const int inner = nest_.rank - 1;
    columns_ = nest_.strides[0][inner] == 1 && nest_.shape[inner] >= 8 && x_.strides[axis_] != 1;
    chunks_ = columns_ ? (nest_.shape[inner] + kColumns - 1) / kColumns : 1;
    units_ = columns_ ? product(inner, nest_.shape) * chunks_ : nest_.numel();
    if (nest_.numel() == 0) units_ = 0;
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(x_.numel()), std::max<int64_t>(1, units_)));
  }

  void operator()(void* const* ptr) const {
    parallel_ranges(threads_, units_, [&](int, int64_t begin, int64_t end) {
      const auto* x = static_cast<const char*>(ptr[0]);
      auto* out = static_cast<int64_t*>(ptr[1]);
      NestWalk walk(nest_, columns_ ? nest_.rank - 1 : nest_.rank, begin / chunks_);
      for (int64_t unit = begin; unit < end; ++unit) {
        if (columns_) {
          run_columns(x + walk.offset(0) * bytes_, out + walk.offset(1), unit % chunks_ * kColumns);
        } else {
          out[walk.offset(1)] = run_line(x + walk.offset(0) * bytes_);
        }
        if ((unit + 1) % chunks_ == 0) walk.next();
      }
    });
  }

 private:
  int64_t run_line(const char* x) const {
    const RowFunctions& f = row_functions();
    std::array<float, kBlock> buffer;
    float best = 0;
    int64_t at = -1;
    for (int64_t first = 0; first < length_ && best == best; first += kBlock) {
      const int64_t n = std::min(kBlock, length_ - first);
      const float* values = block(x, first, n, buffer.data());
      const float extreme = less_ ? f.min(values, n) : f.max(values, n);
      if (at >= 0 && extreme == extreme && !(less_ ? extreme < best : extreme > best)) continue;
      best = extreme;
      at = first + (std::find_if(values, values + n, [&](float v) { return v == extreme || (v != v && extreme != extreme); }) - values);
    }
    return at;
  }

  const float* block(const char* x, int64_t first, int64_t n, float* buffer) const {
    const int64_t stride = x_.strides[axis_];
    const char* from = x + first * stride * bytes_;
    if (in_place_ && stride == 1) return reinterpret_cast<const float*>(from);
    load_(Patch{from, n * stride, stride}, buffer, 1, n);
    return buffer;
  }

  void run_columns(const char* x, int64_t* out, int64_t first) const {
    const int64_t n = std::min(kColumns, nest_.shape[nest_.rank - 1] - first), step = nest_.strides[1][nest_.rank - 1];
    std::array<float, kColumns> best, buffer;
    std::array<int32_t, kColumns> at{};
    for (int64_t j = 0; j < length_; ++j) {
      const char* from = x + (j * x_.strides[axis_] + first) * bytes_;
      const auto* row = reinterpret_cast<const float*>(from);
      if (!in_place_) {
        load_(Patch{from, n, 1}, buffer.data(), 1, n);
        row = buffer.data();
      }
      if (j == 0) {
        std::copy_n(row, n, best.begin());
      } else {
        row_functions().column_arg(row, static_cast<int32_t>(j), less_, best.data(), at.data(), n);
      }
    }
    for (int64_t i = 0; i < n; ++i) out[(first + i) * step] = at[static_cast<size_t>(i)];
  }

  View x_;
  bool less_;
  LoadFn load_;
  int axis_ = 0;
  int64_t length_ = 0, bytes_ = 4, chunks_ = 1, units_ = 0;
  LoopNest nest_;  // lines: x, output
  bool in_place_ = false, columns_ = false;
  int threads_ = 1;
};

std::unique_ptr<Executable> prepare_arg_reduce(const CpuProblem& p) {
  const View x(p.args.in[0]);
  if (compute_type(x.dtype) != DType::F32 || x.rank == 0 || x.numel() == 0 || x.numel() > INT32_MAX) return prepare_kernel("reference.arg_reduce", p);
  return executable(ArgLines(attrs<ArgReduce>(p), p));
}

}  // namespace

void add_arg_reduce_kernels(CpuKernelTable& table) { table.push_back({"own.arg_reduce.tile", prepare_arg_reduce}); }

}  // namespace tuyere::cpu
