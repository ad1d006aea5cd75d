// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>

#include "common/error.h"
#include "core/builder/emit.h"

namespace tuyere {
namespace {

/// `dim` as a * symbol + b with constant a != 0 and b: evaluation and reconstruction prove it.
bool is_linear(const Dim& dim, const std::string& symbol) {
  std::vector<std::string> names;
  dim.collect(names);
  if (names.size() != 1 || names[0] != symbol) return false;
  int64_t at[2];
  for (int i = 0; i < 2; ++i) {
    Symbols values;
    values.set(symbol, i);
    if (!dim.try_eval(values, &at[i])) return false;
  }
  return at[1] != at[0] && dim == Dim(at[1] - at[0]) * Dim::symbol(symbol) + Dim(at[0]);
}

std::optional<PlanSymbol> bind(const Body& body, const std::string& symbol) {
  for (bool plain : {true, false}) {
    for (size_t i = 0; i < body.inputs.size(); ++i) {
      const Shape& shape = body.tensors[body.inputs[i]].type.shape;
      for (size_t d = 0; d < shape.size(); ++d) {
        if (plain ? shape[d] == Dim::symbol(symbol) : is_linear(shape[d], symbol))
          return PlanSymbol{symbol, static_cast<int>(i), static_cast<int>(d), shape[d]};
      }
    }
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> symbols_of(const Body& body) {
  std::vector<std::string> names;
  for (const Tensor& tensor : body.tensors) {
    for (const Dim& dim : tensor.type.shape) dim.collect(names);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

std::vector<PlanSymbol> bind_symbols(const Body& body, const OptimizationProfile& profile) {
  std::vector<PlanSymbol> result;
  for (const std::string& name : symbols_of(body)) {
    std::optional<PlanSymbol> symbol = bind(body, name);
    USER_CHECK(symbol,
               "the size '" << name << "' cannot be read off any input: give an input a dimension that is '" << name << "' or a linear expression of it alone");
    if (auto range = profile.symbols.find(name); range != profile.symbols.end()) {
      symbol->min = range->second.min;
      symbol->max = range->second.max;
      symbol->opt = range->second.opt;
    }
    result.push_back(*symbol);
  }
  return result;
}

}  // namespace tuyere
