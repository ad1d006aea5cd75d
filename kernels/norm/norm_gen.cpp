// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm/norm_gen.h"

#include <algorithm>

#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

const char* kDefinitions = R"(
typedef $T T;
struct Sum { T v; TGF_U void merge(const Sum& o) { v += o.v; } };
TGF double tgn_share(double n, double all) { return n / all; }
#ifdef TG_EMULATE
TGF float tgn_share(float n, float all) { return n / all; }
#else
TGF float tgn_share(float n, float all) { return __fdividef(n, all); }  // counts are far from where it gives 0
#endif
struct Stats {
  T n, mean, m2;
  TGF_U void merge(const Stats& o) {
    const T t = n + o.n;
    const T d = o.mean - mean, f = t > 0 ? tgn_share(o.n, t) : (T)0;
    mean += d * f; m2 += o.m2 + d * d * n * f; n = t;
  }
  TGF_U void merge(const Stats& o, int, int) { merge(o); }
};
// Of a times N elements, or b times in the other: counts that are known when the kernel is compiled.
template <int N> struct Even {
  T mean, m2;
  TGF_U void merge(const Even& o, int a, int b) {
    const T d = o.mean - mean, f = (T)b / (T)(a + b);
    mean += d * f; m2 += o.m2 + d * d * ((T)N * (T)a * f);
  }
};
)";

class NormWriter {
 public:
  NormWriter(const NormForm& f, const RowPlan& plan, int workspace) : f_(f), plan_(plan), workspace_(workspace) {}

  Kernel panel(const PanelForm& form, const PanelPlan& panel) {
    Kernel k = make("norm_panel");
    PanelWriter w(k, form, panel);
    w.begin(f_.out);
    w.load_panel();
    const std::string type = w.even() ? "Even<" + std::to_string(panel.keep * plan_.vec / w.statistics()) + ">" : "Stats";
    panel_statistics(k, w, type);
    w.hold(f_.inputs, f_.out);
    w.merge(type);
    w.take_merged(type);
    panel_result(k, w, w.even() ? std::to_string(numel(f_.rows.inner.size).value() * form.group) : "total[w].n");
    return k;
  }

  /// What a block knows of its groups goes to the workspace, behind the groups' results.
  Kernel panel_parts(const PanelForm& form, const PanelPlan& panel) {
    Kernel k = make("norm_panel_parts");
    PanelWriter w(k, form, panel);
    w.begin(static_cast<int>(f_.rows.ops.size()));
    w.load_panel();
    panel_statistics(k, w, "Stats");
    w.merge("Stats");
    w.put_groups("Stats", workspace_);
    return k;
  }

  Kernel panel_merge(const PanelForm& form, const PanelPlan& panel) {
    Kernel k = make("norm_panel_merge");
    emit_panel_merge(k, form, panel, "Stats", "{0, 0, 0}", workspace_);
    return k;
  }

  Kernel panel_apply(const PanelForm& form, const PanelPlan& panel) {
    Kernel k = make("norm_panel_apply");
    PanelWriter w(k, form, panel);
    w.begin(f_.out, true);
    w.hold(f_.inputs, f_.out);
    w.take_groups("Stats", workspace_);
    w.load_panel();
    w.forget();
    panel_result(k, w, "total[w].n");
    return k;
  }

  Kernel registers() {
    Kernel k = make("norm");
    RowWriter w(k, f_.rows, plan_);
    w.begin();
    Vars vars = common(w);
    vars.push_back({"n", w.steps()});
    for (int t = 0; t < f_.inputs; ++t) k.body += declare_text(f_.rows.ops[t], w.mode(t), plan_.vec, name("a", t), "[" + std::to_string(plan_.keep) + "]");
    k.add("  T v[$E][$V];\n", vars);
    w.open(true);
    w.coordinates();
    for (int t = 0; t < f_.inputs; ++t) k.body += w.load_into(t, name("a", t) + "[e]");
    w.close();
    k.add(
        "  Sum sum = {0};\n#pragma unroll\n  for (int e = 0; e < $E; ++e)\n#pragma unroll\n  for (int j = 0; j < $V; ++j) {\n    v[e][j] = 0;\n    if (live && "
        "ry + (idx)e * $ty < $n) {\n",
        vars);
    k.add("    v[e][j] = $x;\n    sum.v += $term;\n    }\n  }\n", {{"x", value(k, elements(w, "[e]"))}, {"term", f_.rms ? "v[e][j] * v[e][j]" : "v[e][j]"}});
    k.add("  __shared__ Sum shared[$warps];\n  const T total = tg_group_merge<$ty>(sum, shared).v;\n", vars);
    if (f_.rms) {
      k.add("  const T rstd = (T)1 / sqrt(total / (T)$count + (T)$eps);\n", vars);
    } else {
      k.add(R"(  const T mean = total / (T)$count;
  Sum squares = {0};
#pragma unroll
  for (int e = 0; e < $E; ++e)
#pragma unroll
  for (int j = 0; j < $V; ++j) if (live && ry + (idx)e * $ty < $n) { const T d = v[e][j] - mean; squares.v += d * d; }
  const T rstd = (T)1 / sqrt(tg_group_merge<$ty>(squares, shared).v / (T)$count + (T)$eps);
)",
            vars);
    }
    put_statistics(k, w);
    w.open(true);
    w.coordinates();
    finish(k, w, elements(w, "[e]"), "v[e][j]");
    w.close();
    return k;
  }

  Kernel passes() {
    Kernel k = make("norm");
    RowWriter w(k, f_.rows, plan_);
    w.begin();
    k.add("  __shared__ Sum shared[$warps];\n", common(w));
    pass_sum(k, w, "first", f_.rms ? "x * x" : "x");
    if (f_.rms) {
      k.add("  const T rstd = (T)1 / sqrt(first / (T)$count + (T)$eps);\n", common(w));
    } else {
      k.add("  const T mean = first / (T)$count;\n", common(w));
      pass_sum(k, w, "second", "(x - mean) * (x - mean)");
      k.add("  const T rstd = (T)1 / sqrt(second / (T)$count + (T)$eps);\n", common(w));
    }
    pass_apply(k, w);
    return k;
  }

  Kernel partial() {
    Kernel k = make("norm_statistics");
    RowWriter w(k, f_.rows, plan_);
    w.begin();
    k.add("  Stats acc = {0, 0, 0};\n");
    w.open(false);
    load_all(k, w);
    k.add("    T x_[$V];\n    T sum = 0;\n#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", common(w));
    k.add("    x_[j] = $x;\n    sum += $term;\n    }\n", {{"x", value(k, elements(w, ""))}, {"term", f_.rms ? "x_[j] * x_[j]" : "x_[j]"}});
    if (f_.rms)
      k.add("    acc.n += $V; acc.m2 += sum;\n", common(w));
    else
      k.add(
          "    Stats part_ = {$V, sum / $V, 0};\n#pragma unroll\n    for (int j = 0; j < $V; ++j) { const T d = x_[j] - part_.mean; part_.m2 += d * d; }\n    "
          "acc.merge(part_);\n",
          common(w));
    w.close();
    k.add("  __shared__ Stats shared[$warps];\n  acc = tg_group_merge<$ty>(acc, shared);\n  if (live && ry == 0) ((Stats*)$w)[o * $split + part] = acc;\n",
          with_workspace(k, w, true));
    return k;
  }

  Kernel apply() {
    Kernel k = make("norm_apply");
    RowWriter w(k, f_.rows, plan_);
    w.begin();
    k.add("  Stats all = {0, 0, 0};\n  if (live) for (int s = 0; s < $split; ++s) all.merge(((const Stats*)$w)[o * $split + s]);\n",
          with_workspace(k, w, false));
    k.add("  const T mean = all.mean; (void)mean;\n  const T rstd = (T)1 / sqrt(all.m2 / (T)$count + (T)$eps);\n", common(w));
    pass_apply(k, w);
    return k;
  }

 private:
  static std::string name(const char* prefix, int t) { return prefix + std::to_string(t); }

  Kernel make(const std::string& kernel_name) const {
    Kernel k(kernel_name, needs_wide({&f_.rows.outer, &f_.rows.inner}));
    k.define(kDefinitions, {{"T", f_.real64 ? "double" : "float"}});
    return k;
  }

  /// Of what it holds of a group, every thread has mean and squares in two passes; only those are merged.
  void panel_statistics(Kernel& k, PanelWriter& w, const std::string& type) {
    const Vars vars = {{"P", type}, {"W", std::to_string(w.statistics())}, {"each", std::to_string(plan_.vec / w.statistics())}};
    k.add("  $P part[$W];\n  T n = 0;\n#pragma unroll\n  for (int w = 0; w < $W; ++w) part[w].mean = part[w].m2 = 0;\n", vars);
    const auto over_accesses = [&](const char* each_access, const char* text) {
      w.open();
      k.add(each_access, vars);
      k.add("#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", common(w));
      const std::string x = value(k, w.elements());
      k.add(text, {{"x", x}, vars[2]});
      k.add("    }\n");
      w.close();
    };
    over_accesses("    n += (T)$each;\n", "    part[j / $each].mean += $x;\n");
    w.forget();
    k.add("  const T inverse = n > 0 ? (T)1 / n : (T)0;\n#pragma unroll\n  for (int w = 0; w < $W; ++w) part[w].mean *= inverse;\n", vars);
    over_accesses("", "    const T d = $x - part[j / $each].mean; part[j / $each].m2 += d * d;\n");
    if (type == "Stats") k.add("#pragma unroll\n  for (int w = 0; w < $W; ++w) part[w].n = n;\n", vars);
  }

  /// `count`: the elements of a group. Results of 16 bits take one multiplication and addition: its rounding is far below theirs.
  void panel_result(Kernel& k, PanelWriter& w, const std::string& count) {
    const std::string at = "[j / " + std::to_string(plan_.vec / w.statistics()) + "]";
    Vars vars = common(w);
    vars.emplace_back("W", std::to_string(w.statistics()));
    vars.emplace_back("n", count);
    const bool fused = short_results();
    vars.emplace_back("mean", fused ? "-total[w].mean * rstd[w]" : "total[w].mean");
    k.add("  T mean[$W], rstd[$W];\n#pragma unroll\n  for (int w = 0; w < $W; ++w) {\n", vars);
    k.add("    rstd[w] = (T)1 / sqrt(total[w].m2 / (T)$n + (T)$eps);\n    mean[w] = $mean;\n  }\n", vars);
    w.open();
    finish(k, w, w.elements(), "", "mean" + at, "rstd" + at, fused);
    w.close_results(f_.out);
  }

  bool short_results() const {
    for (int t = 0; t < f_.outputs; ++t)
      if (const DType type = f_.rows.ops[f_.out + t].dtype; !is_float(type) || bits(type) > 16) return false;
    return !f_.rms;
  }

  Vars common(AccessWriter& w) const {
    char eps[32];
    std::snprintf(eps, sizeof eps, "%.17g", f_.eps);
    return {{"E", std::to_string(plan_.keep)},
            {"V", std::to_string(plan_.vec)},
            {"ty", std::to_string(plan_.ty)},
            {"warps", std::to_string(std::max(plan_.ty / 32, 1))},
            {"count", w.count()},
            {"eps", eps},
            {"split", std::to_string(plan_.split)}};
  }
  Vars with_workspace(Kernel& k, RowWriter& w, bool writes) const {
    Vars vars = common(w);
    vars.push_back({"w", k.pointer(workspace_, "char", writes)});
    return vars;
  }

  void load_all(Kernel& k, RowWriter& w) {
    w.coordinates();
    for (int t = 0; t < f_.inputs; ++t) k.body += w.load(t, name("a", t));
  }

  /// Element j of the prologue's inputs in arrays a<t><suffix>.
  std::vector<std::string> elements(const RowWriter& w, const std::string& suffix) const {
    std::vector<std::string> out;
    for (int t = 0; t < f_.inputs; ++t) out.push_back(element(name("a", t) + suffix, w.mode(t)));
    return out;
  }

  /// Computes prologue output 0 of these elements; results_ has all of them.
  std::string value(Kernel& k, const std::vector<std::string>& from) {
    results_ = emit_program(f_.prologue, f_.rows.ops, from, "t", k.body);
    return "(T)(" + results_[0] + ")";
  }

  void pass_sum(Kernel& k, RowWriter& w, const std::string& result, const std::string& term) {
    k.add("  Sum $r_sum = {0};\n", {{"r_sum", result + "_sum"}});
    w.open(false);
    load_all(k, w);
    k.add("#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", common(w));
    k.add("    const T x = $x;\n    $sum.v += $term;\n    }\n", {{"x", value(k, elements(w, ""))}, {"sum", result + "_sum"}, {"term", term}});
    w.close();
    k.add("  const T $r = tg_group_merge<$ty>($sum, shared).v;\n", {{"r", result}, {"ty", std::to_string(plan_.ty)}, {"sum", result + "_sum"}});
  }

  /// One thread of the row's first block.
  void put_statistics(Kernel& k, RowWriter& w) {
    if (f_.statistics < 0) return;
    k.add("  if (live && ry == 0 && part == 0) {\n    *($mean) = (float)mean;\n    *($rstd) = (float)rstd;\n  }\n",
          {{"mean", w.row_address(f_.statistics, true)}, {"rstd", w.row_address(f_.statistics + 1, true)}});
  }

  void pass_apply(Kernel& k, RowWriter& w) {
    put_statistics(k, w);
    w.open(false);
    load_all(k, w);
    finish(k, w, elements(w, ""));
    w.close();
  }

  /// Result of one access; `fused`: `mean` is what is added to x times rstd. `kept`: the expression of x when it is in registers; otherwise it is computed from
  /// the inputs' elements.
  void finish(Kernel& k, AccessWriter& w, const std::vector<std::string>& from, const std::string& kept = "", const std::string& mean = "mean",
              const std::string& rstd = "rstd", bool fused = false) {
    const std::string v = std::to_string(plan_.vec);
    for (int t = f_.inputs; t < f_.out; ++t) k.body += w.load(t, name("b", t));
    for (int t = 0; t < f_.outputs; ++t) k.add("    $s y$t[$V];\n", {{"s", storage_ctype(f_.rows.ops[f_.out + t].dtype)}, {"t", std::to_string(t)}, {"V", v}});
    k.add("#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", {{"V", v}});
    std::string x = kept;
    if (kept.empty() || f_.outputs > 1) x = value(k, from);
    if (!kept.empty()) x = kept;
    auto operand_value = [&](int t) { return "tg_cvt<T>(" + element(name("b", t), w.mode(t)) + ")"; };
    std::string y = f_.rms ? x + " * " + rstd : "(" + x + " - " + mean + ") * " + rstd;
    if (fused) y = x + " * " + rstd + " + " + mean;
    if (f_.weight >= 0) y = "(" + y + ") * " + operand_value(f_.weight);
    if (f_.bias >= 0) y += " + " + operand_value(f_.bias);
    k.add("    const T normed = $y;\n", {{"y", y}});
    std::string result = "normed";
    if (!f_.epilogue.empty()) {
      std::vector<std::string> inputs{"(" + storage_ctype(f_.epilogue.inputs[0]) + ")normed"};
      for (int t = f_.extra; t < f_.extra + f_.extras; ++t)
        inputs.push_back("tg_cvt<" + storage_ctype(f_.epilogue.inputs[inputs.size()]) + ">(" + element(name("b", t), w.mode(t)) + ")");
      result = emit_cuda(f_.epilogue, inputs, "e", k.body)[0];
    }
    for (int t = 0; t < f_.outputs; ++t)
      k.add("    y$t[j] = tg_cvt<$s>($r);\n",
            {{"t", std::to_string(t)}, {"s", storage_ctype(f_.rows.ops[f_.out + t].dtype)}, {"r", t == 0 ? result : results_[t]}});
    k.add("    }\n");
    for (int t = 0; t < f_.outputs; ++t) k.body += w.store(f_.out + t, "y" + std::to_string(t));
  }

  const NormForm& f_;
  const RowPlan& plan_;
  int workspace_;
  std::vector<std::string> results_;
};

/// Dims of x with the channel dim of a group norm split into groups and channels of a group.
std::vector<Dim> split_channels(const std::vector<Dim>& list, const Dim& outer, const Dim& inner) {
  std::vector<Dim> out(list.begin(), list.begin() + 1);
  out.push_back(outer);
  out.push_back(inner);
  out.insert(out.end(), list.begin() + 2, list.end());
  return out;
}

/// Strides of weight and bias over x's dims.
std::vector<Dim> parameter_strides(const Norm& op, const TensorDesc& desc, int rank) {
  std::vector<Dim> out(rank, Dim(0));
  if (op.kind == NormKind::group) {
    out[1] = desc.shape[0].is_const(1) ? Dim(0) : desc.strides[0];
    return out;
  }
  for (int d = 0; d < desc.rank(); ++d)
    if (!desc.shape[d].is_const(1)) out[rank - desc.rank() + d] = desc.strides[d];
  return out;
}

}  // namespace

namespace {

/// The tensors of a norm, and their strides over the output's dims.
NormForm norm_tensors(const Problem& p, std::vector<std::vector<Dim>>& strides) {
  const auto& op = std::get<Norm>(p.op);
  NormForm f;
  f.inputs = op.prologue.empty() ? 1 : static_cast<int>(op.prologue.inputs.size());
  f.rms = op.kind == NormKind::rms;
  f.eps = op.eps;
  f.prologue = op.prologue;
  f.epilogue = op.epilogue;
  f.real64 = program_type(op.prologue, p.in[0].dtype) == DType::F64;
  const Shape& shape = p.out[0].shape;
  const int rank = static_cast<int>(shape.size()), inputs = static_cast<int>(p.in.size());
  int next = f.inputs;
  if (op.has_weight) f.weight = next++;
  if (op.has_bias) f.bias = next++;
  f.extra = next;
  f.extras = inputs - next;
  f.out = inputs;
  f.outputs = static_cast<int>(p.out.size()) - (op.statistics ? 2 : 0);
  if (op.statistics) f.statistics = f.out + f.outputs;
  for (int t = 0; t < inputs; ++t) {
    f.rows.ops.push_back(operand(p.in[t], t));
    strides.push_back(t == f.weight || t == f.bias ? parameter_strides(op, p.in[t], rank) : broadcast_strides(p.in[t], shape));
  }
  for (size_t t = 0; t < p.out.size(); ++t) {
    f.rows.ops.push_back(operand(p.out[t], inputs + static_cast<int>(t)));
    strides.push_back(broadcast_strides(p.out[t], shape));
  }
  return f;
}

/// The tensor in whose order a row is gone through: it is read up to three times, and written once.
int read_order(const NormForm& f) {
  for (int t = 0; t < f.inputs; ++t) {
    const auto& strides = f.rows.inner.strides[t];
    bool whole = true;
    for (int d = 0; d < f.rows.inner.rank(); ++d) whole = whole && (!strides[d].is_const(0) || f.rows.inner.size[d].is_const(1));
    if (whole) return t;
  }
  return f.out;
}

}  // namespace

NormForm norm_form(const Problem& p) {
  const auto& op = std::get<Norm>(p.op);
  std::vector<std::vector<Dim>> strides;
  NormForm f = norm_tensors(p, strides);
  Shape shape = p.out[0].shape;
  const int rank = static_cast<int>(shape.size());
  std::vector<int> outer, inner;
  if (op.kind == NormKind::group) {
    const Dim per_group = floordiv(shape[1], op.groups);
    for (auto& s : strides) s = split_channels(s, s[1] * per_group, s[1]);
    shape = split_channels(shape, op.groups, per_group);
    outer = {0, 1};
    for (int d = 2; d <= rank; ++d) inner.push_back(d);
  } else {
    for (int d = 0; d < rank; ++d) (d < rank - static_cast<int>(op.axes) ? outer : inner).push_back(d);
  }
  const Space all = make_space(shape, strides);
  f.rows.outer = select(all, outer);
  f.rows.inner = select(all, inner);
  normalize(f.rows.outer, f.out, p.hints);
  normalize(f.rows.inner, read_order(f), p.hints);
  return f;
}

NormForm channel_norm_form(const Problem& p) {
  std::vector<std::vector<Dim>> strides;
  NormForm f = norm_tensors(p, strides);
  const Space all = make_space(p.out[0].shape, strides);
  std::vector<int> spatial;
  for (int d = 2; d < all.rank(); ++d) spatial.push_back(d);
  f.rows.outer = select(all, {0, 1});
  f.rows.inner = select(all, spatial);
  normalize(f.rows.inner, 0, p.hints);
  return f;
}

PanelForm norm_panel_form(const NormForm& form, int64_t group) { return {form.rows, form.inputs, group, form.real64 ? 24 : 12}; }

Generated norm_panel_kernels(const NormForm& form, int64_t group, const PanelPlan& plan, int workspace_position) {
  const RowPlan access{plan.vec};
  const PanelForm panel = norm_panel_form(form, group);
  NormWriter writer(form, access, workspace_position);
  if (plan.split == 1) return {{writer.panel(panel, plan)}, 0};
  return {{writer.panel_parts(panel, plan), writer.panel_merge(panel, plan), writer.panel_apply(panel, plan)}, split_bytes(panel, plan)};
}

Generated norm_kernels(const NormForm& form, const RowPlan& plan, int workspace_position) {
  NormWriter writer(form, plan, workspace_position);
  if (plan.split > 1) return {{writer.partial(), writer.apply()}, ceildiv(numel(form.rows.outer.size) * plan.split * 24, 256) * 256};
  return {{plan.keep > 0 ? writer.registers() : writer.passes()}, 0};
}

}  // namespace tuyere::codegen
