// SPDX-License-Identifier: Apache-2.0
// Dim as a value: canonical form, comparison, sums and products, evaluation, substitution.
#include "common/dim.h"

#include <algorithm>
#include <ostream>

#include "common/dim_node.h"
#include "common/error.h"

namespace tuyere {
namespace {

int three_way(int64_t a, int64_t b) { return a < b ? -1 : a > b; }

int compare_atoms(const DimAtom& a, const DimAtom& b) {
  if (&a == &b) return 0;
  if (a.kind != b.kind) return three_way(static_cast<int>(a.kind), static_cast<int>(b.kind));
  if (int c = a.name.compare(b.name)) return c;
  if (a.args.size() != b.args.size()) return a.args.size() < b.args.size() ? -1 : 1;
  for (size_t i = 0; i < a.args.size(); ++i)
    if (int c = dim_compare(a.args[i], b.args[i])) return c;
  return 0;
}

int64_t checked_add(int64_t a, int64_t b) {
  int64_t sum;
  USER_CHECK(!__builtin_add_overflow(a, b, &sum), "size " << a << " + " << b << " does not fit 64 bits");
  return sum;
}

int64_t checked_mul(int64_t a, int64_t b) {
  int64_t product;
  USER_CHECK(!__builtin_mul_overflow(a, b, &product), "size " << a << " * " << b << " does not fit 64 bits");
  return product;
}

bool eval_dim(const Dim& dim, const Symbols& symbols, int64_t* out) noexcept;

bool eval_divide(const DimAtom& atom, const Symbols& symbols, int64_t* out) noexcept {
  int64_t a, b;
  if (!eval_dim(atom.args[0], symbols, &a) || !eval_dim(atom.args[1], symbols, &b) || b == 0) return false;
  if (b == -1 && a == INT64_MIN) return false;
  *out = atom.kind == DimAtom::Kind::floordiv ? floor_div_int(a, b) : floor_mod_int(a, b);
  return true;
}

bool eval_extreme(const DimAtom& atom, const Symbols& symbols, int64_t* out) noexcept {
  if (!eval_dim(atom.args[0], symbols, out)) return false;
  for (size_t i = 1; i < atom.args.size(); ++i) {
    int64_t v;
    if (!eval_dim(atom.args[i], symbols, &v)) return false;
    *out = atom.kind == DimAtom::Kind::min ? std::min(*out, v) : std::max(*out, v);
  }
  return true;
}

bool eval_atom(const DimAtom& atom, const Symbols& symbols, int64_t* out) noexcept {
  switch (atom.kind) {
    case DimAtom::Kind::symbol: {
      const int64_t* value = symbols.find(atom.name);
      if (value) *out = *value;
      return value != nullptr;
    }
    case DimAtom::Kind::floordiv:
    case DimAtom::Kind::mod:
      return eval_divide(atom, symbols, out);
    default:
      return eval_extreme(atom, symbols, out);
  }
}

bool eval_dim(const Dim& dim, const Symbols& symbols, int64_t* out) noexcept { return dim.try_eval(symbols, out); }

Dim rebuild(const DimAtom& atom, std::string_view name, const Dim& by) {
  if (atom.kind == DimAtom::Kind::symbol) return atom.name == name ? by : Dim::symbol(atom.name);
  Dim result = atom.args[0].substitute(name, by);
  for (size_t i = 1; i < atom.args.size(); ++i) {
    Dim arg = atom.args[i].substitute(name, by);
    switch (atom.kind) {
      case DimAtom::Kind::floordiv:
        result = floordiv(result, arg);
        break;
      case DimAtom::Kind::mod:
        result = mod(result, arg);
        break;
      case DimAtom::Kind::min:
        result = min(result, arg);
        break;
      default:
        result = max(result, arg);
        break;
    }
  }
  return result;
}

}  // namespace

int64_t floor_div_int(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }
int64_t floor_mod_int(int64_t a, int64_t b) {
  int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

int dim_compare(const std::vector<DimAtomPtr>& a, const std::vector<DimAtomPtr>& b) {
  if (a.size() != b.size()) return a.size() > b.size() ? -1 : 1;
  for (size_t i = 0; i < a.size(); ++i)
    if (int c = compare_atoms(*a[i], *b[i])) return c;
  return 0;
}

int dim_compare(const Dim& a, const Dim& b) {
  const DimNode *x = DimNode::of(a), *y = DimNode::of(b);
  if (x == y) return x ? 0 : three_way(a.value(), b.value());
  if (!x || !y) return x ? -1 : 1;
  for (size_t i = 0; i < x->terms.size() && i < y->terms.size(); ++i) {
    if (int c = dim_compare(x->terms[i].atoms, y->terms[i].atoms)) return c;
    if (int c = three_way(x->terms[i].coefficient, y->terms[i].coefficient)) return c;
  }
  return three_way(static_cast<int64_t>(y->terms.size()), static_cast<int64_t>(x->terms.size()));
}

std::vector<DimTerm> dim_terms(const Dim& dim) {
  if (const DimNode* node = DimNode::of(dim)) return node->terms;
  if (dim.value() == 0) return {};
  return {{dim.value(), {}}};
}

Dim DimNode::make(std::vector<DimTerm> terms) {
  std::sort(terms.begin(), terms.end(), [](const DimTerm& a, const DimTerm& b) { return dim_compare(a.atoms, b.atoms) < 0; });
  std::vector<DimTerm> merged;
  for (DimTerm& term : terms) {
    if (!merged.empty() && dim_compare(merged.back().atoms, term.atoms) == 0)
      merged.back().coefficient = checked_add(merged.back().coefficient, term.coefficient);
    else
      merged.push_back(std::move(term));
  }
  std::erase_if(merged, [](const DimTerm& term) { return term.coefficient == 0; });
  if (merged.empty()) return Dim(0);
  if (merged[0].atoms.empty()) return Dim(merged[0].coefficient);
  return Dim(std::make_shared<const DimNode>(DimNode{std::move(merged)}));
}

Dim DimNode::atom(DimAtom::Kind kind, std::vector<Dim> args, std::string_view name) {
  auto atom = std::make_shared<const DimAtom>(DimAtom{kind, std::string(name), std::move(args)});
  return make({{1, {std::move(atom)}}});
}

void Symbols::set(std::string_view name, int64_t value) {
  for (auto& [known, old] : values)
    if (known == name) {
      old = value;
      return;
    }
  values.emplace_back(name, value);
}

const int64_t* Symbols::find(std::string_view name) const {
  for (const auto& [known, value] : values)
    if (known == name) return &value;
  return nullptr;
}

Dim Dim::symbol(std::string_view name) {
  INTERNAL_CHECK(!name.empty(), "a symbol needs a name");
  return DimNode::atom(DimAtom::Kind::symbol, {}, name);
}

int64_t Dim::value() const {
  INTERNAL_CHECK(is_const(), "size " << str() << " is not a constant");
  return value_;
}

bool Dim::try_eval(const Symbols& symbols, int64_t* out) const noexcept {
  if (!node_) {
    *out = value_;
    return true;
  }
  int64_t sum = 0;
  for (const DimTerm& term : node_->terms) {
    int64_t product = term.coefficient;
    for (const DimAtomPtr& atom : term.atoms) {
      int64_t factor;
      if (!eval_atom(*atom, symbols, &factor) || __builtin_mul_overflow(product, factor, &product)) return false;
    }
    if (__builtin_add_overflow(sum, product, &sum)) return false;
  }
  *out = sum;
  return true;
}

int64_t Dim::eval(const Symbols& symbols) const {
  int64_t value;
  if (try_eval(symbols, &value)) return value;
  std::vector<std::string> names;
  collect(names);
  for (const std::string& name : names) USER_CHECK(symbols.find(name), "size " << str() << ": symbol '" << name << "' has no value");
  USER_CHECK(false, "size " << str() << " divides by zero or does not fit 64 bits");
  return 0;
}

void Dim::collect(std::vector<std::string>& names) const {
  if (!node_) return;
  for (const DimTerm& term : node_->terms)
    for (const DimAtomPtr& atom : term.atoms) {
      if (atom->kind == DimAtom::Kind::symbol && std::find(names.begin(), names.end(), atom->name) == names.end()) names.push_back(atom->name);
      for (const Dim& arg : atom->args) arg.collect(names);
    }
}

Dim Dim::substitute(std::string_view name, const Dim& by) const {
  if (!node_) return *this;
  Dim sum;
  for (const DimTerm& term : node_->terms) {
    Dim product = term.coefficient;
    for (const DimAtomPtr& atom : term.atoms) product *= rebuild(*atom, name, by);
    sum += product;
  }
  return sum;
}

Dim operator+(const Dim& a, const Dim& b) {
  if (a.is_const() && b.is_const()) return checked_add(a.value_, b.value_);
  if (a.is_const(0)) return b;
  if (b.is_const(0)) return a;
  std::vector<DimTerm> terms = dim_terms(a);
  for (DimTerm& term : dim_terms(b)) terms.push_back(std::move(term));
  return DimNode::make(std::move(terms));
}

Dim operator-(const Dim& a, const Dim& b) { return a + b * Dim(-1); }

Dim operator*(const Dim& a, const Dim& b) {
  if (a.is_const() && b.is_const()) return checked_mul(a.value_, b.value_);
  if (a.is_const(1)) return b;
  if (b.is_const(1)) return a;
  std::vector<DimTerm> terms;
  for (const DimTerm& x : dim_terms(a))
    for (const DimTerm& y : dim_terms(b)) {
      DimTerm term{checked_mul(x.coefficient, y.coefficient), x.atoms};
      term.atoms.insert(term.atoms.end(), y.atoms.begin(), y.atoms.end());
      std::sort(term.atoms.begin(), term.atoms.end(), [](const DimAtomPtr& p, const DimAtomPtr& q) { return compare_atoms(*p, *q) < 0; });
      terms.push_back(std::move(term));
    }
  return DimNode::make(std::move(terms));
}

bool operator==(const Dim& a, const Dim& b) { return dim_compare(a, b) == 0; }

std::ostream& operator<<(std::ostream& out, const Dim& dim) { return out << dim.str(); }

}  // namespace tuyere
