// SPDX-License-Identifier: Apache-2.0
// Lanes along neighbouring rows, for an axis that is not innermost: tx rows by ty parts of the axis per block.
#include "kernels/codegen/types.h"
#include "kernels/softmax/softmax_gen.h"

namespace tuyere {

using namespace codegen;

namespace {

Kernel column_kernel(const SoftmaxForm& f, int tx, int ty) {
  Kernel k = softmax_kernel(f, "softmax_column");
  k.threads = tx * ty;
  k.grid[0] = ceildiv(numel(f.rows.outer.size), tx);
  const int out = f.inputs;
  const Vars vars = {
      {"tx", std::to_string(tx)}, {"ty", std::to_string(ty)}, {"outer", k.value(numel(f.rows.outer.size))}, {"n", k.value(numel(f.rows.inner.size))}};
  k.add("  const int kx = threadIdx.x % $tx, ry = threadIdx.x / $tx;\n  const idx o = (idx)blockIdx.x * $tx + kx;\n  const bool live = o < $outer;\n", vars);
  const auto oc = split(k, k.body, "o", f.rows.outer.size, "c");
  auto address = [&](int t, bool writes) {
    return pointer(k, f.rows.ops[t], writes) + " + " + offset(k, f.rows.outer.strides[t], oc) + " + " + offset(k, f.rows.inner.strides[t], {"r"});
  };
  auto open = [&] {
    k.add("  if (live)\n#pragma unroll 4\n  for (idx r = ry; r < $n; r += $ty) {\n", vars);
    for (int t = 0; t < f.inputs; ++t)
      k.body += declare_text(f.rows.ops[t], Mode::broadcast, 1, "a" + std::to_string(t)) +
                load_text(f.rows.ops[t], Mode::broadcast, 1, "a" + std::to_string(t), address(t, false), "0");
    emit_softmax_input(k, f, nullptr, "");
  };
  k.add("  Online acc;\n  acc.init();\n");
  open();
  k.add("    acc.add(x);\n  }\n");
  if (ty > 1)
    k.add(R"(  __shared__ Online shared[$tx * $ty];
  shared[threadIdx.x] = acc;
  __syncthreads();
  acc = shared[kx];
  for (int y = 1; y < $ty; ++y) acc.merge(shared[y * $tx + kx]);
)",
          vars);
  k.add("  const T m = acc.m, s = acc.s;\n");
  k.add(softmax_scale(f));
  open();
  k.add("    *($at) = tg_cvt<$s>($r);\n  }\n", {{"at", address(out, true)}, {"s", storage_ctype(f.rows.ops[out].dtype)}, {"r", softmax_result(f, "x")}});
  return k;
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
  Generated generate(const Problem& problem, const Target&, const Config& config) const override {
    const SoftmaxForm form = softmax_form(problem);
    const int64_t lanes = hint(form.rows.outer.size.back(), problem.hints), n = hint(numel(form.rows.inner.size), problem.hints);
    int tx = 32, ty = 8;
    while (tx > 8 && tx / 2 >= lanes) tx /= 2;
    while (ty > 1 && ty * 2 > n && tx * ty > 32) ty /= 2;
    return {{column_kernel(form, config_int(config, "tx", tx), config_int(config, "ty", ty))}, 0};
  }
};

DEFINE_TACTIC(ColumnSoftmax)

}  // namespace tuyere
