// SPDX-License-Identifier: Apache-2.0
#include "kernels/codegen/row_writer.h"

#include <algorithm>

#include "kernels/codegen/types.h"

namespace tuyere::codegen {

std::string str(const RowPlan& p) {
  return "vec=" + std::to_string(p.vec) + " tx=" + std::to_string(p.tx) + " ty=" + std::to_string(p.ty) + " keep=" + std::to_string(p.keep) +
         " split=" + std::to_string(p.split);
}

RowPlan parse_row_plan(const Config& config, const RowPlan& d) {
  return {config_int(config, "vec", d.vec), config_int(config, "tx", d.tx), config_int(config, "ty", d.ty), config_int(config, "keep", d.keep),
          config_int(config, "split", d.split)};
}

RowPlan default_row_plan(const Rows& rows, int inputs, const Target& target, const Symbols& hints, int budget) {
  RowPlan plan;
  plan.vec = row_vector(rows, inputs, false);
  const int64_t chunks = std::max<int64_t>(hint(numel(rows.inner.size), hints) / plan.vec, 1),
                outputs = std::max<int64_t>(hint(numel(rows.outer.size), hints), 1);
  const int wanted = std::max(1, std::min(budget / 2, 16) / plan.vec);  // accesses per thread
  plan.ty = 1;
  while (plan.ty < 1024 && static_cast<int64_t>(plan.ty) * wanted < chunks) plan.ty *= 2;
  while (plan.ty > 32 && plan.ty < 256 && outputs < target.multiprocessors && plan.ty * 2 <= chunks) plan.ty *= 2;
  if (!is_static(rows.inner.size) && plan.ty > 256) plan.ty = 256;
  const int64_t keep = (chunks + plan.ty - 1) / plan.ty;
  plan.keep = is_static(rows.inner.size) && keep * plan.vec <= budget ? static_cast<int>(keep) : 0;
  if (plan.keep == 0 && plan.ty > 512) plan.ty = 512;
  plan.tx = plan.ty >= 128 ? 1 : 128 / plan.ty;
  if (plan.ty > 32) plan.tx = 1;
  while (plan.tx > 1 && plan.tx * plan.ty > 32 && outputs / plan.tx < 2 * target.multiprocessors) plan.tx /= 2;
  return plan;
}

double row_slowdown(const Rows& rows, const RowPlan& plan, const Target& target, const Symbols& hints) {
  const double blocks = static_cast<double>(std::max<int64_t>(hint(numel(rows.outer.size), hints), 1)) / plan.tx * plan.split;
  const double threads = blocks * plan.tx * plan.ty, wanted = 1024.0 * std::max(target.multiprocessors, 1);  // half of the threads saturate the memory
  return std::max(1.0, wanted / std::max(threads, 1.0) * (plan.keep > 0 ? 0.5 : 1.0)) * (plan.keep > 0 ? 1.0 : 1.5);
}

RowWriter::RowWriter(Kernel& kernel, const Rows& rows, const RowPlan& plan)
    : AccessWriter(kernel, rows, plan.vec, false), plan_(plan), inner_(rows.inner.size) {
  if (plan_.vec > 1) inner_.back() = floordiv(inner_.back(), plan_.vec);
}

void RowWriter::begin() {
  kernel_.threads = plan_.tx * plan_.ty;
  kernel_.grid = {ceildiv(numel(rows_.outer.size), plan_.tx) * plan_.split, 1, 1};
  kernel_.add(
      "  const int kx = threadIdx.x / $ty, ry = threadIdx.x % $ty;\n  const int part = blockIdx.x % $split; (void)part;\n  const idx o = (idx)(blockIdx.x / "
      "$split) * $tx + kx;\n  const bool live = o < $n;\n",
      {{"ty", std::to_string(plan_.ty)},
       {"split", std::to_string(plan_.split)},
       {"tx", std::to_string(plan_.tx)},
       {"n", kernel_.value(numel(rows_.outer.size))}});
  oc_ = split(kernel_, kernel_.body, "o", rows_.outer.size, "c");
}

void RowWriter::open(bool registers) {
  const Vars vars = {{"E", std::to_string(plan_.keep)}, {"ty", std::to_string(plan_.ty)}, {"step", std::to_string(plan_.ty * plan_.split)}, {"n", steps()}};
  if (registers)
    kernel_.add("#pragma unroll\n  for (int e = 0; e < $E; ++e) {\n    const idx r = ry + e * $ty;\n    if (live && r < $n) {\n", vars);
  else
    kernel_.add("  if (live)\n#pragma unroll 2\n  for (idx r = (idx)part * $ty + ry; r < $n; r += $step) {\n    {\n", vars);
}

void RowWriter::close() { kernel_.add("    }\n  }\n"); }

void RowWriter::coordinates() {
  rc_ = split(kernel_, kernel_.body, "r", inner_, "d");
  if (plan_.vec > 1) {
    kernel_.add("    const idx dv = $c * $v;\n", {{"c", rc_.back()}, {"v", std::to_string(plan_.vec)}});
    rc_.back() = "dv";
  }
}

std::string AccessWriter::address(int t, bool writes) {
  return pointer(kernel_, rows_.ops[t], writes) + " + " + offset(kernel_, rows_.outer.strides[t], oc_) + " + " + offset(kernel_, rows_.inner.strides[t], rc_);
}

std::string AccessWriter::row_address(int t, bool writes) {
  return pointer(kernel_, rows_.ops[t], writes) + " + " + offset(kernel_, rows_.outer.strides[t], oc_);
}

std::string AccessWriter::stride(int t) {
  const Space& along = along_outer_ ? rows_.outer : rows_.inner;
  return along.rank() ? kernel_.value(along.strides[t].back()) : "0";
}

std::string AccessWriter::load_into(int t, const std::string& target) { return load_text(rows_.ops[t], mode(t), vec_, target, address(t, false), stride(t)); }

std::string AccessWriter::load(int t, const std::string& name) { return held_[t] ? "" : declare_text(rows_.ops[t], mode(t), vec_, name) + load_into(t, name); }

std::string AccessWriter::store(int t, const std::string& name) {
  const Vars vars = {{"V", std::to_string(vec_)}, {"at", address(t, true)}, {"n", name}, {"stride", stride(t)}};
  if (mode(t) == Mode::vector) return fill("    tg_store<$V>($at, $n);\n", vars);
  return fill("#pragma unroll\n    for (int j = 0; j < $V; ++j) ($at)[(idx)j * $stride] = $n[j];\n", vars);
}

}  // namespace tuyere::codegen
