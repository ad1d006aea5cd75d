// SPDX-License-Identifier: Apache-2.0
// own.layer_norm_gradient.rows: one pass over the rows gives dx and, per thread, sums for the gradients of weight and bias.
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/norm/norm_cpu.h"
#include "kernels/norm/norm_lanes.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kFlushRows = 64;  // rows that f32 sums take before double takes over

// Operands of the row space, in this order; those behind kScales only where the operator has them.
enum Place : int { kDx, kDy, kX, kMeans, kScales, kOthers };

struct GradientProblem {
  View space;
  Operands operands;
  std::array<bool, kMaxRank> in_row{};
  int weight = -1, parameters = -1;  // places
};

GradientProblem make_problem(const LayerNormGradient& op, const CpuProblem& p) {
  GradientProblem r;
  r.space = View(p.args.out[0]);
  const auto add = [&](const TensorView& t, int slot) { r.operands.add(View(t).broadcast_to(r.space), slot); };
  add(p.args.out[0], p.inputs());
  for (int k = 0; k < 4; ++k) add(p.args.in[k], k);
  if (op.has_weight) {
    r.weight = r.operands.count();
    add(p.args.in[4], 4);
  }
  if (op.parameters) {
    r.parameters = r.operands.count();
    for (int k = 1; k < 3; ++k) add(p.args.out[k], p.inputs() + k);
  }
  for (int d = r.space.rank - static_cast<int>(op.axes); d < r.space.rank; ++d) r.in_row[d] = true;
  return r;
}

class LayerNormGradients {
 public:
  explicit LayerNormGradients(const GradientProblem& p)
      : weight_(p.weight), parameters_(p.parameters), slots_(p.operands.slots), space_(p.space, p.operands, p.in_row), length_(space_.length()) {
    const int64_t rows = std::max<int64_t>(1, space_.rows());
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(p.space.numel() * 8), rows));
    for (int k = 0; k < p.operands.count(); ++k) {
      const DType type = p.operands.views[k].dtype;
      loads_.push_back(tile_load(type, DType::F32));
      stores_.push_back(tile_store(DType::F32, type));
      const bool unit = space_.flat() && (length_ <= 1 || space_.rows_patch(k, nullptr).col_stride == 1);
      in_place_.push_back(type == DType::F32 && unit);
    }
    // Rows that are copied go in groups that stay in the cache.
    group_ = space_.flat() ? std::clamp<int64_t>(TileProgram::kTile / std::max<int64_t>(length_, 1), 1, kFlushRows) : 1;
    if (in_place_[kDx] && in_place_[kDy] && in_place_[kX]) group_ = kFlushRows;
    stride_ = (length_ + 15) / 16 * 16;
    weights_.resize(weight_ < 0 ? 0 : static_cast<size_t>(length_));
    scratch_.resize(static_cast<size_t>(threads_));
    for (Scratch& s : scratch_) {
      for (int k : {kDx, kDy, kX}) s.rows[k].resize(in_place_[k] ? 0 : static_cast<size_t>(group_ * stride_));
      if (parameters_ < 0) continue;
      s.lanes.resize(static_cast<size_t>(2 * stride_));
      s.sums.resize(static_cast<size_t>(2 * stride_));
    }
  }

  void operator()(void* const* ptr) {
    if (length_ == 0) return;
    if (weight_ >= 0) load_row(weight_, starts(ptr).data(), weights_.data());
    for (Scratch& s : scratch_) std::fill(s.sums.begin(), s.sums.end(), 0.0);
    parallel_parts(threads_, space_.rows(), [&](int part, int64_t begin, int64_t end) { run_rows(ptr, scratch_[static_cast<size_t>(part)], begin, end); });
    if (parameters_ >= 0) store_parameters(ptr);
  }

 private:
  struct Scratch {
    std::array<std::vector<float>, 3> rows;  // of dx, dy and x, where they are not read and written in place
    std::vector<float> lanes;                // sums of some rows: of dy * y, then of dy
    std::vector<double> sums;
  };

  // Where the operands start, which is row 0 if there is one.
  std::array<const void*, RowSpace::kMaxOperands> starts(void* const* ptr) const {
    std::array<const void*, RowSpace::kMaxOperands> data{};
    for (size_t k = 0; k < slots_.size(); ++k) data[k] = ptr[slots_[k]];
    return data;
  }

  void run_rows(void* const* ptr, Scratch& s, int64_t begin, int64_t end) {
    std::array<const void*, RowSpace::kMaxOperands> data;
    int64_t pending = 0;
    std::fill(s.lanes.begin(), s.lanes.end(), 0.0f);
    for (int64_t row = begin; row < end;) {
      const int64_t limit = std::min(end - row, std::min(group_, kFlushRows - pending));
      const int64_t count = space_.flat() ? space_.group(row, limit) : 1;
      space_.locate(row, ptr, data.data());
      run_group(data.data(), s, count);
      row += count;
      pending += count;
      if (pending == kFlushRows || row == end) {
        flush(s);
        pending = 0;
      }
    }
  }

  void run_group(const void* const* data, Scratch& s, int64_t count) const {
    const auto [dy, dy_stride] = rows_of(kDy, data, s, count);
    const auto [x, x_stride] = rows_of(kX, data, s, count);
    NormGradientCall call{.dy = dy, .dy_stride = dy_stride, .x = x, .x_stride = x_stride, .rows = count, .n = length_};
    call.means = static_cast<const float*>(data[kMeans]);
    call.scales = static_cast<const float*>(data[kScales]);
    call.statistics_stride = row_stride(kMeans);
    call.weight = weight_ < 0 ? nullptr : weights_.data();
    call.dx = in_place_[kDx] ? static_cast<float*>(const_cast<void*>(data[kDx])) : s.rows[kDx].data();
    call.dx_stride = in_place_[kDx] ? row_stride(kDx) : length_;
    if (parameters_ >= 0) call.weight_sums = s.lanes.data(), call.bias_sums = s.lanes.data() + stride_;
    norm_gradient_rows(call);
    if (!in_place_[kDx]) store_rows(kDx, data, s.rows[kDx].data(), count);
  }

  int64_t row_stride(int k) const { return space_.rows_patch(k, nullptr).row_stride; }

  std::pair<const float*, int64_t> rows_of(int k, const void* const* data, Scratch& s, int64_t count) const {
    if (in_place_[static_cast<size_t>(k)]) return {static_cast<const float*>(data[k]), row_stride(k)};
    float* to = s.rows[static_cast<size_t>(k)].data();
    if (space_.flat()) {
      loads_[static_cast<size_t>(k)](space_.rows_patch(k, data[k]), to, count, length_);
    } else {
      load_row(k, data, to);
    }
    return {to, length_};
  }

  void load_row(int k, const void* const* data, float* to) const {
    each_tile(data, [&](const Patch* patches, const NestTile& tile) {
      loads_[static_cast<size_t>(k)](patches[k], to, tile.rows, tile.cols);
      to += tile.count();
    });
  }

  void store_rows(int k, const void* const* data, const float* from, int64_t count) const {
    if (space_.flat()) return stores_[static_cast<size_t>(k)](from, space_.rows_patch(k, data[k]), count, length_);
    each_tile(data, [&](const Patch* patches, const NestTile& tile) {
      stores_[static_cast<size_t>(k)](from, patches[k], tile.rows, tile.cols);
      from += tile.count();
    });
  }

  // The pieces of one row, in the order in which buffers hold them.
  template <class F>
  void each_tile(const void* const* data, F f) const {
    std::array<Patch, RowSpace::kMaxOperands> patches;
    Odometer o = space_.tiles().start(0);
    do {
      const NestTile tile = space_.tiles().tile(o);
      space_.patches(tile, data, patches.data());
      f(patches.data(), tile);
    } while (o.next());
  }

  static void flush(Scratch& s) {
    for (size_t i = 0; i < s.lanes.size(); ++i) s.sums[i] += static_cast<double>(s.lanes[i]);
    std::fill(s.lanes.begin(), s.lanes.end(), 0.0f);
  }

  void store_parameters(void* const* ptr) {
    Scratch& total = scratch_[0];
    for (size_t t = 1; t < scratch_.size(); ++t) {
      for (size_t i = 0; i < total.sums.size(); ++i) total.sums[i] += scratch_[t].sums[i];
    }
    for (size_t i = 0; i < total.sums.size(); ++i) total.lanes[i] = static_cast<float>(total.sums[i]);
    const auto data = starts(ptr);
    for (int k = 0; k < 2; ++k) store_rows(parameters_ + k, data.data(), total.lanes.data() + k * stride_, 1);
  }

  int weight_, parameters_;
  std::vector<int> slots_;
  RowSpace space_;
  int64_t length_;
  int threads_ = 1;
  int64_t group_ = 1, stride_ = 0;
  std::vector<LoadFn> loads_;
  std::vector<StoreFn> stores_;
  std::vector<bool> in_place_;
  std::vector<float> weights_;
  std::vector<Scratch> scratch_;
};

std::unique_ptr<Executable> prepare_layer_norm_gradient(const CpuProblem& p) {
  return executable(LayerNormGradients(make_problem(attrs<LayerNormGradient>(p), p)));
}

}  // namespace

void add_norm_gradient_kernels(CpuKernelTable& table) { table.push_back({"own.layer_norm_gradient.rows", prepare_layer_norm_gradient}); }

}  // namespace tuyere::cpu
