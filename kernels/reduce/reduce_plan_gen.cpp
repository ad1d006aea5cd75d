// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "kernels/codegen/types.h"
#include "kernels/reduce/reduce_accumulator.h"

namespace tuyere::codegen {
namespace {

const char* text_of(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::sum:
      return "sum";
    case ReduceKind::mean:
      return "mean";
    case ReduceKind::max:
      return "max";
    case ReduceKind::min:
      return "min";
    case ReduceKind::prod:
      return "prod";
    case ReduceKind::any:
      return "any";
    case ReduceKind::all:
      return "all";
    case ReduceKind::var:
      return "var";
  }
  return "";
}

std::vector<int> axes_of(const std::vector<int64_t>& axes, int rank) {
  std::vector<int> out;
  for (int64_t a : axes) out.push_back(static_cast<int>(a < 0 ? a + rank : a));
  return out;
}

int64_t below(int64_t limit, int64_t wanted) {
  int64_t v = 1;
  while (v * 2 <= limit && v < wanted) v *= 2;
  return v;
}

constexpr int64_t kLargeBytes = int64_t{16} << 20;

/// Whether the memory's bandwidth decides, rather than how many blocks there are.
bool is_large(const ReduceForm& f, const Symbols& hints) {
  return hint(numel(f.rows.outer.size), hints) * hint(numel(f.rows.inner.size), hints) * size_of(f.rows.ops[0].dtype) >= kLargeBytes;
}

}  // namespace

ReduceForm reduce_form_over(const Problem& p, const std::vector<int>& axes, bool keepdim, int inputs) {
  Shape shape = p.in[0].shape;
  for (int k = 1; k < inputs; ++k) shape = broadcast(shape, p.in[k].shape);
  std::vector<int> kept, reduced;
  for (int d = 0; d < static_cast<int>(shape.size()); ++d) (std::find(axes.begin(), axes.end(), d) != axes.end() ? reduced : kept).push_back(d);
  const TensorDesc& out = p.out[0];
  auto from_output = [&](const std::vector<Dim>& strides) {
    std::vector<Dim> s(shape.size(), Dim(0));
    for (size_t i = 0; i < kept.size(); ++i) s[kept[i]] = strides[keepdim ? kept[i] : i];
    return s;
  };
  ReduceForm f;
  f.inputs = inputs;
  std::vector<std::vector<Dim>> strides;
  for (int k = 0; k < static_cast<int>(p.in.size()); ++k) {
    f.rows.ops.push_back(operand(p.in[k], k));
    strides.push_back(k < inputs ? broadcast_strides(p.in[k], shape) : from_output(broadcast_strides(p.in[k], out.shape)));
  }
  f.rows.ops.push_back(operand(out, static_cast<int>(p.in.size())));
  strides.push_back(from_output(out.strides));
  const Space all = make_space(shape, strides);
  f.rows.outer = select(all, kept);
  f.rows.inner = select(all, reduced);
  normalize(f.rows.outer, 0, p.hints);
  normalize(f.rows.inner, 0, p.hints);
  f.type = out.dtype;
  f.value = compute_type(p.in[0].dtype);
  return f;
}

ReduceForm reduce_form(const Problem& p) {
  if (const auto* arg = std::get_if<ArgReduce>(&p.op)) {
    ReduceForm f = reduce_form_over(p, axes_of({arg->axis}, p.in[0].rank()), arg->keepdim, 1);
    f.kind = arg->kind == ArgKind::argmax ? "argmax" : "argmin";
    return f;
  }
  const auto& op = std::get<Reduce>(p.op);
  const int inputs = op.prologue.empty() ? 1 : static_cast<int>(op.prologue.inputs.size());
  int rank = 0;
  for (int k = 0; k < inputs; ++k) rank = std::max(rank, p.in[k].rank());
  ReduceForm f = reduce_form_over(p, axes_of(op.axes, rank), op.keepdim, inputs);
  f.kind = text_of(op.kind);
  f.correction = op.correction;
  f.prologue = op.prologue;
  f.epilogue = op.epilogue;
  f.value = op.prologue.empty() ? compute_type(p.in[0].dtype) : compute_type(op.prologue.type_of(op.prologue.outputs[0]));
  return f;
}

bool prefers_column(const ReduceForm& f, const Symbols& hints) {
  const Space &outer = f.rows.outer, &inner = f.rows.inner;
  if (outer.rank() == 0 || !outer.strides[0].back().is_const(1) || hint(outer.size.back(), hints) < 4) return false;
  return inner.rank() == 0 || !inner.strides[0].back().is_const(1);
}

ReducePlan default_plan(const ReduceForm& f, const Target& target, const Symbols& hints, bool column) {
  ReducePlan plan;
  plan.column = column;
  plan.vec = row_vector(f.rows, f.inputs, column);
  const int64_t outputs = hint(numel(f.rows.outer.size), hints), count = hint(numel(f.rows.inner.size), hints);
  const int64_t blocks_wanted = 2 * std::max(target.multiprocessors, 1);
  if (is_large(f, hints) && (column || outputs < blocks_wanted)) return filling_plan(f, target, hints, column, 256, 4, 8);
  if (column) {
    if (plan.vec > 4) plan.vec = 4;
    const int64_t lanes = std::max<int64_t>(outputs / plan.vec, 1);
    plan.tx = static_cast<int>(below(std::min<int64_t>(lanes * 2 - 1, 32), 32));
    plan.ty = static_cast<int>(below(std::max<int64_t>(count / 4, 1), 256 / plan.tx));
    while (plan.tx * plan.ty < 32) plan.ty *= 2;
    const int64_t blocks = std::max<int64_t>((lanes + plan.tx - 1) / plan.tx, 1), steps = count / plan.ty;
    while (blocks * plan.split * 2 <= blocks_wanted && steps / plan.split >= 16 && plan.split < 256) plan.split *= 2;
    return plan;
  }
  const int64_t chunks = std::max<int64_t>(count / plan.vec, 1);
  if (chunks <= 32 || (chunks <= 512 && outputs >= 8 * blocks_wanted)) {
    plan.ty = static_cast<int>(below(chunks, 32));
    if (chunks > 8 && plan.ty > 4) plan.ty = std::max(4, plan.ty / 2);
    if (chunks > 64) plan.ty = 32;
    plan.tx = 256 / plan.ty;
    while (plan.tx > 1 && plan.tx * plan.ty > 64 && outputs / plan.tx < blocks_wanted) plan.tx /= 2;
    return plan;
  }
  plan.tx = 1;
  plan.ty = static_cast<int>(std::max<int64_t>(below(chunks / 2, 256), 32));
  while (outputs * plan.split * 2 <= blocks_wanted && chunks / plan.ty / plan.split >= 16 && plan.split < 256) plan.split *= 2;
  return plan;
}

ReducePlan filling_plan(const ReduceForm& f, const Target& target, const Symbols& hints, bool column, int threads, int per_multiprocessor, int unroll) {
  ReducePlan plan;
  plan.column = column;
  plan.unroll = unroll;
  plan.vec = row_vector(f.rows, f.inputs, column);
  plan.chunks = column && is_extreme(f) && f.prologue.empty();
  if (column && plan.vec > 4 && accumulator_bytes(f) > 8) plan.vec = 4;
  const int64_t outputs = std::max<int64_t>(hint(numel(f.rows.outer.size), hints), 1), count = std::max<int64_t>(hint(numel(f.rows.inner.size), hints), 1);
  const int64_t lanes = column ? std::max<int64_t>(outputs / plan.vec, 1) : 1, rounds = column ? count : std::max<int64_t>(count / plan.vec, 1);
  plan.tx = static_cast<int>(below(std::min<int64_t>(lanes * 2 - 1, 32), 32));
  plan.ty = static_cast<int>(std::max<int64_t>(below(rounds, threads / plan.tx), (31 + plan.tx) / plan.tx));
  const int64_t blocks = column ? (lanes + plan.tx - 1) / plan.tx : outputs, wanted = int64_t{per_multiprocessor} * std::max(target.multiprocessors, 1);
  plan.split = static_cast<int>(std::clamp<int64_t>(wanted / blocks, 1, std::clamp<int64_t>(rounds / plan.ty / unroll, 1, 2048)));
  return plan;
}

std::optional<ReducePlan> cluster_plan(const ReduceForm& f, const Target& target, const Symbols& hints, int threads, int bytes) {
  constexpr int kLongest = 8, kPerMultiprocessor = 1024;  // blocks, threads
  ReducePlan plan = filling_plan(f, target, hints, true, threads, kPerMultiprocessor / threads, 8);
  const int64_t outputs = std::max<int64_t>(hint(numel(f.rows.outer.size), hints), 1), count = hint(numel(f.rows.inner.size), hints);
  plan.tx = bytes / (plan.vec * size_of(f.rows.ops[0].dtype));
  if (plan.tx == 0 || plan.tx > threads || outputs < int64_t{plan.tx} * plan.vec) return {};
  plan.ty = threads / plan.tx;
  const int64_t blocks = (outputs / plan.vec + plan.tx - 1) / plan.tx, wanted = int64_t{kPerMultiprocessor / threads} * std::max(target.multiprocessors, 1);
  plan.split = plan.cluster = static_cast<int>(target.sm >= 90 ? below(kLongest, wanted / blocks) : 1);
  while (plan.cluster > 1 && plan.cluster * blocks > wanted) plan.split = plan.cluster /= 2;
  if (plan.cluster * blocks * 10 < wanted * 9 || count < int64_t{plan.ty} * plan.split * plan.unroll) return {};
  return plan;
}

std::string str(const ReducePlan& plan) {
  return std::string(plan.column ? "column=1" : "column=0") + " vec=" + std::to_string(plan.vec) + " tx=" + std::to_string(plan.tx) +
         " ty=" + std::to_string(plan.ty) + " split=" + std::to_string(plan.split) + " unroll=" + std::to_string(plan.unroll) +
         (plan.cluster > 1 ? " cluster=" + std::to_string(plan.cluster) : "") + (plan.chunks ? " chunks=1" : "");
}

ReducePlan parse_plan(const Config& config, const ReducePlan& d) {
  ReducePlan plan{
      config_int(config, "column", d.column) != 0, config_int(config, "vec", d.vec),      config_int(config, "tx", d.tx), config_int(config, "ty", d.ty),
      config_int(config, "split", d.split),        config_int(config, "unroll", d.unroll)};
  plan.cluster = config_int(config, "cluster", config.empty() ? d.cluster : 1);
  plan.chunks = config_int(config, "chunks", config.empty() && d.chunks) != 0;
  return plan;
}

}  // namespace tuyere::codegen
