// SPDX-License-Identifier: Apache-2.0
// An axis of any length that is not innermost: lanes run along neighbouring rows, statistics in one pass, the result in a second.
#include <algorithm>

#include "kernels/codegen/types.h"
#include "kernels/softmax/softmax_gen.h"

namespace tuyere {

using namespace codegen;

namespace {

/// tx threads of vec neighbouring rows by ty parts of the axis per block; `unroll` accesses per thread are under way at a time.
struct ColumnPlan {
  int vec = 1, tx = 32, ty = 8, unroll = 4;
};

std::string text(const ColumnPlan& p) {
  return "vec=" + std::to_string(p.vec) + " tx=" + std::to_string(p.tx) + " ty=" + std::to_string(p.ty) + " unroll=" + std::to_string(p.unroll);
}

class ColumnWriter : public AccessWriter {
 public:
  ColumnWriter(Kernel& k, const SoftmaxForm& f, const ColumnPlan& plan) : AccessWriter(k, f.rows, plan.vec, true), f_(f), plan_(plan) {
    vars_ = {{"V", std::to_string(plan.vec)},
             {"U", std::to_string(plan.unroll)},
             {"tx", std::to_string(plan.tx)},
             {"ty", std::to_string(plan.ty)},
             {"T", std::to_string(plan.tx * plan.ty)},
             {"n", k.value(numel(f.rows.inner.size))},
             {"s", storage_ctype(f.rows.ops[f.inputs].dtype)}};
  }

  void write() {
    begin();
    kernel_.add("  Online acc[$V];\n#pragma unroll\n  for (int j = 0; j < $V; ++j) acc[j].init();\n", vars_);
    open();
    statistics();
    kernel_.add("  }\n");
    merge();
    open();
    result();
    kernel_.add("  }\n");
  }

 private:
  void begin() {
    std::vector<Dim> outer = rows_.outer.size;
    if (vec_ > 1) outer.back() = floordiv(outer.back(), vec_);
    kernel_.threads = plan_.tx * plan_.ty;
    kernel_.grid[0] = ceildiv(numel(outer), plan_.tx);
    kernel_.add("  const int kx = threadIdx.x % $tx, ry = threadIdx.x / $tx;\n  const idx o = (idx)blockIdx.x * $tx + kx;\n", vars_);
    kernel_.add("  const bool live = o < $n;\n", {{"n", kernel_.value(numel(outer))}});
    oc_ = split(kernel_, kernel_.body, "o", outer, "c");
    kernel_.add("  const idx cv = $c * $V;\n", {{"c", oc_.back()}, vars_[0]});
    oc_.back() = "cv";
  }

  /// A round of accesses into a<t>[u][j].
  void open() {
    kernel_.add("  if (live)\n  for (idx first = ry; first < $n; first += $U * $ty) {\n", vars_);
    for (int t = 0; t < f_.inputs; ++t) kernel_.body += declare_text(rows_.ops[t], mode(t), vec_, name(t), "[" + vars_[1].second + "]");
    each();
    for (int t = 0; t < f_.inputs; ++t) kernel_.body += load_into(t, name(t) + "[u]");
    kernel_.add("    }\n  }\n");
  }

  void each() {
    kernel_.add("#pragma unroll\n  for (int u = 0; u < $U; ++u) {\n    const idx r = first + u * $ty;\n    if (r < $n) {\n", vars_);
    rc_ = split(kernel_, kernel_.body, "r", rows_.inner.size, "d");
  }

  void statistics() {
    kernel_.add(
        "#pragma unroll\n  for (int j = 0; j < $V; ++j) {\n    T value[$U], top = acc[j].m;\n#pragma unroll\n    for (int u = 0; u < $U; ++u) {\n"
        "    value[u] = TG_NEG_INF;\n    if (first + u * $ty < $n) {\n",
        vars_);
    emit_softmax_input(kernel_, f_, elements());
    kernel_.add(R"(    value[u] = x;
    top = tgs_max(top, x);
    }
    }
    if (top > acc[j].m) { acc[j].s *= tgs_exp(acc[j].m - top); acc[j].m = top; }
    const T base = top > TG_NEG_INF ? top : (T)0;
#pragma unroll
    for (int u = 0; u < $U; ++u) acc[j].s += tgs_exp(value[u] - base);
  }
)",
                vars_);
  }

  void merge() {
    if (plan_.ty > 1)
      kernel_.add(R"(  __shared__ Online shared[$V * $T];
#pragma unroll
  for (int j = 0; j < $V; ++j) shared[j * $T + threadIdx.x] = acc[j];
  __syncthreads();
#pragma unroll
  for (int j = 0; j < $V; ++j) {
    acc[j] = shared[j * $T + kx];
    for (int y = 1; y < $ty; ++y) acc[j].merge(shared[j * $T + y * $tx + kx]);
  }
)",
                  vars_);
    kernel_.add("#pragma unroll\n  for (int j = 0; j < $V; ++j) acc[j].s = $scale;\n", {vars_[0], {"scale", softmax_scale(f_, "acc[j].s")}});
  }

  void result() {
    each();
    kernel_.add("    $s y[$V];\n#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", vars_);
    emit_softmax_input(kernel_, f_, elements());
    kernel_.add("    y[j] = tg_cvt<$s>($r);\n    }\n", {vars_.back(), {"r", softmax_result(f_, "x", "acc[j].m", "acc[j].s")}});
    kernel_.body += store(f_.inputs, "y");
    kernel_.add("    }\n  }\n");
  }

  static std::string name(int t) { return "a" + std::to_string(t); }
  std::vector<std::string> elements() const {
    std::vector<std::string> out;
    for (int t = 0; t < f_.inputs; ++t) out.push_back(element(name(t) + "[u]", mode(t)));
    return out;
  }

  const SoftmaxForm& f_;
  ColumnPlan plan_;
  Vars vars_;
};

ColumnPlan default_column_plan(const SoftmaxForm& f, const Symbols& hints) {
  ColumnPlan plan;
  plan.vec = row_vector(f.rows, f.inputs, true);
  const int64_t lanes = hint(f.rows.outer.size.back(), hints) / plan.vec, n = hint(numel(f.rows.inner.size), hints);
  plan.tx = plan.vec > 1 ? 8 : 32;
  plan.ty = 256 / plan.tx;
  while (plan.tx > 8 && plan.tx / 2 >= lanes) plan.tx /= 2;
  while (plan.ty > 1 && plan.ty * 2 > n && plan.tx * plan.ty > 32) plan.ty /= 2;
  return plan;
}

}  // namespace

class ColumnSoftmax final : public SoftmaxTactic {
 public:
  std::string_view name() const override { return "own.softmax.column"; }
  Support restrictions(const SoftmaxForm& form, const Problem& problem, const Target&) const override {
    REQUIRE(form.rows.outer.rank() > 0 && form.rows.outer.strides[form.inputs].back().is_const(1), "neighbouring rows are not neighbours in memory");
    REQUIRE(hint(form.rows.outer.size.back(), problem.hints) >= 4, "too few neighbouring rows");
    return Support::yes();
  }
  std::vector<Config> configs(const Problem& problem, const Target&, int level) const override {
    const ColumnPlan best = default_column_plan(softmax_form(problem), problem.hints);
    std::vector<Config> out{text(best)};
    if (level < 3) return out;
    for (const auto& [tx, ty, unroll] : {std::array{best.tx, best.ty, 8}, std::array{best.tx * 2, best.ty / 2, 4}, std::array{best.tx, best.ty * 2, 4}})
      if (ty >= 1 && tx * ty * best.vec <= 4096) out.push_back(text({best.vec, tx, ty, unroll}));
    return out;
  }
  /// The input is read twice.
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    const SoftmaxForm form = softmax_form(problem);
    const ColumnPlan plan = default_column_plan(form, problem.hints);
    const double threads = static_cast<double>(std::max<int64_t>(hint(numel(form.rows.outer.size), problem.hints), 1)) / plan.vec * plan.ty;
    return 1.5 * Tactic::estimate(problem, target, config) * std::max(1.0, 512.0 * std::max(target.multiprocessors, 1) / threads);
  }
  Generated generate(const Problem& problem, const Target&, const Config& config) const override {
    const SoftmaxForm form = softmax_form(problem);
    const ColumnPlan best = default_column_plan(form, problem.hints);
    const ColumnPlan plan{config_int(config, "vec", best.vec), config_int(config, "tx", best.tx), config_int(config, "ty", best.ty),
                          config_int(config, "unroll", best.unroll)};
    Kernel k = softmax_kernel(form, "softmax_column");
    ColumnWriter(k, form, plan).write();
    return {{std::move(k)}, 0};
  }
};

DEFINE_TACTIC(ColumnSoftmax)

}  // namespace tuyere
