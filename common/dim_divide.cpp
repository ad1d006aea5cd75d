// SPDX-License-Identifier: Apache-2.0
// floordiv, ceildiv, mod, min and max of Dims, with the rewrites that bring equal expressions to one form.
// Every rewrite is an identity over all integers for which the divisor is not zero.
#include <algorithm>
#include <numeric>

#include "common/dim_node.h"
#include "common/error.h"

namespace tuyere {
namespace {

constexpr int64_t kMaxNested = int64_t{1} << 40;  // beyond this nested constant divisors are not multiplied

/// a / b when it is one monomial.
std::optional<DimTerm> divide_term(const DimTerm& a, const DimTerm& b) {
  if (b.coefficient == -1 ? a.coefficient == INT64_MIN : a.coefficient % b.coefficient != 0) return std::nullopt;
  DimTerm quotient{a.coefficient / b.coefficient, {}};
  size_t next = 0;
  for (const DimAtomPtr& atom : a.atoms) {
    if (next < b.atoms.size() && dim_compare({atom}, {b.atoms[next]}) == 0)
      ++next;
    else
      quotient.atoms.push_back(atom);
  }
  if (next != b.atoms.size()) return std::nullopt;
  return quotient;
}

/// q with a = q * b, by polynomial division.
std::optional<Dim> exact_quotient(const Dim& a, const Dim& b) {
  Dim quotient, rest = a;
  const DimTerm lead = dim_terms(b)[0];
  for (int round = 0; round < 64; ++round) {
    if (rest.is_const(0)) return quotient;
    std::optional<DimTerm> term = divide_term(dim_terms(rest)[0], lead);
    if (!term) return std::nullopt;
    Dim step = DimNode::make({*term});
    quotient += step;
    rest = rest - step * b;
  }
  return std::nullopt;
}

/// a = quotient * b + rest: the terms of `a` that the single term b divides, and the others. For a constant divisor each coefficient is split.
struct Split {
  Dim quotient, rest;
};

Split split_by(const Dim& a, const DimTerm& b) {
  std::vector<DimTerm> quotient, rest;
  for (const DimTerm& term : dim_terms(a)) {
    if (b.atoms.empty()) {
      quotient.push_back({floor_div_int(term.coefficient, b.coefficient), term.atoms});
      rest.push_back({floor_mod_int(term.coefficient, b.coefficient), term.atoms});
    } else if (std::optional<DimTerm> q = divide_term(term, b)) {
      quotient.push_back(std::move(*q));
    } else {
      rest.push_back(term);
    }
  }
  return {DimNode::make(std::move(quotient)), DimNode::make(std::move(rest))};
}

/// The greatest monomial that divides every term of both.
DimTerm common_factor(const Dim& a, const Dim& b) {
  std::vector<DimTerm> terms = dim_terms(a), more = dim_terms(b);
  terms.insert(terms.end(), more.begin(), more.end());
  DimTerm common{0, terms[0].atoms};
  for (const DimTerm& term : terms) {
    common.coefficient = std::gcd(common.coefficient, term.coefficient);
    std::vector<DimAtomPtr> shared, rest = term.atoms;
    for (const DimAtomPtr& atom : common.atoms) {
      auto same = std::find_if(rest.begin(), rest.end(), [&](const DimAtomPtr& other) { return dim_compare({atom}, {other}) == 0; });
      if (same == rest.end()) continue;
      rest.erase(same);
      shared.push_back(atom);
    }
    common.atoms = std::move(shared);
  }
  return common;
}

Dim divided(const Dim& a, const DimTerm& by) {
  std::vector<DimTerm> terms;
  for (const DimTerm& term : dim_terms(a)) terms.push_back(*divide_term(term, by));
  return DimNode::make(std::move(terms));
}

int64_t constant_of(const Dim& a) {
  std::vector<DimTerm> terms = dim_terms(a);
  return !terms.empty() && terms.back().atoms.empty() ? terms.back().coefficient : 0;
}

/// The single atom of a term `coefficient * atom` when it has this kind and a positive constant second argument.
const DimAtom* constant_divide(const DimTerm& term, DimAtom::Kind kind) {
  if (term.atoms.size() != 1 || term.atoms[0]->kind != kind) return nullptr;
  const Dim& divisor = term.atoms[0]->args[1];
  return divisor.is_const() && divisor.value() > 0 ? term.atoms[0].get() : nullptr;
}

/// Bounds of a sum of constants and remainders by constants.
bool range(const Dim& a, int64_t* low, int64_t* high) {
  *low = *high = 0;
  for (const DimTerm& term : dim_terms(a)) {
    const DimAtom* atom = constant_divide(term, DimAtom::Kind::mod);
    if (!atom && !term.atoms.empty()) return false;
    int64_t reach = atom ? atom->args[1].value() - 1 : 1, bound;
    if (__builtin_mul_overflow(term.coefficient, reach, &bound)) return false;
    if (__builtin_add_overflow(*high, !atom || bound > 0 ? bound : 0, high)) return false;
    if (__builtin_add_overflow(*low, !atom || bound < 0 ? bound : 0, low)) return false;
  }
  return true;
}

/// gcd of the coefficients that are not the constant, and c.
int64_t content(const Dim& a, int64_t c) {
  for (const DimTerm& term : dim_terms(a))
    if (!term.atoms.empty()) c = std::gcd(c, term.coefficient);
  return c;
}

/// (x//k + m) // c  =>  (x + m*k) // (k*c)
std::optional<Dim> flatten_nested(const Dim& a, int64_t c) {
  std::vector<DimTerm> terms = dim_terms(a);
  const DimAtom* inner = constant_divide(terms[0], DimAtom::Kind::floordiv);
  bool alone = terms.size() == 1 || (terms.size() == 2 && terms[1].atoms.empty());
  if (!inner || !alone || terms[0].coefficient != 1) return std::nullopt;
  int64_t k = inner->args[1].value();
  if (k > kMaxNested / c) return std::nullopt;
  return floordiv(inner->args[0] + Dim(constant_of(a)) * Dim(k), Dim(k * c));
}

/// a // c for c > 1 and `a` not a constant.
Dim divide_by_constant(const Dim& a, int64_t c) {
  Split s = split_by(a, {c, {}});
  int64_t low, high;
  if (s.rest.is_const() || (range(s.rest, &low, &high) && floor_div_int(low, c) == floor_div_int(high, c)))
    return s.quotient + Dim(s.rest.is_const() ? 0 : floor_div_int(low, c));
  if (int64_t g = content(s.rest, c); g > 1) {  // (g*x + k) // (g*c)  =>  (x + k//g) // c
    int64_t k = constant_of(s.rest);
    Dim x = divided(s.rest - Dim(k), {g, {}});
    return s.quotient + floordiv(x + Dim(floor_div_int(k, g)), Dim(c / g));
  }
  if (std::optional<Dim> flat = flatten_nested(s.rest, c)) return s.quotient + *flat;
  return s.quotient + DimNode::atom(DimAtom::Kind::floordiv, {s.rest, Dim(c)});
}

/// Terms m * (x % k) with c dividing k become m * x: equal modulo c.
Dim without_inner_mods(const Dim& a, int64_t c) {
  Dim sum;
  for (const DimTerm& term : dim_terms(a)) {
    const DimAtom* inner = constant_divide(term, DimAtom::Kind::mod);
    sum += inner && inner->args[1].value() % c == 0 ? inner->args[0] * Dim(term.coefficient) : DimNode::make({term});
  }
  return sum;
}

/// a % c for c > 1 and `a` not a constant.
Dim remainder_by_constant(const Dim& a, int64_t c) {
  Dim rest = split_by(without_inner_mods(a, c), {c, {}}).rest;
  int64_t low, high;
  if (rest.is_const() || (range(rest, &low, &high) && low >= 0 && high < c)) return rest;
  if (int64_t g = content(rest, c); g > 1) {  // (g*x + g*k + j) % (g*c)  =>  g * ((x + k) % c) + j   for 0 <= j < g
    int64_t k = constant_of(rest);
    Dim x = divided(rest - Dim(k), {g, {}});
    return mod(x + Dim(floor_div_int(k, g)), Dim(c / g)) * Dim(g) + Dim(floor_mod_int(k, g));
  }
  return DimNode::atom(DimAtom::Kind::mod, {rest, Dim(c)});
}

bool is_one(const DimTerm& term) { return term.coefficient == 1 && term.atoms.empty(); }

Dim extreme(DimAtom::Kind kind, const Dim& a, const Dim& b) {
  std::vector<Dim> kept, all;
  for (const Dim* side : {&a, &b}) {
    std::vector<DimTerm> terms = dim_terms(*side);
    if (terms.size() == 1 && terms[0].coefficient == 1 && terms[0].atoms.size() == 1 && terms[0].atoms[0]->kind == kind)
      all.insert(all.end(), terms[0].atoms[0]->args.begin(), terms[0].atoms[0]->args.end());
    else
      all.push_back(*side);
  }
  std::sort(all.begin(), all.end(), [](const Dim& x, const Dim& y) { return dim_compare(x, y) < 0; });
  for (const Dim& candidate : all) {
    bool dominated = false;
    for (Dim& other : kept) {
      Dim difference = candidate - other;
      if (!difference.is_const()) continue;
      dominated = true;
      if ((kind == DimAtom::Kind::min) == (difference.value() < 0)) other = candidate;
      break;
    }
    if (!dominated) kept.push_back(candidate);
  }
  if (kept.size() == 1) return kept[0];
  std::sort(kept.begin(), kept.end(), [](const Dim& x, const Dim& y) { return dim_compare(x, y) < 0; });
  return DimNode::atom(kind, std::move(kept));
}

}  // namespace

Dim floordiv(const Dim& a, const Dim& b) {
  USER_CHECK(!b.is_const(0), "size " << a << " is divided by zero");
  if (b.is_const(1) || a.is_const(0)) return a;
  if (b.is_const() && b.value() < 0) return floordiv(a * Dim(-1), b * Dim(-1));
  if (a.is_const() && b.is_const()) return floor_div_int(a.value(), b.value());
  if (b.is_const()) return divide_by_constant(a, b.value());
  if (std::optional<Dim> exact = exact_quotient(a, b)) return *exact;
  std::vector<DimTerm> divisor = dim_terms(b);
  Split s = divisor.size() == 1 ? split_by(a, divisor[0]) : Split{0, a};
  DimTerm common = common_factor(s.rest, b);
  if (is_one(common)) return s.quotient + DimNode::atom(DimAtom::Kind::floordiv, {s.rest, b});
  return s.quotient + floordiv(divided(s.rest, common), divided(b, common));
}

Dim ceildiv(const Dim& a, const Dim& b) {
  if (b.is_const() && b.value() > 0) return floordiv(a + b - Dim(1), b);
  return floordiv(a * Dim(-1), b) * Dim(-1);
}

Dim mod(const Dim& a, const Dim& b) {
  USER_CHECK(!b.is_const(0), "size " << a << " is divided by zero");
  if (b.is_const(1) || a.is_const(0)) return 0;
  if (b.is_const() && b.value() < 0) return mod(a * Dim(-1), b * Dim(-1)) * Dim(-1);
  if (a.is_const() && b.is_const()) return floor_mod_int(a.value(), b.value());
  if (b.is_const()) return remainder_by_constant(a, b.value());
  if (exact_quotient(a, b)) return 0;
  std::vector<DimTerm> divisor = dim_terms(b);
  Dim rest = divisor.size() == 1 ? split_by(a, divisor[0]).rest : a;
  DimTerm common = common_factor(rest, b);
  if (is_one(common)) return DimNode::atom(DimAtom::Kind::mod, {rest, b});
  return mod(divided(rest, common), divided(b, common)) * DimNode::make({common});
}

Dim min(const Dim& a, const Dim& b) {
  if (a.is_const() && b.is_const()) return std::min(a.value(), b.value());
  return extreme(DimAtom::Kind::min, a, b);
}

Dim max(const Dim& a, const Dim& b) {
  if (a.is_const() && b.is_const()) return std::max(a.value(), b.value());
  return extreme(DimAtom::Kind::max, a, b);
}

}  // namespace tuyere
