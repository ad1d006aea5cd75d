// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool/pool_gen.h"

#include <algorithm>

#include "kernels/codegen/map.h"
#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

std::string number(int64_t v) { return std::to_string(v); }

class PoolWriter {
 public:
  PoolWriter(const Problem& p, const Target& target) : p_(p), x_(p.in[0]), out_(p.out[0]) {
    if (const auto* pool = std::get_if<Pool>(&p.op)) {
      pool_ = pool;
      spatial_ = static_cast<int>(pool->kernel.size());
      max_ = pool->kind == PoolKind::max;
    } else {
      const auto& adaptive = std::get<AdaptivePool>(p.op);
      spatial_ = static_cast<int>(adaptive.out.size());
      max_ = adaptive.kind == PoolKind::max;
    }
    lead_ = x_.rank() - spatial_;
    places_ = max_ && (p.out.size() > 1 || !is_float(x_.dtype));
    arrange();
    threads_ = map_threads(count_at_hints(out_.shape, p.hints) / vec_, target);
  }

  Kernel write() {
    const Space x_space = make_space(x_.shape, {x_.strides});
    Kernel k("pool", needs_wide({&space_}) || needs_wide({&x_space}));
    k.threads = threads_;
    coords_ = begin_map(k, space_.size, vec_);
    const bool real = is_float(x_.dtype);
    const std::string acc = max_ ? compute_ctype(x_.dtype) : accumulator_ctype(x_.dtype);
    if (in_pairs()) {
      const Vars vars = {{"s", storage_ctype(x_.dtype)}, {"V", number(vec_)}};
      k.define(pair_maximum(x_.dtype, true));
      k.define("union tgp_values { $s s[$V]; unsigned w[$V / 2]; TGF_U tgp_values() {} };\n", vars);
      k.add("  tgp_values acc;\n#pragma unroll\n  for (int i = 0; i < $V / 2; ++i) acc.w[i] = tg_pair_least;\n", vars);
    } else {
      k.add("  $a acc[$V];\n#pragma unroll\n  for (int j = 0; j < $V; ++j) acc[j] = $zero;\n",
            {{"a", acc}, {"V", number(vec_)}, {"zero", max_ && real ? "(" + acc + ")__uint_as_float(0xff800000u)" : "0"}});
    }
    if (places_) k.add("  long long at[$V];\n#pragma unroll\n  for (int j = 0; j < $V; ++j) at[j] = -1;\n", {{"V", number(vec_)}});
    if (!max_) k.add("  long long padded = 1, inside = 1;\n");
    for (int d = 0; d < spatial_; ++d) pool_ ? window(k, d) : adaptive_window(k, d);
    loops(k);
    if (in_pairs())
      k.add("  tg_store<$V>($out + $o, acc.s);\n",
            {{"V", number(vec_)}, {"out", pointer(k, operand(out_, 1), true)}, {"o", offset(k, space_.strides[0], coords_)}});
    else
      store(k, acc);
    return k;
  }

 private:
  bool in_pairs() const { return max_ && !places_ && vec_ % 2 == 0 && x_.dtype == out_.dtype && (x_.dtype == DType::F16 || x_.dtype == DType::BF16); }

  /// The space: all output dims by decreasing output stride; the spatial dims have no stride in x here, they come from the window.
  void arrange() {
    std::vector<Dim> x_strides = x_.strides, numbers;
    for (int d = 0; d < x_.rank(); ++d) {
      if (d >= lead_) x_strides[d] = 0;
      numbers.push_back(d);
    }
    std::vector<std::vector<Dim>> strides{out_.strides, x_strides, numbers};
    if (p_.out.size() > 1) strides.push_back(p_.out[1].strides);
    space_ = make_space(out_.shape, strides);
    sort_dims(space_, 0, p_.hints);
    if (space_.rank() == 0) return;
    // A size-1 dim may come last by its arbitrary stride: the widest dim of stride 1 carries the vectors.
    for (int d = space_.rank() - 1; d >= 0; --d) {
      if (space_.size[d].is_const(1)) continue;
      std::vector<int> order;
      for (int e = 0; e < space_.rank(); ++e)
        if (e != d) order.push_back(e);
      order.push_back(d);
      space_ = select(space_, order);
      break;
    }
    bool aligned = true;
    vec_ = widest_vector(space_, {operand(out_, 1), operand(x_, 0)});
    for (int v = vec_; v > 1 && aligned; v = 0)
      for (int d = lead_; d < x_.rank(); ++d) aligned = aligned && divisible(x_.strides[d], vec_);
    if (!aligned) vec_ = 1;
  }

  std::string coordinate(int logical) const {
    for (int d = 0; d < space_.rank(); ++d)
      if (space_.strides[2][d].is_const(logical)) return coords_[d];
    return "0";
  }

  /// Declares first<d> (may be negative) and the pieces of the divisor.
  void window(Kernel& k, int d) {
    const int64_t stride = pool_->stride.empty() ? pool_->kernel[d] : pool_->stride[d], pad = pool_->pad.empty() ? 0 : pool_->pad[d];
    const Vars vars = {{"d", number(d)},
                       {"o", coordinate(lead_ + d)},
                       {"stride", number(stride)},
                       {"pad", number(pad)},
                       {"n", k.value(x_.shape[lead_ + d])},
                       {"k", number(pool_->kernel[d])},
                       {"dil", number(dilation(d))}};
    k.add("  const idx first$d = (idx)$o * $stride - $pad;\n", vars);
    if (!max_)
      k.add(
          "  {\n    const idx end = first$d + ($k - 1) * $dil + 1;\n    padded *= tg_lesser(end, (idx)($n + $pad)) - first$d;\n    idx begin = first$d;\n    "
          "if (begin < 0) begin += (-begin + $dil - 1) / $dil * $dil;\n"
          "    inside *= tg_greater((idx)0, (tg_lesser(end, (idx)$n) - begin + $dil - 1) / $dil);\n  }\n",
          vars);
  }

  void adaptive_window(Kernel& k, int d) {
    const Vars vars = {{"d", number(d)}, {"o", coordinate(lead_ + d)}, {"in", k.value(x_.shape[lead_ + d])}, {"out", k.value(out_.shape[lead_ + d])}};
    k.add("  const idx first$d = (idx)((long long)$o * $in / $out), count$d = (idx)((((long long)$o + 1) * $in + $out - 1) / $out) - first$d;\n", vars);
    if (!max_) k.add("  inside *= count$d;\n", vars);
  }

  int64_t dilation(int d) const { return pool_ && !pool_->dilation.empty() ? pool_->dilation[d] : 1; }

  /// Pixels outside are read as the nearest one inside, which every window that reaches over the border has too: a maximum stays what it is, and no load waits
  /// for a branch.
  bool clamps(int d) const {
    const Dim &in = x_.shape[lead_ + d], &out = out_.shape[lead_ + d];
    if (!pool_ || !max_ || places_ || dilation(d) != 1 || !in.is_const() || !out.is_const()) return false;
    const int64_t stride = pool_->stride.empty() ? pool_->kernel[d] : pool_->stride[d], pad = pool_->pad.empty() ? 0 : pool_->pad[d];
    return pad < pool_->kernel[d] && (out.value() - 1) * stride - pad < in.value();
  }

  void loops(Kernel& k) {
    int64_t taps = 1;
    std::string at = "0", flat = "(long long)0";
    if (pool_)
      for (int64_t n : pool_->kernel) taps *= n;
    for (int d = 0; d < spatial_; ++d) {
      const Vars vars = {{"d", number(d)},
                         {"n", pool_ ? number(pool_->kernel[d]) : "count" + number(d)},
                         {"unroll", pool_ && taps <= 32 ? "#pragma unroll\n" : ""},
                         {"dil", number(dilation(d))},
                         {"size", k.value(x_.shape[lead_ + d])}};
      k.add("$unroll  for (int k$d = 0; k$d < $n; ++k$d) {\n", vars);
      k.add(clamps(d) ? "    const idx y$d = tg_lesser(tg_greater(first$d + k$d, (idx)0), (idx)$size - 1);\n" : "    const idx y$d = first$d + k$d * $dil;\n",
            vars);
      if (pool_ && !clamps(d)) k.add("    if (y$d < 0 || y$d >= $size) continue;\n", vars);
      at += " + y" + number(d) + " * " + k.value(x_.strides[lead_ + d]);
      flat = "(" + flat + ") * " + k.value(x_.shape[lead_ + d]) + " + y" + number(d);
    }
    take(k, pointer(k, operand(x_, 0), false) + " + " + offset(k, space_.strides[1], coords_) + " + (" + at + ")", flat);
    for (int d = 0; d < spatial_; ++d) k.add("  }\n");
  }

  void take(Kernel& k, const std::string& address, const std::string& flat) {
    const Vars vars = {{"s", storage_ctype(x_.dtype)}, {"V", number(vec_)}, {"at", address}, {"c", compute_ctype(x_.dtype)}};
    if (in_pairs()) {
      k.add("    tgp_values v;\n    tg_load<$V>(v.s, $at);\n#pragma unroll\n    for (int i = 0; i < $V / 2; ++i) acc.w[i] = tg_pair_max(acc.w[i], v.w[i]);\n",
            vars);
      return;
    }
    k.add("    $s v[$V];\n    tg_load<$V>(v, $at);\n#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n      const $c value = tg_cvt<$c>(v[j]);\n", vars);
    if (places_)
      k.add("      if (at[j] < 0 || value > acc[j] || value != value) { acc[j] = value; at[j] = $flat; }\n", {{"flat", flat}});
    else
      k.add(max_ ? "      acc[j] = tg_max(acc[j], value);\n" : "      acc[j] += value;\n");
    k.add("    }\n");
  }

  void store(Kernel& k, const std::string& acc) {
    std::string value = "acc[j]";
    if (!max_) {
      const bool fixed = pool_ && pool_->divisor != 0;
      const std::string divisor = fixed ? number(pool_->divisor) : pool_ && pool_->count_include_pad ? "padded" : "inside";
      value += " / (" + acc + ")" + divisor;
    }
    k.add("  $s r[$V];\n#pragma unroll\n  for (int j = 0; j < $V; ++j) r[j] = tg_cvt<$s>($v);\n  tg_store<$V>($out + $o, r);\n",
          {{"s", storage_ctype(out_.dtype)},
           {"V", number(vec_)},
           {"v", value},
           {"out", pointer(k, operand(out_, 1), true)},
           {"o", offset(k, space_.strides[0], coords_)}});
    if (p_.out.size() > 1)
      k.add("#pragma unroll\n  for (int j = 0; j < $V; ++j) ($out)[$o + (idx)j * $stride] = at[j];\n",
            {{"V", number(vec_)},
             {"out", pointer(k, operand(p_.out[1], 2), true)},
             {"o", offset(k, space_.strides[3], coords_)},
             {"stride", space_.rank() ? k.value(space_.strides[3].back()) : "0"}});
  }

  const Problem& p_;
  const TensorDesc &x_, &out_;
  const Pool* pool_ = nullptr;
  int spatial_ = 0, lead_ = 0, vec_ = 1, threads_ = 256;
  bool max_ = false, places_ = false;  // places_: the maxima's indices are kept, as results or because integers have no infinity to start from
  Space space_;
  std::vector<std::string> coords_;
};

}  // namespace

Kernel pool_kernel(const Problem& problem, const Target& target) { return PoolWriter(problem, target).write(); }

bool is_global_pool(const Problem& p) {
  const auto* op = std::get_if<AdaptivePool>(&p.op);
  return op && p.out.size() == 1 && std::all_of(op->out.begin(), op->out.end(), [](int64_t n) { return n == 1; });
}

}  // namespace tuyere::codegen
