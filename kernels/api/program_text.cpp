// SPDX-License-Identifier: Apache-2.0
// Programs as text.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>

#include "common/error.h"
#include "kernels/api/program.h"

namespace tuyere {
namespace {

constexpr int kMaxDepth = 512, kMaxValues = 32000;

std::string number_text(double value) {
  char buffer[40];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return std::string(buffer, end);
}

DType inferred_type(const Program& program, const Inst& inst) {
  std::vector<DType> args;
  for (int k = 0; k < info(inst.fn).arity; ++k) args.push_back(program.type_of(inst.args[static_cast<size_t>(k)]));
  return result_type(inst.fn, args);
}

/// One instruction with the texts of its arguments.
std::string inst_text(const Program& program, const Inst& inst, const std::vector<std::string>& args) {
  if (inst.fn == Fn::constant) return number_text(inst.value) + ":" + std::string(name(inst.type));
  if (inst.fn == Fn::cast) return "cast(" + args[0] + ", " + std::string(name(inst.type)) + ")";
  std::string text = std::string(info(inst.fn).name) + "(";
  for (size_t k = 0; k < args.size(); ++k) text += (k ? ", " : "") + args[k];
  text += ")";
  if (inferred_type(program, inst) != inst.type) text += ":" + std::string(name(inst.type));
  return text;
}

std::string input_text(const Program& program, size_t k) { return "i" + std::to_string(k) + ":" + std::string(name(program.inputs[k])); }

std::string value_text(const Program& program, int value) { return (static_cast<size_t>(value) < program.inputs.size() ? "i" : "v") + std::to_string(value); }

class Nested {
 public:
  explicit Nested(const Program& program) : program_(program), declared_(program.inputs.size(), false) {}

  std::string text(int value) {
    size_t v = static_cast<size_t>(value), inputs = program_.inputs.size();
    if (v < inputs) {
      bool first = !declared_[v];
      declared_[v] = true;
      return first ? input_text(program_, v) : value_text(program_, value);
    }
    const Inst& inst = program_.body[v - inputs];
    std::vector<std::string> args;
    for (int k = 0; k < info(inst.fn).arity; ++k) args.push_back(text(inst.args[static_cast<size_t>(k)]));
    return inst_text(program_, inst, args);
  }

  bool names_every_input() const { return std::find(declared_.begin(), declared_.end(), false) == declared_.end(); }

 private:
  const Program& program_;
  std::vector<bool> declared_;
};

/// Whether every instruction is used exactly once, so that the program is one expression.
bool is_tree(const Program& program) {
  std::vector<int> uses(program.inputs.size() + program.body.size(), 0);
  for (const Inst& inst : program.body)
    for (int arg : inst.args)
      if (arg >= 0) ++uses[static_cast<size_t>(arg)];
  if (program.outputs.size() != 1) return false;
  ++uses[static_cast<size_t>(program.outputs[0])];
  return std::all_of(uses.begin() + static_cast<std::ptrdiff_t>(program.inputs.size()), uses.end(), [](int n) { return n == 1; });
}

std::string long_text(const Program& program) {
  std::string text;
  for (size_t k = 0; k < program.inputs.size(); ++k) text += input_text(program, k) + (k + 1 < program.inputs.size() ? ", " : " ");
  text += "-> ";
  for (size_t i = 0; i < program.body.size(); ++i) {
    const Inst& inst = program.body[i];
    std::vector<std::string> args;
    for (int k = 0; k < info(inst.fn).arity; ++k) args.push_back(value_text(program, inst.args[static_cast<size_t>(k)]));
    text += "v" + std::to_string(program.inputs.size() + i) + " = " + inst_text(program, inst, args) + "; ";
  }
  for (size_t k = 0; k < program.outputs.size(); ++k) text += (k ? ", " : "") + value_text(program, program.outputs[k]);
  return text;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Program parse() {
    size_t arrow = text_.find("->");
    if (arrow == std::string_view::npos) {
      scan_inputs(text_);
      if (peek() != '\0') program_.outputs.push_back(static_cast<int16_t>(expression()));
    } else {
      scan_inputs(text_.substr(0, arrow));
      at_ = arrow + 2;
      statements();
    }
    check(peek() == '\0', "unexpected text");
    return std::move(program_);
  }

 private:
  void check(bool ok, std::string_view what) const { USER_CHECK(ok, "program '" << text_ << "': " << what << " at position " << at_); }

  char peek() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  static bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

  std::string_view word() {
    peek();
    size_t begin = at_;
    while (at_ < text_.size() && is_word(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  DType type() {
    std::optional<DType> type = parse_dtype(word());
    check(type.has_value(), "a type expected");
    return *type;
  }

  /// The k of "i<k>" or "v<k>", or -1.
  static int value_number(std::string_view word, char kind) {
    int number = -1;
    if (word.size() < 2 || word.size() > 6 || word[0] != kind) return -1;
    auto end = std::from_chars(word.data() + 1, word.data() + word.size(), number);
    return end.ec == std::errc() && end.ptr == word.data() + word.size() && number < kMaxValues ? number : -1;
  }

  /// Collects the declarations "i<k>:<type>" wherever they stand.
  void scan_inputs(std::string_view text) {
    std::map<int, DType> inputs;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != 'i' || (i > 0 && is_word(text[i - 1]))) continue;
      size_t end = i;
      while (end < text.size() && is_word(text[end])) ++end;
      int k = value_number(text.substr(i, end - i), 'i');
      if (k < 0 || end == text.size() || text[end] != ':') continue;
      at_ = end + 1;
      DType declared = type();
      check(inputs.try_emplace(k, declared).first->second == declared, "an input with two types");
    }
    for (auto [k, type] : inputs) {
      check(k == static_cast<int>(program_.inputs.size()), "input " + std::to_string(program_.inputs.size()) + " has no type");
      program_.inputs.push_back(type);
    }
    at_ = 0;
  }

  void statements() {
    while (true) {
      size_t begin = at_;
      int number = value_number(word(), 'v');
      if (number < 0 || !take('=')) {
        at_ = begin;
        break;
      }
      names_[number] = expression();
      check(take(';'), "';' expected");
    }
    if (peek() == '\0') return;
    do program_.outputs.push_back(static_cast<int16_t>(expression()));
    while (take(','));
  }

  int expression() {
    check(++depth_ < kMaxDepth && program_.body.size() < kMaxValues, "too large");
    char c = peek();
    size_t begin = at_;
    std::string_view name = word();
    int value;
    if (c == '-' || std::isdigit(static_cast<unsigned char>(c)) || name == "inf" || name == "nan") {
      at_ = begin;
      value = number();
    } else if (int input = value_number(name, 'i'); input >= 0) {
      check(input < static_cast<int>(program_.inputs.size()), "an undeclared input");
      if (take(':')) type();
      value = input;
    } else if (int result = value_number(name, 'v'); result >= 0) {
      check(names_.count(result), "an undefined value");
      value = names_[result];
    } else {
      value = call(name);
    }
    --depth_;
    return value;
  }

  int number() {
    double value = 0;
    auto end = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    check(end.ec == std::errc(), "a number expected");
    at_ = static_cast<size_t>(end.ptr - text_.data());
    check(take(':'), "the type of a constant expected");
    program_.body.push_back({Fn::constant, {-1, -1, -1}, type(), value});
    return last();
  }

  int call(std::string_view name) {
    std::optional<Fn> fn = parse_fn(name);
    check(fn && *fn != Fn::constant, "unknown function '" + std::string(name) + "'");
    check(take('('), "'(' expected");
    std::vector<int> args;
    if (*fn == Fn::cast) {
      int value = expression();
      check(take(','), "',' expected");
      DType to = type();
      check(take(')'), "')' expected");
      return program_.cast(value, to);
    }
    do args.push_back(expression());
    while (take(','));
    check(take(')'), "')' expected");
    check(static_cast<int>(args.size()) == info(*fn).arity, "wrong number of arguments of " + std::string(name));
    program_.add(*fn, args);
    if (take(':')) program_.body.back().type = type();
    return last();
  }

  int last() const { return static_cast<int>(program_.inputs.size() + program_.body.size()) - 1; }

  std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
  Program program_;
  std::map<int, int> names_;
};

}  // namespace

std::string str(const Program& program) {
  if (program.empty() && program.inputs.empty() && program.body.empty()) return "";
  if (is_tree(program) && program.body.size() < kMaxDepth / 2) {
    Nested nested(program);
    std::string text = nested.text(program.outputs[0]);
    if (nested.names_every_input() && Parser(text).parse() == program) return text;  // the order of instructions may still differ
  }
  return long_text(program);
}

Program parse_program(std::string_view text) { return Parser(text).parse(); }

}  // namespace tuyere
