// SPDX-License-Identifier: Apache-2.0
// own.norm.tile: a row of prologue values in cache, exact two-pass statistics, then weight, bias and epilogue. This file has the form for any
// strides; rows along one dim and channels-last groups have their own.
#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_functions.h"
#include "kernels/norm/norm_cpu.h"

namespace tuyere::cpu {

View split_channels(const View& v, int64_t groups) {
  View s;
  s.dtype = v.dtype;
  s.rank = v.rank + 1;
  for (int d = 0; d < v.rank; ++d) {
    const int to = d < 1 ? d : d + 1;
    s.shape[to] = v.shape[d];
    s.strides[to] = v.strides[d];
  }
  s.shape[1] = groups;
  s.shape[2] = v.shape[1] / groups;
  s.strides[1] = v.strides[1] * s.shape[2];
  return s;
}

namespace {

// epilogue(x * weight + bias, extras...) with inputs x, weight?, bias?, extras...
Program finish_program(const Norm& op) {
  Program affine;
  affine.inputs.assign(1 + op.has_weight + op.has_bias, DType::F32);
  int value = 0, next = 1;
  if (op.has_weight) value = affine.add(Fn::mul, {value, next++});
  if (op.has_bias) value = affine.add(Fn::add, {value, next++});
  affine.outputs = {static_cast<int16_t>(value)};
  if (op.epilogue.empty()) return affine;
  // compose() puts the outer extras first: rotate them behind the affine inputs.
  const Program joined = compose(op.epilogue, 0, affine);
  const int extras = static_cast<int>(op.epilogue.inputs.size()) - 1, mine = static_cast<int>(affine.inputs.size());
  Program r = joined;
  const auto renumber = [&](int16_t v) -> int16_t {
    if (v < 0 || v >= extras + mine) return v;
    return static_cast<int16_t>(v < extras ? v + mine : v - extras);
  };
  for (int k = 0; k < extras + mine; ++k) r.inputs[renumber(static_cast<int16_t>(k))] = joined.inputs[k];
  for (Inst& inst : r.body) {
    for (int16_t& a : inst.args) a = renumber(a);
  }
  for (int16_t& o : r.outputs) o = renumber(o);
  return r;
}

View channel_view(const TensorView& t, const View& x) {
  const View v(t);
  View c = x;
  c.dtype = v.dtype;
  c.strides = {};
  c.strides[1] = v.strides[0];
  return c;
}

NormProblem make_problem(const Norm& op, const CpuProblem& p) {
  NormProblem r;
  const View x(p.args.out[0]);
  const bool group = op.kind == NormKind::group;
  const auto shaped = [&](const View& v) { return group ? split_channels(v, op.groups) : v; };
  r.space = shaped(x);
  const int prologue = op.prologue.empty() ? 1 : static_cast<int>(op.prologue.inputs.size());
  r.stores = stored_outputs(op, p);
  for (int k = 1; k <= r.stores; ++k) r.first.add(shaped(View(p.args.out[k])), p.inputs() + k);
  for (int k = 0; k < prologue; ++k) r.first.add(shaped(View(p.args.in[k]).broadcast_to(x)), k);
  r.second.add(r.space, p.inputs());
  int next = prologue;
  for (int k = 0; k < op.has_weight + op.has_bias; ++k, ++next) {
    r.second.add(shaped(group ? channel_view(p.args.in[next], x) : View(p.args.in[next]).broadcast_to(x)), next);
  }
  for (; next < p.inputs(); ++next) r.second.add(shaped(View(p.args.in[next]).broadcast_to(x)), next);
  for (int k = 1 + r.stores; k < p.outputs(); ++k) r.statistics.add(View(p.args.out[k]).broadcast_to(x), p.inputs() + k);
  const int split = group ? 2 : x.rank - static_cast<int>(op.axes);
  for (int d = split; d < r.space.rank; ++d) r.in_row[d] = true;
  return r;
}

class TileNorm {
 public:
  TileNorm(const Norm& op, const NormProblem& n)
      : first_(n.first),
        second_(n.second),
        stores_count_(n.stores),
        rms_(op.kind == NormKind::rms),
        statistics_(op.statistics),
        eps_(op.eps),
        space_(n.space, joined(n), n.in_row),
        prologue_(op.prologue, n.first.types(n.stores, n.first.count()), {}),
        finish_(finish_program(op), finish_types(n), {n.space.dtype}),
        threads_(static_cast<int>(std::min<int64_t>(threads_for(n.space.numel() * 4), std::max<int64_t>(1, space_.rows())))),
        prologue_scratch_(prologue_, threads_),
        finish_scratch_(finish_, threads_),
        row_stride_((space_.length() + 15) / 16 * 16),
        rows_(static_cast<size_t>(row_stride_ * threads_)) {
    for (int k = 0; k < n.stores; ++k) stores_.push_back(tile_store(prologue_.result_type(k + 1), n.first.views[k].dtype));
  }

  void operator()(void* const* ptr) {
    if (space_.length() == 0) return;
    parallel_ranges(threads_, space_.rows(), [&](int thread, int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) run_row(ptr, thread, row);
    });
  }

 private:
  static Operands joined(const NormProblem& n) {
    Operands all = n.first;
    for (const Operands* more : {&n.second, &n.statistics}) {
      for (int k = 0; k < more->count(); ++k) all.add(more->views[k], more->slots[k]);
    }
    return all;
  }
  static std::vector<DType> finish_types(const NormProblem& n) {
    std::vector<DType> types = n.second.types(0, n.second.count());
    types[0] = DType::F32;
    return types;
  }

  void run_row(void* const* ptr, int thread, int64_t number) {
    float* row = rows_.data() + row_stride_ * thread;
    std::array<const void*, RowSpace::kMaxOperands> data;
    space_.locate(number, ptr, data.data());
    read_row(data.data(), thread, row);
    const RowFunctions& f = row_functions();
    const int64_t n = space_.length();
    const float mean = rms_ ? 0.0f : static_cast<float>(f.sum(row, n) / static_cast<double>(n));
    const double variance = f.sum_squared_difference(row, n, mean) / static_cast<double>(n);
    const double scale = 1 / std::sqrt(variance + eps_);
    if (statistics_) {
      *static_cast<float*>(const_cast<void*>(data[first_.count() + second_.count()])) = mean;
      *static_cast<float*>(const_cast<void*>(data[first_.count() + second_.count() + 1])) = static_cast<float>(scale);
    }
    f.shift_scale(row, n, mean, static_cast<float>(scale), row);
    write_row(data.data(), thread, row);
  }

  void read_row(const void* const* data, int thread, float* row) {
    std::array<Patch, RowSpace::kMaxOperands> patches;
    std::array<const void*, RowSpace::kMaxOperands> results;
    Odometer o = space_.tiles().start(0);
    do {
      const NestTile tile = space_.tiles().tile(o);
      space_.patches(tile, data, patches.data());
      prologue_.eval(patches.data() + stores_count_, results.data(), tile.rows, tile.cols, prologue_scratch_.of(thread));
      std::copy_n(static_cast<const float*>(results[0]), tile.count(), row);
      for (int k = 0; k < stores_count_; ++k) stores_[k](results[k + 1], patches[k], tile.rows, tile.cols);
      row += tile.count();
    } while (o.next());
  }

  void write_row(const void* const* data, int thread, const float* row) {
    std::array<Patch, RowSpace::kMaxOperands> patches;
    const int out = first_.count();
    Odometer o = space_.tiles().start(0);
    do {
      const NestTile tile = space_.tiles().tile(o);
      space_.patches(tile, data, patches.data());
      const Patch result = patches[out];
      patches[out] = {row, tile.cols, 1};
      finish_.run(patches.data() + out, &result, tile.rows, tile.cols, finish_scratch_.of(thread));
      row += tile.count();
    } while (o.next());
  }

  Operands first_, second_;
  int stores_count_;
  bool rms_, statistics_;
  double eps_;
  RowSpace space_;
  TileProgram prologue_, finish_;
  int threads_;
  TileScratch prologue_scratch_, finish_scratch_;
  int64_t row_stride_;
  std::vector<float> rows_;
  std::vector<StoreFn> stores_;
};

std::unique_ptr<Executable> prepare_norm(const CpuProblem& p) {
  const auto& op = attrs<Norm>(p);
  const DType type = op.prologue.empty() ? compute_type(p.args.in[0].dtype) : compute_type(op.prologue.type_of(op.prologue.outputs[0]));
  if (type != DType::F32) return prepare_kernel("reference.norm", p);
  // Channels side by side are read line by line, also where each is normalized alone, and is a row with gaps.
  const TensorView& out = p.args.out[0];
  const bool pixels = op.kind == NormKind::group && out.strides[1] == 1 && out.numel() > out.shape[0] * out.shape[1];
  if (auto kernel = pixels ? prepare_channel_norm(op, p) : prepare_flat_norm(op, p)) return kernel;
  if (auto kernel = pixels ? prepare_flat_norm(op, p) : prepare_channel_norm(op, p)) return kernel;
  return executable(TileNorm(op, make_problem(op, p)));
}

}  // namespace

void add_norm_kernels(CpuKernelTable& table) {
  table.push_back({"own.norm.tile", prepare_norm});
  add_norm_gradient_kernels(table);
}

}  // namespace tuyere::cpu
