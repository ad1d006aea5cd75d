// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

// Splits an index space into kept and reduced dims: `kept` maps an output index to an index of x, the odometer runs over the reduced dims.
struct Axes {
  int rank = 0;
  Ix reduced_shape{};               // size of the reduced dims, 1 for the kept ones
  std::array<int, kMaxRank> out{};  // output dim of each dim of x, -1 when it is reduced away
  int64_t count = 1;

  Axes(const View& x, const std::vector<int64_t>& axes, bool keepdim) : rank(x.rank) {
    std::array<bool, kMaxRank> reduced{};
    for (int64_t a : axes) reduced[normalize_axis(a, x.rank)] = true;
    int next = 0;
    for (int d = 0; d < x.rank; ++d) {
      reduced_shape[d] = reduced[d] ? x.shape[d] : 1;
      if (reduced[d]) count *= x.shape[d];
      out[d] = reduced[d] ? -1 : next;
      if (!reduced[d] || keepdim) ++next;
    }
  }
  template <class F>
  void each(const Ix& out_index, F&& f) const {
    for_each_index(rank, reduced_shape, [&](const Ix& r) {
      Ix i = r;
      for (int d = 0; d < rank; ++d) {
        if (out[d] >= 0) i[d] = out_index[out[d]];
      }
      f(i);
    });
  }
};

struct Accumulator {
  ReduceKind kind;
  double value;
  int64_t exact = 0;  // integer sums and products wrap, as in PyTorch
  bool integer = false;

  Accumulator(ReduceKind k, bool is_integer) : kind(k), value(identity(k)), exact(k == ReduceKind::prod), integer(is_integer) {}
  static double identity(ReduceKind k) {
    switch (k) {
      case ReduceKind::max:
        return -INFINITY;
      case ReduceKind::min:
        return INFINITY;
      case ReduceKind::prod:
      case ReduceKind::all:
        return 1;
      default:
        return 0;
    }
  }
  void add(double x) {
    const auto u = static_cast<uint64_t>(static_cast<int64_t>(integer ? x : 0));
    switch (kind) {
      case ReduceKind::sum:
      case ReduceKind::mean:
      case ReduceKind::var:
        value += x;
        exact = static_cast<int64_t>(static_cast<uint64_t>(exact) + u);
        break;
      case ReduceKind::prod:
        value *= x;
        exact = static_cast<int64_t>(static_cast<uint64_t>(exact) * u);
        break;
      case ReduceKind::max:
        value = x != x || x > value ? x : value;
        break;
      case ReduceKind::min:
        value = x != x || x < value ? x : value;
        break;
      case ReduceKind::any:
        value = value != 0 || x != 0;
        break;
      case ReduceKind::all:
        value = value != 0 && x != 0;
        break;
    }
    if (x != x && (kind == ReduceKind::max || kind == ReduceKind::min)) value = x;
  }
  double result(int64_t count) const {
    if (kind == ReduceKind::mean) return value / static_cast<double>(count);
    if (integer && (kind == ReduceKind::sum || kind == ReduceKind::prod)) return static_cast<double>(exact);
    return value;
  }
};

std::unique_ptr<Executable> prepare_reduce(const CpuProblem& p) {
  const auto& op = attrs<Reduce>(p);
  RefPrologue x(op.prologue, p);
  RefEpilogue epilogue(op.epilogue, p, x.inputs());
  const Axes axes(x.shape(), op.axes, op.keepdim);
  const View out(p.args.out[0]);
  const DType type = op.prologue.empty() ? p.args.in[0].dtype : op.prologue.type_of(op.prologue.outputs[0]);
  const bool integer = !is_float(type);
  return executable([x, epilogue, axes, out, integer, kind = op.kind, correction = op.correction](void* const* ptr) mutable {
    for_each_index(out.rank, out.shape, [&](const Ix& o) {
      Accumulator acc(kind, integer);
      axes.each(o, [&](const Ix& i) { acc.add(x.at(ptr, i)[0]); });
      double result = acc.result(axes.count);
      if (kind == ReduceKind::var) {
        const double mean = acc.value / static_cast<double>(axes.count);
        double sum = 0;
        axes.each(o, [&](const Ix& i) {
          const double d = x.at(ptr, i)[0] - mean;
          sum += d * d;
        });
        result = sum / std::max(0.0, static_cast<double>(axes.count) - correction);
      }
      epilogue.store(ptr, o, result);
    });
  });
}

std::unique_ptr<Executable> prepare_arg_reduce(const CpuProblem& p) {
  const auto& op = attrs<ArgReduce>(p);
  const View x(p.args.in[0]), out(p.args.out[0]);
  const int axis = normalize_axis(op.axis, x.rank);
  const Axes axes(x, {axis}, op.keepdim);
  USER_CHECK(axes.count > 0 || out.numel() == 0, "argmax of an empty dimension");
  const int sign = op.kind == ArgKind::argmax ? 1 : -1;
  return executable([=](void* const* ptr) {
    for_each_index(out.rank, out.shape, [&](const Ix& o) {
      double best = 0;
      int64_t at = -1;
      axes.each(o, [&](const Ix& i) {
        const double v = x.load(ptr[0], i);
        const bool better = best == best && (v != v || sign * v > sign * best);  // the first NaN wins
        if (at >= 0 && !better) return;
        best = v;
        at = i[axis];
      });
      static_cast<int64_t*>(ptr[1])[out.offset(o)] = at;
    });
  });
}

}  // namespace

void add_reduce_references(CpuKernelTable& table) {
  table.push_back({"reference.reduce", prepare_reduce});
  table.push_back({"reference.arg_reduce", prepare_arg_reduce});
}

}  // namespace tuyere::cpu
