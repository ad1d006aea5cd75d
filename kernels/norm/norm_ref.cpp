// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/cpu/reference.h"
#include "kernels/norm/norm_cpu.h"

namespace tuyere::cpu {
namespace {

// One normalized row is `inner`: the last dims (layer, rms), or the channels of a group and all spatial dims (group).
struct NormRows {
  View x;
  Ix outer{}, inner{};  // sizes; for groups dim 1 of outer counts groups
  int64_t group_channels = 0;

  NormRows(const View& shape, const Norm& op) : x(shape) {
    const int split = op.kind == NormKind::group ? 2 : x.rank - static_cast<int>(op.axes);
    INTERNAL_CHECK(split >= 0 && split <= std::max(x.rank, 2), "norm over " << op.axes << " of " << x.rank << " dims");
    for (int d = 0; d < x.rank; ++d) {
      outer[d] = d < split ? x.shape[d] : 1;
      inner[d] = d < split ? 1 : x.shape[d];
    }
    if (op.kind == NormKind::group) {
      group_channels = x.shape[1] / op.groups;
      outer[1] = op.groups;
      inner[1] = group_channels;
    }
  }
  Ix at(const Ix& o, const Ix& i) const {
    Ix index{};
    for (int d = 0; d < x.rank; ++d) index[d] = o[d] + i[d];
    if (group_channels) index[1] = o[1] * group_channels + i[1];
    return index;
  }
};

// Weight or bias: over the last dims, or per channel.
View parameter(const TensorView& t, const View& x, bool per_channel) {
  if (!per_channel) return View(t).broadcast_to(x);
  View v = View(t), channel;
  channel.dtype = v.dtype;
  channel.rank = x.rank;
  channel.shape = x.shape;
  channel.strides[1] = v.strides[0];
  return channel;
}

struct RefNorm {
  RefPrologue x;
  NormRows rows;
  View weight, bias;
  int weight_slot = -1, bias_slot = -1, inputs = 0;
  RefEpilogue epilogue;
  std::vector<View> out, statistics;
  double eps;
  bool rms;

  RefNorm(const Norm& op, const CpuProblem& p)
      : x(op.prologue, p),
        rows(x.shape(), op),
        inputs(p.inputs()),
        epilogue(op.epilogue, p, x.inputs() + op.has_weight + op.has_bias),
        eps(op.eps),
        rms(op.kind == NormKind::rms) {
    int next = x.inputs();
    if (op.has_weight) weight_slot = next++;
    if (op.has_bias) bias_slot = next++;
    if (op.has_weight) weight = parameter(p.args.in[weight_slot], x.shape(), op.kind == NormKind::group);
    if (op.has_bias) bias = parameter(p.args.in[bias_slot], x.shape(), op.kind == NormKind::group);
    for (int k = 0; k < 1 + stored_outputs(op, p); ++k) out.emplace_back(p.args.out[k]);
    for (int k = 1 + stored_outputs(op, p); k < p.outputs(); ++k) statistics.push_back(View(p.args.out[k]).broadcast_to(x.shape()));
  }

  void operator()(void* const* ptr) {
    const int rank = rows.x.rank;
    const double count = static_cast<double>(product(rank, rows.inner));
    for_each_index(rank, rows.outer, [&](const Ix& o) {
      double sum = 0, squares = 0;
      for_each_index(rank, rows.inner, [&](const Ix& i) { sum += x.at(ptr, rows.at(o, i))[0]; });
      const double mean = rms ? 0 : sum / count;
      for_each_index(rank, rows.inner, [&](const Ix& i) {
        const double d = x.at(ptr, rows.at(o, i))[0] - mean;
        squares += d * d;
      });
      const double scale = 1 / std::sqrt(squares / count + eps);
      for (size_t k = 0; k < statistics.size(); ++k) statistics[k].store(ptr[static_cast<size_t>(inputs) + out.size() + k], o, k == 0 ? mean : scale);
      for_each_index(rank, rows.inner, [&](const Ix& i) { finish(ptr, rows.at(o, i), mean, scale); });
    });
  }

  void finish(void* const* ptr, const Ix& at, double mean, double scale) {
    const double* values = x.at(ptr, at);
    double v = (values[0] - mean) * scale;
    if (weight_slot >= 0) v *= weight.load(ptr[weight_slot], at);
    if (bias_slot >= 0) v += bias.load(ptr[bias_slot], at);
    for (size_t k = 1; k < out.size(); ++k) out[k].store(ptr[inputs + k], at, values[k]);
    epilogue.store(ptr, at, v);
  }
};

std::unique_ptr<Executable> prepare_norm(const CpuProblem& p) { return executable(RefNorm(attrs<Norm>(p), p)); }

}  // namespace

void add_norm_references(CpuKernelTable& table) {
  table.push_back({"reference.norm", prepare_norm});
  add_norm_gradient_references(table);
}

}  // namespace tuyere::cpu
