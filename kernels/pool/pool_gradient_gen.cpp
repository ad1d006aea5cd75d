// SPDX-License-Identifier: Apache-2.0
// Gradients of poolings: every thread adds up what the windows that hold its pixel give to it, in their order, so that nothing is written twice.
#include <algorithm>

#include "kernels/api/other_operator.h"
#include "kernels/codegen/map.h"
#include "kernels/codegen/types.h"

namespace tuyere {
namespace {

using namespace codegen;

std::string number(int64_t v) { return std::to_string(v); }

class PoolGradientWriter {
 public:
  PoolGradientWriter(const Problem& p, const Target& target)
      : p_(p), op_(std::get<PoolGradient>(p.op)), dy_(p.in[0]), dx_(p.out[0]), max_(op_.kind == PoolKind::max), lead_(dx_.rank() - spatial()) {
    arrange();
    threads_ = map_threads(count_at_hints(dx_.shape, p.hints) / vec_, target);
  }

  Kernel write() {
    const Space source = make_space(dy_.shape, {dy_.strides});
    Kernel k("pool_gradient", needs_wide({&space_}) || needs_wide({&source}));
    k.threads = threads_;
    coords_ = begin_map(k, space_.size, vec_);
    accumulator_ = accumulator_ctype(dx_.dtype);
    k.add("  $a acc[$V];\n#pragma unroll\n  for (int j = 0; j < $V; ++j) acc[j] = 0;\n", {{"a", accumulator_}, {"V", number(vec_)}});
    for (int d = 0; d < spatial(); ++d) range(k, d);
    if (max_) flat_place(k);
    loops(k);
    k.add("  $s r[$V];\n#pragma unroll\n  for (int j = 0; j < $V; ++j) r[j] = tg_cvt<$s>(acc[j]);\n  tg_store<$V>($out + $o, r);\n",
          {{"s", storage_ctype(dx_.dtype)},
           {"V", number(vec_)},
           {"out", pointer(k, operand(dx_, static_cast<int>(p_.in.size())), true)},
           {"o", offset(k, space_.strides[0], coords_)}});
    return k;
  }

 private:
  int spatial() const { return static_cast<int>(op_.size.size()); }
  bool adaptive() const { return op_.kernel.empty(); }
  int64_t stride(int d) const { return op_.stride.empty() ? op_.kernel[d] : op_.stride[d]; }
  int64_t pad(int d) const { return op_.pad.empty() ? 0 : op_.pad[d]; }

  /// The space: all pixels by decreasing stride. Spatial dims have no stride in dy here, they come from the windows.
  void arrange() {
    std::vector<Dim> source = dy_.strides, numbers;
    std::vector<Dim> indices(dx_.rank(), Dim(0));
    if (max_) indices = p_.in[1].strides;
    for (int d = 0; d < dx_.rank(); ++d) {
      if (d >= lead_) source[d] = indices[d] = 0;
      numbers.push_back(d);
    }
    space_ = make_space(dx_.shape, {dx_.strides, source, numbers, indices});
    sort_dims(space_, 0, p_.hints);
    std::vector<int> order;
    int inner = -1;  // a size-1 dim may come last by its arbitrary stride
    for (int d = 0; d < space_.rank(); ++d)
      if (!space_.size[d].is_const(1)) inner = d;
    for (int d = 0; d < space_.rank(); ++d)
      if (d != inner) order.push_back(d);
    if (inner >= 0) order.push_back(inner);
    space_ = select(space_, order);
    vec_ = widest_vector(space_, {operand(dx_, 1), operand(dy_, 0)});
    for (int d = lead_; d < dx_.rank(); ++d)
      if (!divisible(dy_.strides[d], vec_)) vec_ = 1;
  }

  std::string coordinate(int logical) const {
    for (int d = 0; d < space_.rank(); ++d)
      if (space_.strides[2][d].is_const(logical)) return coords_[d];
    return "0";
  }

  Vars vars_of(Kernel& k, int d) const {
    return {{"d", number(d)},
            {"i", coordinate(lead_ + d)},
            {"in", k.value(dx_.shape[lead_ + d])},
            {"out", k.value(dy_.shape[lead_ + d])},
            {"k", adaptive() ? "0" : number(op_.kernel[d])},
            {"stride", adaptive() ? "0" : number(stride(d))},
            {"pad", adaptive() ? "0" : number(pad(d))}};
  }

  /// Declares first<d> and last<d>: the windows that hold the pixel.
  void range(Kernel& k, int d) const {
    const Vars vars = vars_of(k, d);
    if (adaptive())
      return k.add(
          "  const idx first$d = (idx)((long long)$i * $out / $in), last$d = tg_lesser((idx)((((long long)$i + 1) * $out - 1) / $in), (idx)$out - 1);\n", vars);
    k.add(
        "  const idx reach$d = (idx)$i + $pad - $k + 1, first$d = reach$d <= 0 ? 0 : (reach$d + $stride - 1) / $stride, last$d = tg_lesser(((idx)$i + $pad) / "
        "$stride, (idx)$out - 1);\n",
        vars);
  }

  void flat_place(Kernel& k) const {
    k.add("  long long place = 0;\n");
    for (int d = 0; d < spatial(); ++d) k.add("  place = place * $in + $i;\n", vars_of(k, d));
  }

  void loops(Kernel& k) const {
    std::string at = offset(k, space_.strides[1], coords_), index = offset(k, space_.strides[3], coords_);
    for (int d = 0; d < spatial(); ++d) {
      k.add("  for (idx o$d = first$d; o$d <= last$d; ++o$d) {\n", {{"d", number(d)}});
      if (!max_ && op_.divisor == 0) count(k, d);
      at += " + o" + number(d) + " * " + k.value(dy_.strides[lead_ + d]);
      if (max_) index += " + o" + number(d) + " * " + k.value(p_.in[1].strides[lead_ + d]);
    }
    const Vars vars = {{"s", storage_ctype(dy_.dtype)}, {"V", number(vec_)}, {"dy", pointer(k, operand(dy_, 0), false)}, {"at", at}, {"a", accumulator_}};
    k.add("    $s v[$V];\n    tg_load<$V>(v, $dy + ($at));\n", vars);
    if (max_) {
      k.add("#pragma unroll\n    for (int j = 0; j < $V; ++j)\n      if (($indices)[$index + (idx)j * $step] == place) acc[j] += tg_cvt<$a>(v[j]);\n",
            {{"V", number(vec_)},
             {"indices", pointer(k, operand(p_.in[1], 1), false)},
             {"index", index},
             {"step", space_.rank() ? k.value(space_.strides[3].back()) : "0"},
             {"a", accumulator_}});
    } else {
      std::string divisor = op_.divisor != 0 ? number(op_.divisor) : "";
      for (int d = 0; d < spatial() && op_.divisor == 0; ++d) divisor += (d ? " * count" : "count") + number(d);
      k.add("    const $a share = ($a)1 / ($a)($n);\n#pragma unroll\n    for (int j = 0; j < $V; ++j) acc[j] += tg_cvt<$a>(v[j]) * share;\n",
            {{"a", accumulator_}, {"n", divisor}, {"V", number(vec_)}});
    }
    for (int d = 0; d < spatial(); ++d) k.add("  }\n");
  }

  /// Declares count<d>: the dim's factor of the divisor of window o<d>.
  void count(Kernel& k, int d) const {
    const Vars vars = vars_of(k, d);
    if (adaptive()) return k.add("    const long long count$d = (((long long)o$d + 1) * $in + $out - 1) / $out - (long long)o$d * $in / $out;\n", vars);
    k.add("    const idx begin$d = o$d * $stride - $pad;\n", vars);
    k.add(op_.count_include_pad ? "    const long long count$d = tg_lesser(begin$d + $k, (idx)$in + $pad) - begin$d;\n"
                                : "    const long long count$d = tg_lesser(begin$d + $k, (idx)$in) - tg_greater(begin$d, (idx)0);\n",
          vars);
  }

  const Problem& p_;
  const PoolGradient& op_;
  const TensorDesc &dy_, &dx_;
  bool max_;
  int lead_, vec_ = 1, threads_ = 256;
  Space space_;
  std::vector<std::string> coords_;
  std::string accumulator_;
};

class GatherPoolGradient final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.pool_gradient.gather"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<PoolGradient>(problem.op), kOtherOperator);
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target& target, const Config&) const override { return {{PoolGradientWriter(problem, target).write()}, 0}; }
};

}  // namespace

DEFINE_TACTIC(GatherPoolGradient)

}  // namespace tuyere
