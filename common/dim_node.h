// SPDX-License-Identifier: Apache-2.0
// The inside of Dim: a polynomial with integer coefficients over atoms. Only common/dim*.cpp include this.
#pragma once
#include <optional>

#include "common/dim.h"

namespace tuyere {

struct DimAtom;
using DimAtomPtr = std::shared_ptr<const DimAtom>;

/// coefficient * atom * atom * ...; atoms sorted. The constant of a polynomial is a term without atoms.
struct DimTerm {
  int64_t coefficient = 0;
  std::vector<DimAtomPtr> atoms;
};

/// What cannot be expanded into sums and products. Arguments are canonical themselves.
struct DimAtom {
  enum class Kind : uint8_t { symbol, floordiv, mod, min, max } kind;
  std::string name;       // symbol
  std::vector<Dim> args;  // floordiv, mod: two; min, max: two or more, sorted, none dominated by another
};

/// Never a constant: at least one term has atoms. Terms are sorted by falling degree, then by atoms; the constant, if any, is last.
struct DimNode {
  std::vector<DimTerm> terms;

  static const DimNode* of(const Dim& dim) { return dim.node_.get(); }
  /// The Dim of a sum of terms in any order.
  static Dim make(std::vector<DimTerm> terms);
  static Dim atom(DimAtom::Kind kind, std::vector<Dim> args, std::string_view name = {});
};

/// Every term, the constant included; empty for 0.
std::vector<DimTerm> dim_terms(const Dim& dim);
/// Total order on canonical forms; 0 when equal.
int dim_compare(const Dim& a, const Dim& b);
int dim_compare(const std::vector<DimAtomPtr>& a, const std::vector<DimAtomPtr>& b);
int64_t floor_div_int(int64_t a, int64_t b);
int64_t floor_mod_int(int64_t a, int64_t b);

}  // namespace tuyere
