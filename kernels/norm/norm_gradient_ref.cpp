// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/reference.h"
#include "kernels/norm/norm_cpu.h"

namespace tuyere::cpu {
namespace {

struct RefLayerNormGradient {
  View dy, x, mean, scale, weight, dx, dweight, dbias;
  LayerNormGradient op;
  int inputs;
  Ix outer{}, inner{};

  RefLayerNormGradient(const LayerNormGradient& o, const CpuProblem& p) : dy(p.args.in[0]), x(p.args.in[1]), dx(p.args.out[0]), op(o), inputs(p.inputs()) {
    mean = View(p.args.in[2]).broadcast_to(x);
    scale = View(p.args.in[3]).broadcast_to(x);
    if (op.has_weight) weight = View(p.args.in[4]).broadcast_to(x);
    if (op.parameters) {
      dweight = View(p.args.out[1]).broadcast_to(x);
      dbias = View(p.args.out[2]).broadcast_to(x);
    }
    for (int d = 0; d < x.rank; ++d) {
      const bool in_row = d >= x.rank - static_cast<int>(op.axes);
      outer[d] = in_row ? 1 : x.shape[d];
      inner[d] = in_row ? x.shape[d] : 1;
    }
  }

  static Ix sum(const Ix& a, const Ix& b) {
    Ix out{};
    for (int d = 0; d < kMaxRank; ++d) out[d] = a[d] + b[d];
    return out;
  }
  double y(void* const* ptr, const Ix& at) const { return (x.load(ptr[1], at) - mean.load(ptr[2], at)) * scale.load(ptr[3], at); }
  double g(void* const* ptr, const Ix& at) const { return dy.load(ptr[0], at) * (op.has_weight ? weight.load(ptr[4], at) : 1); }

  void operator()(void* const* ptr) const {
    const auto count = static_cast<double>(product(x.rank, inner));
    for_each_index(x.rank, outer, [&](const Ix& row) {
      double mean_g = 0, mean_gy = 0;
      for_each_index(x.rank, inner, [&](const Ix& i) {
        const Ix at = sum(row, i);
        mean_g += g(ptr, at) / count;
        mean_gy += g(ptr, at) * y(ptr, at) / count;
      });
      for_each_index(x.rank, inner, [&](const Ix& i) {
        const Ix at = sum(row, i);
        dx.store(ptr[inputs], at, scale.load(ptr[3], at) * (g(ptr, at) - mean_g - y(ptr, at) * mean_gy));
      });
    });
    if (op.parameters) parameters(ptr);
  }

  void parameters(void* const* ptr) const {
    for_each_index(x.rank, inner, [&](const Ix& i) {
      double weights = 0, biases = 0;
      for_each_index(x.rank, outer, [&](const Ix& row) {
        const Ix at = sum(row, i);
        weights += dy.load(ptr[0], at) * y(ptr, at);
        biases += dy.load(ptr[0], at);
      });
      dweight.store(ptr[inputs + 1], i, weights);
      dbias.store(ptr[inputs + 2], i, biases);
    });
  }
};

std::unique_ptr<Executable> prepare_layer_norm_gradient(const CpuProblem& p) { return executable(RefLayerNormGradient(attrs<LayerNormGradient>(p), p)); }

}  // namespace

void add_norm_gradient_references(CpuKernelTable& table) { table.push_back({"reference.layer_norm_gradient", prepare_layer_norm_gradient}); }

}  // namespace tuyere::cpu
