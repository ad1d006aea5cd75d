// SPDX-License-Identifier: Apache-2.0
// own.softmax.tile: along rows that are dense, several short ones at a time, or down many columns at once; values come from the prologue in
// cache-sized tiles, or are read in place when there is none.
#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_functions.h"
#include "kernels/cpu/row_source.h"

namespace tuyere::cpu {
namespace {

struct SoftmaxProblem {
  View space;
  Operands operands;  // output, then the prologue's inputs
  int axis = 0;
  int columns = -1;  // the dim along which the output is dense, when that is not the axis
};

bool reads_in_place(const Softmax& op, const Operands& operands) {
  return op.prologue.is_identity() && operands.count() == 2 && operands.views[1].dtype == DType::F32;
}

// Work that both directions share.
class SoftmaxBase {
 protected:
  SoftmaxBase(const Softmax& op, const SoftmaxProblem& s, const std::array<bool, kMaxRank>& in_row)
      : space_(s.space, s.operands, in_row),
        prologue_(op.prologue, s.operands.types(1, s.operands.count()), {}),
        store_(tile_store(DType::F32, s.space.dtype)),
        log_(op.log),
        length_(s.space.shape[s.axis]),
        in_place_in_(reads_in_place(op, s.operands)),
        in_place_out_(s.space.dtype == DType::F32) {}

  void allocate(int threads, int64_t floats) {
    threads_ = threads;
    scratch_ = std::make_shared<TileScratch>(prologue_, threads);
    stride_ = (floats + 15) / 16 * 16;
    values_.resize(static_cast<size_t>(stride_ * threads));
  }
  float* values(int thread) { return values_.data() + stride_ * thread; }

  RowSpace space_;
  TileProgram prologue_;
  StoreFn store_;
  bool log_;
  int64_t length_;
  bool in_place_in_, in_place_out_;  // f32 without a prologue; strides permitting
  int threads_ = 1;
  std::shared_ptr<TileScratch> scratch_;
  int64_t stride_ = 0;
  std::vector<float> values_;
};

class RowSoftmax : SoftmaxBase {
 public:
  RowSoftmax(const Softmax& op, const SoftmaxProblem& s) : SoftmaxBase(op, s, in_row(s)) {
    in_place_in_ &= s.operands.views.back().strides[s.axis] == 1;
    in_place_out_ &= s.space.strides[s.axis] == 1;
    group_ = length_ > 0 && length_ <= TileProgram::kTile ? TileProgram::kTile / length_ : 1;
    allocate(static_cast<int>(std::min<int64_t>(threads_for(s.space.numel() * 8), std::max<int64_t>(1, space_.rows()))), std::max(length_, TileProgram::kTile));
  }

  void operator()(void* const* ptr) {
    if (length_ == 0) return;
    parallel_ranges(threads_, space_.rows(), [&](int thread, int64_t begin, int64_t end) {
      const bool grouped = length_ <= TileProgram::kTile;
      for (int64_t row = begin; row < end;) {
        const int64_t count = grouped ? space_.group(row, std::min(group_, end - row)) : 1;
        std::array<const void*, RowSpace::kMaxOperands> data;
        space_.locate(row, ptr, data.data());
        if (grouped) {
          run_group(data.data(), thread, count);
        } else {
          run_long(data.data(), thread);
        }
        row += count;
      }
    });
  }

 private:
  static std::array<bool, kMaxRank> in_row(const SoftmaxProblem& s) {
    std::array<bool, kMaxRank> r{};
    r[s.axis] = true;
    return r;
  }

  void run_group(const void* const* data, int thread, int64_t count) {
    std::array<Patch, RowSpace::kMaxOperands> patches;
    for (int k = 0; k < prologue_.inputs(); ++k) patches[k] = space_.rows_patch(k + 1, data[k + 1]);
    const Patch out = space_.rows_patch(0, data[0]);
    const void* result = nullptr;
    prologue_.eval(patches.data(), &result, count, length_, scratch_->of(thread));
    const auto* x = static_cast<const float*>(result);
    float* to = in_place_out_ ? static_cast<float*>(const_cast<void*>(out.data)) : values(thread);
    const int64_t step = in_place_out_ ? out.row_stride : length_;
    const RowFunctions& f = row_functions();
    for (int64_t r = 0; r < count; ++r) f.softmax(x + r * length_, to + r * step, length_, log_);
    if (!in_place_out_) store_(to, out, count, length_);
  }

  void run_long(const void* const* data, int thread) {
    float* row = values(thread);
    const auto* x = in_place_in_ ? static_cast<const float*>(data[1]) : row;
    if (!in_place_in_) read(data, thread, row);
    float* to = in_place_out_ ? static_cast<float*>(const_cast<void*>(data[0])) : row;
    row_functions().softmax(x, to, length_, log_);
    if (!in_place_out_) store_(row, space_.rows_patch(0, data[0]), 1, length_);
  }

  void read(const void* const* data, int thread, float* row) {
    std::array<Patch, RowSpace::kMaxOperands> patches;
    Odometer o = space_.tiles().start(0);
    do {
      const NestTile tile = space_.tiles().tile(o);
      space_.patches(tile, data, patches.data());
      const void* result = nullptr;
      prologue_.eval(patches.data() + 1, &result, tile.rows, tile.cols, scratch_->of(thread));
      std::copy_n(static_cast<const float*>(result), tile.count(), row);
      row += tile.count();
    } while (o.next());
  }

  int64_t group_;
};

class ColumnSoftmax : SoftmaxBase {
 public:
  ColumnSoftmax(const Softmax& op, const SoftmaxProblem& s) : SoftmaxBase(op, s, in_row(s)), views_(s.operands.views), axis_(s.axis), columns_(s.columns) {
    in_place_in_ &= views_.back().strides[columns_] == 1;
    in_place_out_ &= s.space.strides[columns_] == 1;
    size_ = s.space.shape[columns_];
    width_ = std::min(size_, std::clamp<int64_t>(8192 / std::max<int64_t>(1, length_) / 64 * 64, 64, TileProgram::kTile));
    chunks_ = (size_ + width_ - 1) / std::max<int64_t>(1, width_);
    const int64_t tasks = space_.rows() * chunks_;
    allocate(static_cast<int>(std::min<int64_t>(threads_for(s.space.numel() * 8), std::max<int64_t>(1, tasks))), length_ * width_);
  }

  void operator()(void* const* ptr) {
    if (views_[0].numel() == 0) return;
    parallel_ranges(threads_, space_.rows() * chunks_, [&](int thread, int64_t begin, int64_t end) {
      std::array<const void*, RowSpace::kMaxOperands> data;
      for (int64_t task = begin; task < end; ++task) {
        space_.locate(task / chunks_, ptr, data.data());
        const int64_t first = task % chunks_ * width_;
        run(data.data(), thread, first, std::min(width_, size_ - first));
      }
    });
  }

 private:
  static std::array<bool, kMaxRank> in_row(const SoftmaxProblem& s) {
    std::array<bool, kMaxRank> r{};
    r[s.axis] = r[s.columns] = true;
    return r;
  }

  Patch patch(int k, const void* data, int64_t row, int64_t column) const {
    const View& v = views_[k];
    const int64_t offset = row * v.strides[axis_] + column * v.strides[columns_];
    return {static_cast<const char*>(data) + offset * (bits(v.dtype) / 8), v.strides[axis_], v.strides[columns_]};
  }

  void run(const void* const* data, int thread, int64_t first, int64_t n) {
    float* block = values(thread);
    Patch in = patch(1, data[1], 0, first);
    if (!in_place_in_) {
      read(data, thread, first, n, block);
      in = {block, n, 1};
    }
    const Patch out = patch(0, data[0], 0, first);
    const Patch to = in_place_out_ ? out : Patch{block, n, 1};
    row_functions().column_softmax(static_cast<const float*>(in.data), in.row_stride, static_cast<float*>(const_cast<void*>(to.data)), to.row_stride, length_,
                                   n, log_);
    if (!in_place_out_) store_(block, out, length_, n);
  }

  void read(const void* const* data, int thread, int64_t first, int64_t n, float* block) {
    std::array<Patch, RowSpace::kMaxOperands> patches;
    const int64_t rows = std::max<int64_t>(1, TileProgram::kTile / n);
    for (int64_t r = 0; r < length_; r += rows) {
      const int64_t count = std::min(rows, length_ - r);
      for (int k = 0; k < prologue_.inputs(); ++k) patches[k] = patch(k + 1, data[k + 1], r, first);
      const void* result = nullptr;
      prologue_.eval(patches.data(), &result, count, n, scratch_->of(thread));
      std::copy_n(static_cast<const float*>(result), count * n, block + r * n);
    }
  }

  std::vector<View> views_;
  int axis_, columns_;
  int64_t size_, width_, chunks_;
};

int dense_dim(const View& v) {
  for (int d = 0; d < v.rank; ++d) {
    if (v.strides[d] == 1 && v.shape[d] >= 8) return d;
  }
  return -1;
}

std::unique_ptr<Executable> prepare_softmax(const CpuProblem& p) {
  const auto& op = attrs<Softmax>(p);
  SoftmaxProblem s;
  s.space = View(p.args.out[0]);
  const int count = op.prologue.empty() ? 1 : static_cast<int>(op.prologue.inputs.size());
  const DType type = op.prologue.empty() ? compute_type(p.args.in[0].dtype) : compute_type(op.prologue.type_of(op.prologue.outputs[0]));
  if (type != DType::F32 || s.space.rank == 0) return prepare_kernel("reference.softmax", p);
  s.operands.add(s.space, p.inputs());
  for (int k = 0; k < count; ++k) s.operands.add(View(p.args.in[k]).broadcast_to(s.space), k);
  s.axis = normalize_axis(op.axis, s.space.rank);
  s.columns = dense_dim(s.space);
  if (s.columns >= 0 && s.columns != s.axis) return executable(ColumnSoftmax(op, s));
  return executable(RowSoftmax(op, s));
}

}  // namespace

void add_softmax_kernels(CpuKernelTable& table) { table.push_back({"own.softmax.tile", prepare_softmax}); }

}  // namespace tuyere::cpu
