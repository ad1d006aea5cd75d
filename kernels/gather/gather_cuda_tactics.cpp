// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "kernels/api/other_operator.h"
#include "kernels/codegen/types.h"
#include "kernels/gather/gather_gen.h"
#include "kernels/gather/gather_tactics.h"

namespace tuyere {
namespace {

using namespace codegen;

bool is_scatter(const Op& op) { return std::holds_alternative<ScatterElements>(op) || std::holds_alternative<IndexPut>(op); }

/// Rows of 16-byte accesses where the dims behind the axis allow, single elements otherwise.
class GatherCopy final : public CudaTactic {
 public:
  std::string_view name() const override { return "own.gather.copy"; }
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(std::holds_alternative<Gather>(problem.op) || std::holds_alternative<GatherElements>(problem.op) || std::holds_alternative<Index>(problem.op),
            kOtherOperator);
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target& target, const Config& config) const override {
    const Elementwise e = gather_elementwise(problem);
    return {{elementwise_kernel("gather", e, parse_shape_config(config, default_shape(e, target, problem.hints)))}, 0};
  }
};

double entries(const Problem& p) { return static_cast<double>(hint(numel(select(scatter_form(p).space, scatter_form(p).indexed_dims).size), p.hints)); }
double source_elements(const Problem& p) { return static_cast<double>(hint(numel(scatter_form(p).space.size), p.hints)); }
double target_elements(const Problem& p) { return static_cast<double>(hint(numel(p.out[0].shape), p.hints)); }

class ScatterTactic : public CudaTactic {
 public:
  Support accepts(const Problem& problem, const Target&) const override {
    REQUIRE(is_scatter(problem.op), kOtherOperator);
    return restrictions(problem);
  }

 protected:
  virtual Support restrictions(const Problem&) const { return Support::yes(); }
};

class ScatterDirect final : public ScatterTactic {
 public:
  std::string_view name() const override { return "own.scatter.direct"; }
  Support restrictions(const Problem& problem) const override {
    const ScatterForm form = scatter_form(problem);
    REQUIRE(form.kind == ScatterKind::set, "combines values");
    REQUIRE(!problem.deterministic || numel(select(form.space, form.indexed_dims).size).is_const(1), "repeated indices would be written in no order");
    return Support::yes();
  }
  Generated generate(const Problem& problem, const Target& target, const Config&) const override {
    return {{scatter_copy_kernel(problem, target), scatter_direct_kernel(problem, scatter_form(problem), target)}, 0};
  }
};

class ScatterLine final : public ScatterTactic {
 public:
  std::string_view name() const override { return "own.scatter.line"; }
  Support restrictions(const Problem& problem) const override {
    // Partial sums live in the output: a short float would be rounded after every addition.
    const ScatterForm form = scatter_form(problem);
    const bool short_float = is_float(problem.out[0].dtype) && size_of(problem.out[0].dtype) < 4;
    REQUIRE(!(short_float && (form.kind == ScatterKind::add || form.kind == ScatterKind::mul)), "short floats accumulate in f32");
    return Support::yes();
  }
  double estimate(const Problem& problem, const Target& target, const Config&) const override {
    const double lines = source_elements(problem) / std::max(entries(problem), 1.0);
    return 4e-6 + entries(problem) * 1e-6 * std::max(1.0, lines / (1024.0 * std::max(target.multiprocessors, 1)));
  }
  Generated generate(const Problem& problem, const Target& target, const Config&) const override {
    return {{scatter_copy_kernel(problem, target), scatter_line_kernel(problem, scatter_form(problem), target)}, 0};
  }
};

class ScatterOwner final : public ScatterTactic {
 public:
  std::string_view name() const override { return "own.scatter.owner"; }
  double estimate(const Problem& problem, const Target& target, const Config&) const override {
    return 2e-6 + entries(problem) * 2e-8 * std::max(1.0, target_elements(problem) / (1024.0 * std::max(target.multiprocessors, 1)));
  }
  Generated generate(const Problem& problem, const Target& target, const Config&) const override {
    return {{scatter_owner_kernel(problem, scatter_form(problem), target)}, 0};
  }
};

class ScatterRows final : public ScatterTactic {
 public:
  std::string_view name() const override { return "own.scatter.rows"; }
  Support restrictions(const Problem& problem) const override {
    REQUIRE(std::holds_alternative<IndexPut>(problem.op), "every line has indices of its own");
    return Support::yes();
  }
  /// A block scans all entries, a thousand in about a microsecond; together they read them from L2.
  double estimate(const Problem& problem, const Target& target, const Config& config) const override {
    const double lines = source_elements(problem) / std::max(entries(problem), 1.0), rows = target_elements(problem) / std::max(lines, 1.0);
    const double blocks = rows * std::ceil(lines / 512.0), reads = blocks * entries(problem) * 8;
    return 3e-6 + Tactic::estimate(problem, target, config) + std::max(entries(problem) * 1e-9, reads / 4e12);
  }
  Generated generate(const Problem& problem, const Target&, const Config&) const override { return {{scatter_rows_kernel(problem, scatter_form(problem))}, 0}; }
};

}  // namespace

void add_gather_cuda_tactics(TacticList& list) {
  list.push_back(std::make_unique<GatherCopy>());
  list.push_back(std::make_unique<ScatterDirect>());
  list.push_back(std::make_unique<ScatterOwner>());
  list.push_back(std::make_unique<ScatterLine>());
  list.push_back(std::make_unique<ScatterRows>());
}

}  // namespace tuyere
