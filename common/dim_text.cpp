// SPDX-License-Identifier: Apache-2.0
// Dim as text: Python's integer expressions with min() and max().
#include <cctype>
#include <charconv>

#include "common/dim_node.h"
#include "common/error.h"

namespace tuyere {
namespace {

constexpr int kMaxDepth = 256;

std::string atom_text(const DimAtom& atom);

bool is_division(const DimAtom& atom) { return atom.kind == DimAtom::Kind::floordiv || atom.kind == DimAtom::Kind::mod; }

/// As an operand of //, % and *: anything but a name, a call and a plain number is put in parentheses.
std::string operand_text(const Dim& dim) {
  std::vector<DimTerm> terms = dim_terms(dim);
  bool plain =
      dim.is_const() ? dim.value() >= 0 : terms.size() == 1 && terms[0].coefficient == 1 && terms[0].atoms.size() == 1 && !is_division(*terms[0].atoms[0]);
  return plain ? dim.str() : "(" + dim.str() + ")";
}

std::string atom_text(const DimAtom& atom) {
  if (atom.kind == DimAtom::Kind::symbol) return atom.name;
  if (is_division(atom)) return operand_text(atom.args[0]) + (atom.kind == DimAtom::Kind::mod ? "%" : "//") + operand_text(atom.args[1]);
  std::string text = atom.kind == DimAtom::Kind::min ? "min(" : "max(";
  for (size_t i = 0; i < atom.args.size(); ++i) text += (i ? "," : "") + atom.args[i].str();
  return text + ")";
}

/// A term without its sign.
std::string term_text(const DimTerm& term) {
  bool unit = term.coefficient == 1 || term.coefficient == -1;
  std::string text;
  if (!unit || term.atoms.empty()) {
    text = std::to_string(term.coefficient);
    if (text[0] == '-') text.erase(0, 1);
  }
  for (const DimAtomPtr& atom : term.atoms) {
    bool bare = !is_division(*atom) || (term.coefficient == 1 && term.atoms.size() == 1);
    std::string factor = atom_text(*atom);
    text += (text.empty() ? "" : "*") + (bare ? factor : "(" + factor + ")");
  }
  return text;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Dim parse() {
    Dim result = sum();
    check(peek() == '\0', "unexpected text");
    return result;
  }

 private:
  void check(bool ok, const char* what) const { USER_CHECK(ok, "size expression '" << text_ << "': " << what << " at position " << at_); }

  char peek() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool take(std::string_view token) {
    peek();
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }

  Dim sum() {
    check(++depth_ < kMaxDepth, "nested too deeply");
    Dim left = product();
    while (true) {
      if (take("+"))
        left += product();
      else if (take("-"))
        left = left - product();
      else
        break;
    }
    --depth_;
    return left;
  }

  Dim product() {
    Dim left = unary();
    while (true) {
      if (take("*"))
        left *= unary();
      else if (take("//"))
        left = floordiv(left, unary());
      else if (take("%"))
        left = mod(left, unary());
      else
        return left;
    }
  }

  Dim unary() {
    bool negative = false;
    while (take("-")) negative = !negative;
    if (std::isdigit(static_cast<unsigned char>(peek()))) return number(negative);
    Dim value = primary();
    return negative ? value * Dim(-1) : value;
  }

  Dim primary() {
    if (take("(")) {
      Dim inside = sum();
      check(take(")"), "')' expected");
      return inside;
    }
    char first = peek();
    check(std::isalpha(static_cast<unsigned char>(first)) || first == '_', "a name or number expected");
    size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_' || text_[at_] == '.')) ++at_;
    std::string_view name = text_.substr(begin, at_ - begin);
    if ((name == "min" || name == "max") && take("(")) return call(name == "min");
    return Dim::symbol(name);
  }

  Dim call(bool is_min) {
    Dim result = sum();
    while (take(",")) result = is_min ? min(result, sum()) : max(result, sum());
    check(take(")"), "')' expected");
    return result;
  }

  Dim number(bool negative) {
    size_t end = at_;
    while (end < text_.size() && std::isdigit(static_cast<unsigned char>(text_[end]))) ++end;
    std::string digits = (negative ? "-" : "") + std::string(text_.substr(at_, end - at_));
    int64_t value = 0;
    check(std::from_chars(digits.data(), digits.data() + digits.size(), value).ec == std::errc(), "number out of range");
    at_ = end;
    return value;
  }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::string Dim::str() const {
  if (!node_) return std::to_string(value_);
  std::string text;
  for (const DimTerm& term : node_->terms) {
    if (term.coefficient < 0)
      text += "-";
    else if (!text.empty())
      text += "+";
    text += term_text(term);
  }
  return text;
}

Dim Dim::parse(std::string_view text) { return Parser(text).parse(); }

}  // namespace tuyere
