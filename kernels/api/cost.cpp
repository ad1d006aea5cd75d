// SPDX-License-Identifier: Apache-2.0
// The cost model: bytes, operations, and the default estimate of a tactic.
#include <algorithm>
#include <cmath>

#include "kernels/api/conv_blocks.h"
#include "kernels/api/problem.h"
#include "kernels/api/tactic.h"

namespace tuyere {
namespace {

int64_t product(const std::vector<int64_t>& sizes) {
  int64_t count = 1;
  for (int64_t size : sizes) count *= size;
  return count;
}

double count(const Problem& p, const std::vector<TensorDesc>& list, size_t i) { return i < list.size() ? static_cast<double>(product(p.dims(list[i]))) : 0; }

/// Bytes of the distinct elements: dims of stride 0 repeat.
int64_t distinct_bytes(const Problem& p, const TensorDesc& t) {
  std::vector<int64_t> sizes = p.dims(t);
  for (size_t i = 0; i < sizes.size() && i < t.strides.size(); ++i)
    if (t.strides[i].is_const(0) && sizes[i] > 0) sizes[i] = 1;
  return bytes_of(t.dtype, product(sizes));
}

/// Ops that read only the part of input 0 that they return.
bool reads_part(const Op& op) {
  return group(op) == OpGroup::view || std::holds_alternative<Gather>(op) || std::holds_alternative<GatherElements>(op) || std::holds_alternative<Index>(op);
}

double steps(const Program& program) { return static_cast<double>(program.body.size()); }

int64_t from_end(const std::vector<int64_t>& sizes, size_t k) { return sizes.size() >= k ? sizes[sizes.size() - k] : 1; }

struct Flops {
  const Problem& p;
  double in0 = count(p, p.in, 0), out0 = count(p, p.out, 0);

  double operator()(const Pointwise& op) const { return out0 * std::max(1.0, steps(op.program)); }
  double operator()(const Reduce& op) const { return in0 * (1 + steps(op.prologue)) + out0 * steps(op.epilogue); }
  double operator()(const ArgReduce&) const { return in0; }
  double operator()(const Softmax& op) const { return out0 * (5 + steps(op.prologue)); }
  double operator()(const Norm& op) const { return out0 * (7 + steps(op.prologue) + steps(op.epilogue)); }
  double operator()(const LayerNormGradient&) const { return out0 * 14; }
  double operator()(const MatMul& op) const {
    if (p.in.empty()) return 0;
    int64_t k = from_end(p.dims(p.in[0]), op.trans_a ? 2 : 1);
    return out0 * (2.0 * static_cast<double>(k) + steps(op.epilogue));
  }
  double operator()(const GatedMatMul& op) const {
    if (p.in.empty()) return 0;
    return out0 * (4.0 * static_cast<double>(from_end(p.dims(p.in[0]), 1)) + steps(op.epilogue));
  }
  double operator()(const Conv& op) const {
    if (p.in.size() < 2 || p.in[1].shape.empty()) return 0;
    std::vector<int64_t> w = p.dims(p.in[1]);
    int64_t rows = in_blocks(w.size(), conv_spatial(op, w.size())) ? w.front() * w.back() : w.front();
    double per_point = 2.0 * static_cast<double>(product(w)) / static_cast<double>(std::max<int64_t>(rows, 1));
    return (op.transposed ? in0 : out0) * per_point + out0 * steps(op.epilogue);
  }
  double operator()(const Recurrent& op) const {
    if (p.in.size() < 2 || p.in[1].shape.size() != 2) return 0;
    return out0 * static_cast<double>(gates_of(op.kind)) * (2.0 * static_cast<double>(p.dims(p.in[1])[1]) + 20);
  }
  double operator()(const ExpandedDepthwise& op) const {
    if (p.in.size() < 3 || p.in[2].shape.empty()) return 0;
    const std::vector<int64_t> x = p.dims(p.in[0]), w = p.dims(p.in[1]), v = p.dims(p.in[2]);
    const bool blocks = in_blocks(w.size(), op.stride.size());
    const double rows = static_cast<double>(w.front() * (blocks ? w.back() : 1)), channels = static_cast<double>(w[1]);
    double pixels = static_cast<double>(x.front()), taps = 1;
    for (size_t d = 0; d < op.stride.size(); ++d) {
      pixels *= static_cast<double>(x[2 + d]);
      taps *= static_cast<double>(v[2 + d]);
    }
    return pixels * rows * (2 * channels + steps(op.expansion)) + out0 * (2 * taps + steps(op.epilogue));
  }
  double operator()(const ConvWeightGradient& op) const {
    if (p.in.size() < 2 || p.in[1].shape.size() < 2) return 0;
    return 2 * in0 * static_cast<double>(product(op.kernel)) * static_cast<double>(p.dims(p.in[1])[1]) / static_cast<double>(op.groups);
  }
  double operator()(const Attention& op) const {
    if (p.in.size() < 3) return 0;
    std::vector<int64_t> q = p.dims(p.in[0]), v = p.dims(p.in[2]);
    double pairs = static_cast<double>(product(q)) / static_cast<double>(std::max<int64_t>(from_end(q, 1), 1)) * static_cast<double>(from_end(v, 2));
    double work = pairs * (2.0 * static_cast<double>(from_end(q, 1) + from_end(v, 1)) + 5);
    return op.causal ? work / 2 : work;
  }
  double operator()(const AttentionGradient& op) const {
    if (p.in.size() < 4) return 0;
    std::vector<int64_t> q = p.dims(p.in[1]), v = p.dims(p.in[3]);
    double pairs = static_cast<double>(product(q)) / static_cast<double>(std::max<int64_t>(from_end(q, 1), 1)) * static_cast<double>(from_end(v, 2));
    double work = pairs * (6.0 * static_cast<double>(from_end(q, 1)) + 4.0 * static_cast<double>(from_end(v, 1)) + 8);
    return op.causal ? work / 2 : work;
  }
  double operator()(const Pool& op) const { return out0 * static_cast<double>(product(op.kernel)); }
  double operator()(const AdaptivePool&) const { return std::max(in0, out0); }
  double operator()(const Cumulate&) const { return in0; }
  double operator()(const TopK& op) const { return sorting(op.axis); }
  double operator()(const Sort& op) const { return sorting(op.axis); }
  double operator()(const Resize& op) const { return out0 * (op.mode == ResizeMode::nearest ? 1 : op.mode == ResizeMode::linear ? 8 : 40); }
  template <class S>
  double operator()(const S&) const {
    return group(p.op) == OpGroup::compute ? out0 : 0;
  }

  double sorting(int64_t axis) const {
    if (p.in.empty() || p.in[0].shape.empty()) return in0;
    std::vector<int64_t> sizes = p.dims(p.in[0]);
    int64_t rank = static_cast<int64_t>(sizes.size()), length = sizes[static_cast<size_t>(axis < 0 ? axis + rank : axis)];
    return in0 * std::max(1.0, std::log2(static_cast<double>(std::max<int64_t>(length, 1))));
  }
};

/// Operations per second that the kind of work of `problem` can reach.
double peak_flops(const Problem& problem, const Target& target) {
  constexpr double kCpu = 50e9, kTensor = 300e12, kVectorShare = 1.0 / 16, kTf32Share = 0.5;
  if (!target.is_cuda()) return target.tensor_tflops > 0 ? target.tensor_tflops * 1e12 : kCpu;
  double tensor = target.tensor_tflops > 0 ? target.tensor_tflops * 1e12 : kTensor;
  const auto* matmul = std::get_if<MatMul>(&problem.op);
  const auto* conv = std::get_if<Conv>(&problem.op);
  const bool gated = std::holds_alternative<GatedMatMul>(problem.op);
  if (!matmul && !gated && !conv && !std::holds_alternative<Attention>(problem.op)) return tensor * kVectorShare;
  if (!problem.in.empty() && bits(problem.in[0].dtype) <= 16) return tensor;
  bool tf32 = (matmul && matmul->tf32) || (conv && conv->tf32);
  return tensor * (tf32 ? kTf32Share : kVectorShare);
}

double bandwidth(const Target& target) {
  constexpr double kCpu = 10e9, kCuda = 1500e9;
  if (target.copy_gbps > 0) return target.copy_gbps * 1e9;
  return target.is_cuda() ? kCuda : kCpu;
}

}  // namespace

int64_t traffic_bytes(const Problem& problem) {
  int64_t written = 0, total = 0;
  for (const TensorDesc& t : problem.out) written += distinct_bytes(problem, t);
  for (size_t i = 0; i < problem.in.size(); ++i) {
    int64_t bytes = distinct_bytes(problem, problem.in[i]);
    total += i == 0 && reads_part(problem.op) ? std::min(bytes, written) : bytes;
  }
  return total + written;
}

double flops(const Problem& problem) { return std::visit(Flops{problem}, problem.op); }

double Tactic::estimate(const Problem& problem, const Target& target, const Config&) const {
  constexpr double kLaunch = 2e-6;
  double memory = static_cast<double>(traffic_bytes(problem)) / bandwidth(target), arithmetic = flops(problem) / peak_flops(problem, target);
  return std::max(memory, arithmetic) + kLaunch;
}

}  // namespace tuyere
