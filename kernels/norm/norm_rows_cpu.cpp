// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_functions.h"
#include "kernels/norm/norm_cpu.h"
#include "kernels/norm/norm_lanes.h"

namespace tuyere::cpu {

NormWeights::NormWeights(const Norm& op, const CpuProblem& p) : next_(prologue_inputs(op)) {
  if (op.has_weight) add(weight_, p);
  if (op.has_bias) add(bias_, p);
}

void NormWeights::add(Entry& entry, const CpuProblem& p) {
  const View v(p.args.in[next_]);
  dense_ &= v.contiguous();
  entry.slot = next_++;
  entry.type = v.dtype;
  if (v.dtype != DType::F32) entry.buffer.resize(static_cast<size_t>(v.numel()));
}

void NormWeights::load(Entry& entry, void* const* ptr) {
  if (entry.slot < 0) return;
  entry.data = static_cast<const float*>(ptr[entry.slot]);
  if (entry.type == DType::F32) return;
  const auto n = static_cast<int64_t>(entry.buffer.size());
  tile_load(entry.type, DType::F32)(Patch{ptr[entry.slot], n, 1}, entry.buffer.data(), 1, n);
  entry.data = entry.buffer.data();
}

void NormWeights::load(void* const* ptr) {
  load(weight_, ptr);
  load(bias_, ptr);
}

namespace {

struct FlatProblem {
  View space;
  Operands operands;  // further outputs, the prologue's inputs, output 0, the epilogue's further inputs, means and scales
  std::array<bool, kMaxRank> in_row{};
  int stores, prologue, segments = 0;  // segments: channels of a group, 0: weights run along the row
};

FlatProblem make_flat_problem(const Norm& op, const CpuProblem& p, int first_extra) {
  FlatProblem r;
  const View x(p.args.out[0]);
  const bool group = op.kind == NormKind::group;
  const auto shaped = [&](const View& v) { return group ? split_channels(v, op.groups) : v; };
  r.space = shaped(x);
  r.prologue = prologue_inputs(op);
  r.stores = stored_outputs(op, p);
  for (int k = 1; k <= r.stores; ++k) r.operands.add(shaped(View(p.args.out[k])), p.inputs() + k);
  for (int k = 0; k < r.prologue; ++k) r.operands.add(shaped(View(p.args.in[k]).broadcast_to(x)), k);
  r.operands.add(r.space, p.inputs());
  for (int k = first_extra; k < p.inputs(); ++k) r.operands.add(shaped(View(p.args.in[k]).broadcast_to(x)), k);
  for (int k = 1 + r.stores; k < p.outputs(); ++k) r.operands.add(View(p.args.out[k]).broadcast_to(x), p.inputs() + k);
  const int split = group ? 2 : x.rank - static_cast<int>(op.axes);
  for (int d = split; d < r.space.rank; ++d) r.in_row[d] = true;
  if (group) r.segments = static_cast<int>(r.space.shape[2]);
  return r;
}

class FlatNorm {
 public:
  FlatNorm(const Norm& op, const FlatProblem& n, RowSpace space, NormWeights weights)
      : op_(op),
        weights_(std::move(weights)),
        space_(std::move(space)),
        stores_count_(n.stores),
        out_(n.stores + n.prologue),
        segments_(n.segments),
        groups_(op.groups),
        length_(space_.length()),
        prologue_(op.prologue, n.operands.types(n.stores, out_), {}),
        epilogue_(op.epilogue, epilogue_types(n), {n.space.dtype}),
        statistics_(op.statistics ? n.operands.count() - 2 : 0),
        extras_(n.operands.count() - out_ - 1 - (op.statistics ? 2 : 0)) {
    const int64_t rows = std::max<int64_t>(1, space_.rows());
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(n.space.numel() * 4), rows));
    prologue_scratch_ = std::make_shared<TileScratch>(prologue_, threads_);
    epilogue_scratch_ = std::make_shared<TileScratch>(epilogue_, threads_);
    group_ = length_ > 0 && length_ <= TileProgram::kTile ? TileProgram::kTile / length_ : 1;
    stride_ = (std::max(length_, TileProgram::kTile) + 15) / 16 * 16;
    values_.resize(static_cast<size_t>(stride_ * threads_));
    for (int k = 0; k < n.stores; ++k) stores_.push_back(tile_store(prologue_.result_type(k + 1), n.operands.views[k].dtype));
    for (int k = 0; k < n.operands.count(); ++k) bytes_.push_back(n.operands.bytes[k]);
    const bool f32 = n.operands.views[stores_count_].dtype == DType::F32 && n.prologue == 1;
    in_place_in_ = f32 && op.prologue.is_identity() && stores_count_ == 0 && space_.rows_patch(0, nullptr).col_stride == 1;
    in_place_out_ = op.epilogue.is_identity() && extras_ == 0 && n.space.dtype == DType::F32 && space_.rows_patch(out_, nullptr).col_stride == 1;
  }

  void operator()(void* const* ptr) {
    if (length_ == 0) return;
    weights_.load(ptr);
    parallel_ranges(threads_, space_.rows(), [&](int thread, int64_t begin, int64_t end) {
      std::array<const void*, RowSpace::kMaxOperands> data;
      for (int64_t row = begin; row < end;) {
        const int64_t count = length_ <= TileProgram::kTile ? space_.group(row, std::min(group_, end - row)) : 1;
        space_.locate(row, ptr, data.data());
        run(data.data(), thread, row, count);
        row += count;
      }
    });
  }

 private:
  std::vector<DType> epilogue_types(const FlatProblem& n) const {
    std::vector<DType> types = n.operands.types(out_, n.operands.count() - (op_.statistics ? 2 : 0));
    types[0] = DType::F32;
    return types;
  }

  Patch patch(int k, const void* const* data, int64_t first) const {
    Patch p = space_.rows_patch(k, data[k]);
    p.data = static_cast<const char*>(p.data) + first * p.col_stride * bytes_[static_cast<size_t>(k)];
    return p;
  }

  // `count` rows of at most a tile together, or one row of any length.
  void run(const void* const* data, int thread, int64_t row, int64_t count) {
    float* buffer = values_.data() + stride_ * thread;
    const float* x = buffer;
    int64_t step = length_;
    if (in_place_in_) {
      const Patch in = patch(0, data, 0);
      x = static_cast<const float*>(in.data);
      step = in.row_stride;
    } else {
      for (int64_t first = 0; first < length_; first += TileProgram::kTile) {
        read(data, thread, first, std::min(TileProgram::kTile, length_ - first), count, buffer + first);
      }
    }
    const Patch out = patch(out_, data, 0);
    float* to = in_place_out_ ? static_cast<float*>(const_cast<void*>(out.data)) : buffer;
    const int64_t to_step = in_place_out_ ? out.row_stride : length_;
    if (segments_ == 0) {
      normalize_rows(data, x, step, to, to_step, count);
    } else {
      for (int64_t r = 0; r < count; ++r) normalize_group(x + r * step, to + r * to_step, row + r);
    }
    if (in_place_out_) return;
    for (int64_t first = 0; first < length_; first += TileProgram::kTile) {
      write(data, thread, first, std::min(TileProgram::kTile, length_ - first), count, buffer + first);
    }
  }

  void read(const void* const* data, int thread, int64_t first, int64_t n, int64_t count, float* to) {
    std::array<Patch, RowSpace::kMaxOperands> patches;
    std::array<const void*, RowSpace::kMaxOperands> results;
    for (int k = 0; k < out_; ++k) patches[k] = patch(k, data, first);
    prologue_.eval(patches.data() + stores_count_, results.data(), count, n, prologue_scratch_->of(thread));
    std::copy_n(static_cast<const float*>(results[0]), count * n, to);
    for (int k = 0; k < stores_count_; ++k) stores_[k](results[k + 1], patches[k], count, n);
  }

  void write(const void* const* data, int thread, int64_t first, int64_t n, int64_t count, const float* from) {
    std::array<Patch, RowSpace::kMaxOperands> patches;
    patches[0] = {from, n, 1};
    for (int k = 1; k <= extras_; ++k) patches[k] = patch(out_ + k, data, first);
    const Patch out = patch(out_, data, first);
    epilogue_.run(patches.data(), &out, count, n, epilogue_scratch_->of(thread));
  }

  void normalize_rows(const void* const* data, const float* x, int64_t x_stride, float* out, int64_t out_stride, int64_t rows) const {
    NormRowsCall call{.x = x, .x_stride = x_stride, .out = out, .out_stride = out_stride, .rows = rows, .n = length_, .eps = op_.eps};
    call.weight = weights_.weight();
    call.bias = weights_.bias();
    call.rms = op_.kind == NormKind::rms;
    if (statistics_) {
      const Patch means = space_.rows_patch(statistics_, data[statistics_]);
      call.means = static_cast<float*>(const_cast<void*>(means.data));
      call.scales = static_cast<float*>(const_cast<void*>(data[statistics_ + 1]));
      call.statistics_stride = means.row_stride;
    }
    norm_rows(call);
  }

  void normalize_group(const float* x, float* out, int64_t row) const {
    const RowFunctions& f = row_functions();
    const auto mean = static_cast<float>(f.sum(x, length_) / static_cast<double>(length_));
    const double variance = f.sum_squared_difference(x, length_, mean) / static_cast<double>(length_);
    const double scale = 1 / std::sqrt(variance + op_.eps);
    const int64_t channel = row % groups_ * segments_, n = length_ / segments_;
    for (int64_t c = 0; c < segments_; ++c) {
      const double w = scale * (weights_.weight() ? static_cast<double>(weights_.weight()[channel + c]) : 1.0);
      const double b = (weights_.bias() ? static_cast<double>(weights_.bias()[channel + c]) : 0.0) - static_cast<double>(mean) * w;
      f.scale_add(x + c * n, n, static_cast<float>(w), static_cast<float>(b), out + c * n);
    }
  }

  Norm op_;
  NormWeights weights_;
  RowSpace space_;
  int stores_count_, out_;
  int64_t segments_, groups_, length_;
  TileProgram prologue_, epilogue_;
  int statistics_, extras_, threads_ = 1;  // statistics_: place of the means among the operands; 0: none
  std::shared_ptr<TileScratch> prologue_scratch_, epilogue_scratch_;
  int64_t group_ = 1, stride_ = 0;
  bool in_place_in_ = false, in_place_out_ = false;
  std::vector<float> values_;
  std::vector<StoreFn> stores_;
  std::vector<int64_t> bytes_;
};

// Whether the elements of a row lie in their logical order, which a row merged into one dim has only when the output says so.
bool elements_in_order(const FlatProblem& n) {
  int64_t outer = std::numeric_limits<int64_t>::max();
  for (int d = 0; d < n.space.rank; ++d) {
    if (!n.in_row[d] || n.space.shape[d] == 1) continue;
    if (n.space.strides[d] > outer) return false;
    outer = n.space.strides[d];
  }
  return true;
}

}  // namespace

std::unique_ptr<Executable> prepare_flat_norm(const Norm& op, const CpuProblem& p) {
  NormWeights weights(op, p);
  const FlatProblem n = make_flat_problem(op, p, weights.next());
  if (!weights.dense() || n.space.numel() == 0) return nullptr;
  RowSpace space(n.space, n.operands, n.in_row);
  const Patch out = space.rows_patch(n.stores + n.prologue, nullptr);
  if (!space.flat() || (space.length() > 1 && out.col_stride <= 0) || !elements_in_order(n)) return nullptr;
  // Row numbers must count groups within a batch entry; the first operand that tells the two apart decides, and it may lie another way than the output.
  if (n.segments > 0 && op.groups > 1 && out.row_stride != n.space.strides[1]) return nullptr;
  return executable(FlatNorm(op, n, std::move(space), std::move(weights)));
}

}  // namespace tuyere::cpu
