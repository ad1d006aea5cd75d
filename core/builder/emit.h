// SPDX-License-Identifier: Apache-2.0
// Emission: a placed body with its choices becomes a body of the plan.
#pragma once
#include <string>
#include <vector>

#include "core/builder/choose.h"
#include "core/builder/placement.h"

namespace tuyere {

struct EmitInput {
  const Network& network;
  const Placement& placement;
  const std::vector<Problem>& problems;  // one per step
  const std::vector<Choice>& choices;    // one per step
  const OptimizationProfile& profile;
  std::vector<std::string> output_names;  // empty: those of the tensors
  int body = 0;                           // of the network
};

/// A body as a plan body; its control steps still lack their bodies. Error{User} when a symbol's value cannot be read off an input.
PlanBody emit_body(const EmitInput& input);

/// Where each symbol that the body uses comes from: an input dim that is the symbol, or else a linear expression of it alone.
std::vector<PlanSymbol> bind_symbols(const Body& body, const OptimizationProfile& profile);
/// The symbols in the shapes of a body, sorted.
std::vector<std::string> symbols_of(const Body& body);

/// "conv+add+relu": the operator and the functions of its programs.
std::string step_name(const Op& op);
/// "encoder.layers.3.attn (aten::_softmax, model.py:88)"
std::vector<std::string> origin_lines(const Origins& origins);

/// The arena at the given sizes.
Packing arena_at(const PlanBody& body, const Symbols& sizes);

}  // namespace tuyere
