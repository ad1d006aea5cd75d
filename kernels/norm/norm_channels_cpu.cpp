// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_functions.h"
#include "kernels/norm/norm_cpu.h"
#include "kernels/pointwise/short_loop.h"

namespace tuyere::cpu {
namespace {

struct ChannelProblem {
  View space;
  Operands operands;  // output 0, further outputs, the prologue's inputs, the epilogue's further inputs
  std::array<bool, kMaxRank> in_row{};
  int stores = 0, prologue = 0;
};

ChannelProblem make_channel_problem(const Norm& op, const CpuProblem& p, int first_extra) {
  ChannelProblem r;
  r.space = View(p.args.out[0]);
  r.prologue = prologue_inputs(op);
  r.stores = p.outputs() - 1;
  for (int k = 0; k < p.outputs(); ++k) r.operands.add(View(p.args.out[k]), p.inputs() + k);
  for (int k = 0; k < r.prologue; ++k) r.operands.add(View(p.args.in[k]).broadcast_to(r.space), k);
  for (int k = first_extra; k < p.inputs(); ++k) r.operands.add(View(p.args.in[k]).broadcast_to(r.space), k);
  for (int d = 1; d < r.space.rank; ++d) r.in_row[d] = true;
  return r;
}

// One task: a range of channels (whole groups) of one batch entry, over all positions.
class ChannelNorm {
 public:
  ChannelNorm(const Norm& op, const ChannelProblem& n, RowSpace space, NormWeights weights)
      : op_(op),
        weights_(std::move(weights)),
        space_(std::move(space)),
        stores_count_(n.stores),
        inputs_(1 + n.stores),
        extras_(inputs_ + n.prologue),
        channels_(n.space.shape[1]),
        positions_(space_.length() / channels_),
        share_(channels_ / op.groups),
        prologue_(op.prologue, n.operands.types(inputs_, extras_), {}),
        epilogue_(op.epilogue, epilogue_types(n), {n.space.dtype}),
        bytes_(n.operands.bytes) {
    for (int k = 0; k < n.operands.count(); ++k) {
      const Ix& s = space_.tiles().nest().strides[static_cast<size_t>(k)];
      row_stride_.push_back(space_.flat() ? s[1] * channels_ : s[0]);
      col_stride_.push_back(s[1]);
    }
    const int threads = threads_for(n.space.numel() * 4);
    const int64_t at_most = TileProgram::kTile / share_ * share_;
    const int64_t parts = std::clamp<int64_t>((threads + space_.rows() - 1) / space_.rows(), (channels_ + at_most - 1) / at_most, op.groups);
    width_ = (op.groups + parts - 1) / parts * share_;
    parts_ = (channels_ + width_ - 1) / width_;
    threads_ = static_cast<int>(std::min<int64_t>(threads, space_.rows() * parts_));
    prologue_scratch_ = std::make_shared<TileScratch>(prologue_, threads_);
    epilogue_scratch_ = std::make_shared<TileScratch>(epilogue_, threads_);
    work_.resize(static_cast<size_t>(threads_));
    for (int k = 0; k < n.stores; ++k) stores_.push_back(tile_store(prologue_.result_type(k + 1), n.operands.views[static_cast<size_t>(k + 1)].dtype));
    const auto readable = [&](int k) {
      const DType type = n.operands.views[static_cast<size_t>(k)].dtype;
      return (type == DType::F32 || type == DType::BF16) && col_stride_[static_cast<size_t>(k)] == 1;
    };
    if (op.prologue.is_identity() && n.stores == 0 && n.prologue == 1 && readable(1)) given_ = 1;
    for (int k = 0; k < n.stores && stored_ < 0; ++k) {
      if (op.prologue.outputs[static_cast<size_t>(k + 1)] == op.prologue.outputs[0] && readable(k + 1)) stored_ = k + 1;
    }
    types_.reserve(bytes_.size());
    for (const View& view : n.operands.views) types_.push_back(view.dtype);
    plain_out_ = op.epilogue.is_identity() && extras_ == n.operands.count() && readable(0);
  }

  void operator()(void* const* ptr) {
    weights_.load(ptr);
    parallel_ranges(threads_, space_.rows() * parts_, [&](int thread, int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) run(ptr, thread, task);
    });
  }

 private:
  struct Work {
    std::array<double, TileProgram::kTile> sums;
    std::array<float, TileProgram::kTile> mean, scale, add, values;
  };

  std::vector<DType> epilogue_types(const ChannelProblem& n) const {
    std::vector<DType> types{DType::F32};
    for (int k = extras_; k < n.operands.count(); ++k) types.push_back(n.operands.views[static_cast<size_t>(k)].dtype);
    return types;
  }

  Patch patch(int k, const void* const* data, int64_t position, int64_t channel) const {
    const int64_t offset = position * row_stride_[k] + channel * col_stride_[k];
    return {static_cast<const char*>(data[k]) + offset * bytes_[k], row_stride_[k], col_stride_[k]};
  }

  void run(void* const* ptr, int thread, int64_t task) {
    std::array<const void*, RowSpace::kMaxOperands> data;
    space_.locate(task / parts_, ptr, data.data());
    const int64_t first = task % parts_ * width_, n = std::min(width_, channels_ - first);
    Work& w = work_[static_cast<size_t>(thread)];
    add_up(data.data(), thread, first, n, true, nullptr, w.sums.data());
    share(w.sums.data(), n, [&](int64_t i, double sum) { w.mean[i] = static_cast<float>(sum); });
    add_up(data.data(), thread, first, n, false, w.mean.data(), w.sums.data());
    share(w.sums.data(), n, [&](int64_t i, double variance) {
      const double scale = 1 / std::sqrt(variance + op_.eps) * (weights_.weight() ? static_cast<double>(weights_.weight()[first + i]) : 1.0);
      w.scale[i] = static_cast<float>(scale);
      w.add[i] = static_cast<float>((weights_.bias() ? static_cast<double>(weights_.bias()[first + i]) : 0.0) - static_cast<double>(w.mean[i]) * scale);
    });
    scale(data.data(), thread, first, n, w);
  }

  /// The operand that holds the values to be normalized, in memory: after the first pass also one that it wrote. -1: the prologue computes them.
  int source(bool first_pass) const { return given_ >= 0 || first_pass ? given_ : stored_; }

  /// The last pass: values times their channel's scale, and so on.
  void scale(const void* const* data, int thread, int64_t first, int64_t n, Work& w) {
    const RowFunctions& f = row_functions();
    const int from = source(false);
    const Patch out = patch(0, data, 0, first);
    if (plain_out_ && from >= 0 && types_[0] == DType::BF16 && types_[static_cast<size_t>(from)] == DType::BF16) {
      short_affine()({patch(from, data, 0, first), Patch{w.scale.data(), 0, 1}, Patch{w.add.data(), 0, 1}}, out, positions_, n);
      return;
    }
    const bool direct = plain_out_ && types_[0] == DType::F32;
    auto* to = static_cast<float*>(const_cast<void*>(out.data));
    each_tile(data, thread, first, n, false, [&](const float* x, int64_t stride, int64_t position, int64_t rows) {
      for (int64_t r = 0; r < rows; ++r) {
        float* values = direct ? to + (position + r) * out.row_stride : w.values.data() + r * n;
        f.multiply_add(x + r * stride, w.scale.data(), w.add.data(), values, n);
      }
      if (!direct) write(data, thread, position, rows, first, n, w.values.data());
    });
  }

  // Calls set(channel, mean of the sums of the channel's group).
  template <class F>
  void share(const double* sums, int64_t n, F set) const {
    for (int64_t i = 0; i < n; i += share_) {
      double sum = 0;
      for (int64_t c = 0; c < share_; ++c) sum += sums[i + c];
      for (int64_t c = 0; c < share_; ++c) set(i + c, sum / static_cast<double>(share_ * positions_));
    }
  }

  /// Sums of channels; with `mean` of squared differences from it. first_pass: the prologue's further results are written.
  void add_up(const void* const* data, int thread, int64_t first, int64_t n, bool first_pass, const float* mean, double* sums) {
    std::fill_n(sums, n, 0.0);
    const RowFunctions& f = row_functions();
    if (const int from = source(first_pass); from >= 0) {
      const Patch in = patch(from, data, 0, first);
      if (types_[static_cast<size_t>(from)] == DType::BF16) {
        f.column_sums_short(static_cast<const uint16_t*>(in.data), in.row_stride, positions_, n, mean, sums);
      } else {
        f.column_sums(static_cast<const float*>(in.data), in.row_stride, positions_, n, mean, sums);
      }
      return;
    }
    each_tile(data, thread, first, n, first_pass,
              [&](const float* x, int64_t stride, int64_t, int64_t rows) { f.column_sums(x, stride, rows, n, mean, sums); });
  }

  template <class F>
  void each_tile(const void* const* data, int thread, int64_t first, int64_t n, bool first_pass, F f) {
    std::array<Patch, RowSpace::kMaxOperands> patches;
    std::array<const void*, RowSpace::kMaxOperands> results;
    const int from = source(first_pass);
    const bool in_place = from >= 0 && types_[static_cast<size_t>(from)] == DType::F32;
    const int64_t rows = TileProgram::kTile / n;
    for (int64_t position = 0; position < positions_; position += rows) {
      const int64_t count = std::min(rows, positions_ - position);
      if (in_place) {
        const Patch in = patch(from, data, position, first);
        f(static_cast<const float*>(in.data), in.row_stride, position, count);
        continue;
      }
      for (int k = inputs_; k < extras_; ++k) patches[k - inputs_] = patch(k, data, position, first);
      prologue_.eval(patches.data(), results.data(), count, n, prologue_scratch_->of(thread));
      for (int k = 0; first_pass && k < stores_count_; ++k) stores_[k](results[k + 1], patch(k + 1, data, position, first), count, n);
      f(static_cast<const float*>(results[0]), n, position, count);
    }
  }

  void write(const void* const* data, int thread, int64_t position, int64_t rows, int64_t first, int64_t n, const float* values) {
    std::array<Patch, RowSpace::kMaxOperands> patches;
    patches[0] = {values, n, 1};
    for (size_t k = static_cast<size_t>(extras_); k < bytes_.size(); ++k) patches[k - extras_ + 1] = patch(static_cast<int>(k), data, position, first);
    const Patch out = patch(0, data, position, first);
    epilogue_.run(patches.data(), &out, rows, n, epilogue_scratch_->of(thread));
  }

  Norm op_;
  NormWeights weights_;
  RowSpace space_;
  int stores_count_, inputs_, extras_;
  int64_t channels_, positions_, share_, width_ = 1, parts_ = 1;
  TileProgram prologue_, epilogue_;
  std::vector<int64_t> bytes_, row_stride_, col_stride_;
  int threads_ = 1;
  std::shared_ptr<TileScratch> prologue_scratch_, epilogue_scratch_;
  std::vector<Work> work_;
  std::vector<StoreFn> stores_;
  std::vector<DType> types_;      // of the operands
  int given_ = -1, stored_ = -1;  // operands that hold what is normalized, as it is, from the beginning or after the first pass
  bool plain_out_ = false;        // no epilogue, and channels side by side
};

}  // namespace

std::unique_ptr<Executable> prepare_channel_norm(const Norm& op, const CpuProblem& p) {
  if (op.kind != NormKind::group) return nullptr;
  NormWeights weights(op, p);
  const ChannelProblem n = make_channel_problem(op, p, weights.next());
  if (!weights.dense() || n.space.numel() == 0 || n.space.strides[1] != 1 || n.space.shape[1] / op.groups > TileProgram::kTile) return nullptr;
  RowSpace space(n.space, n.operands, n.in_row);
  const LoopNest& nest = space.tiles().nest();
  // Positions by channels, or all of it as one dim when every operand is dense.
  const bool pixels = nest.rank == 2 && nest.shape[1] == n.space.shape[1] && nest.shape[0] * nest.shape[1] == space.length();
  if ((!pixels && !space.flat()) || nest.strides[0][1] != 1) return nullptr;
  return executable(ChannelNorm(op, n, std::move(space), std::move(weights)));
}

}  // namespace tuyere::cpu
