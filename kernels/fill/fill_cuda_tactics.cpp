// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/other_operator.h"
#include "kernels/codegen/elementwise.h"
#include "kernels/codegen/map.h"
#include "kernels/codegen/types.h"
#include "kernels/fill/fill_tactics.h"

namespace tuyere {
namespace {

using namespace codegen;

/// One value everywhere: 16-byte stores.
class ConstantFill final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.fill.constant"; }
  Support accepts(const Problem& problem, const Target&) const override {
    const auto* op = std::get_if<Fill>(&problem.op);
    REQUIRE(op, kOtherOperator);
    REQUIRE(!op->use_dim, "the value is a size");
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const TensorDesc& out = problem.out[0];
    Elementwise e;
    e.program.outputs = {static_cast<int16_t>(e.program.constant(std::get<Fill>(problem.op).value, compute_type(out.dtype)))};
    e.out.push_back({operand(out, 0), {}});
    e.space = make_space(out.shape, {out.strides});
    normalize(e.space, 0, problem.hints);
    return {{elementwise_kernel("fill", e, parse_shape_config(config, default_shape(e, target, problem.hints)))}, 0};
  }
};

/// Values made from sizes and positions: iota, fills by a size.
class Count final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.fill.count"; }
  Support accepts(const Problem& problem, const Target&) const override {
    const auto* fill_op = std::get_if<Fill>(&problem.op);
    REQUIRE((fill_op && fill_op->use_dim) || std::holds_alternative<Iota>(problem.op), kOtherOperator);
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target& target, const Config&) const override {
    const TensorDesc& out = problem.out[0];
    Kernel k("count", true);  // values are 64-bit whatever the sizes
    k.threads = map_threads(count_at_hints(out.shape, problem.hints), target);
    const auto coords = begin_map(k, out.shape);
    std::string value;
    if (const auto* iota = std::get_if<Iota>(&problem.op))
      value = k.value(iota->start) + " + (long long)" + k.value(iota->step) + " * " + (coords.empty() ? "0" : coords[0]);
    else
      value = k.value(std::get<Fill>(problem.op).dim);
    k.add("  ($out)[$o] = tg_cvt<$s>((long long)($v));\n",
          {{"out", pointer(k, operand(out, 0), true)}, {"o", offset(k, out.strides, coords)}, {"s", storage_ctype(out.dtype)}, {"v", value}});
    return {{std::move(k)}, 0};
  }
};

}  // namespace

void add_fill_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<ConstantFill>());
  list.push_back(std::make_unique<Count>());
}

}  // namespace tuyere
