// SPDX-License-Identifier: Apache-2.0
// Reads the text form written by print.cpp (the grammar is there). '#' starts a comment outside of quotes.
#include <charconv>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "common/error.h"
#include "converters/source/source.h"

namespace tuyere {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == ':'; }

/// A cursor over one line.
class Line {
 public:
  Line(std::string_view text, int number) : text_(text), number_(number) { skip(); }

  bool done() const { return at_ >= text_.size() || text_[at_] == '#'; }
  bool next_is(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(char c) {
    if (!next_is(c)) return false;
    ++at_;
    skip();
    return true;
  }
  void expect(char c) { check(take(c), std::string("expected '") + c + "'"); }
  void check(bool ok, const std::string& what) const { USER_CHECK(ok, "source graph, line " << number_ << ", column " << at_ + 1 << ": " << what); }

  /// A name; ends before any character of `stop`.
  std::string word(std::string_view stop = "") {
    size_t begin = at_;
    while (at_ < text_.size() && is_word(text_[at_]) && stop.find(text_[at_]) == std::string_view::npos) ++at_;
    check(at_ > begin, "expected a name");
    std::string out(text_.substr(begin, at_ - begin));
    skip();
    return out;
  }
  /// Text up to the bracket that closes the one just taken.
  std::string_view until_close(char close) {
    size_t begin = at_;
    for (int depth = 0; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (c == close && depth == 0) break;
      if (c == '(' || c == '[' || c == '{') ++depth;
      if (c == ')' || c == ']' || c == '}') --depth;
    }
    check(at_ < text_.size(), std::string("missing '") + close + "'");
    std::string_view out = text_.substr(begin, at_ - begin);
    take(close);
    return out;
  }
  std::string string() {
    expect_quote();
    std::string out;
    for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
        out += text_[++at_] == 'n' ? '\n' : text_[at_];
      } else {
        out += text_[at_];
      }
    }
    check(at_ < text_.size(), "missing '\"'");
    ++at_;
    skip();
    return out;
  }
  bool next_is_number() const { return at_ < text_.size() && (std::isdigit(static_cast<unsigned char>(text_[at_])) || text_[at_] == '-'); }
  Arg number() {
    size_t begin = at_;
    while (at_ < text_.size() && (is_word(text_[at_]) || text_[at_] == '-' || text_[at_] == '+')) ++at_;
    std::string_view token = text_.substr(begin, at_ - begin);
    skip();
    if (token == "-inf") return {-std::numeric_limits<double>::infinity()};
    int64_t integer = 0;
    if (auto r = std::from_chars(token.begin(), token.end(), integer); r.ec == std::errc() && r.ptr == token.end()) return {integer};
    double real = 0;
    auto r = std::from_chars(token.begin(), token.end(), real);
    check(r.ec == std::errc() && r.ptr == token.end(), "bad number");
    return {real};
  }

 private:
  void expect_quote() {
    check(next_is('"'), "expected a quoted text");
    ++at_;
  }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }

  std::string_view text_;
  int number_;
  size_t at_ = 0;
};

std::vector<Dim> parse_dims(std::string_view inside) { return parse_shape("[" + std::string(inside) + "]"); }

class Parser {
 public:
  SourceGraph run(std::string_view text) {
    int number = 0;
    while (!text.empty()) {
      size_t end = text.find('\n');
      Line line(text.substr(0, end), ++number);
      if (!line.done()) parse(line);
      text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    }
    return std::move(graph_);
  }

 private:
  void parse(Line& line) {
    std::vector<ValueId> defined;
    if (line.next_is('%')) {
      do defined.push_back(define(line));
      while (line.take(','));
      line.expect('=');
    }
    std::string head = line.word();
    if (defined.empty() && head == "graph") {
      graph_.name = line.string();
    } else if (defined.empty() && head == "return") {
      if (!line.done()) do
          graph_.outputs.push_back(output(line));
        while (line.take(','));
    } else if (head == "input") {
      graph_.inputs.insert(graph_.inputs.end(), defined.begin(), defined.end());
    } else if (head == "param" || head == "literal") {
      graph_.constants.push_back({defined.at(0), line.string(), head == "param", nullptr});
    } else {
      graph_.nodes.push_back(node(line, head, std::move(defined)));
    }
    line.check(line.done(), "unexpected text");
  }

  ValueId define(Line& line) {
    line.expect('%');
    SourceValue value;
    value.name = line.word(":");
    line.expect(':');
    type(line, value);
    line.check(ids_.emplace(value.name, static_cast<ValueId>(graph_.values.size())).second, "value %" + value.name + " is defined twice");
    graph_.values.push_back(std::move(value));
    return static_cast<ValueId>(graph_.values.size()) - 1;
  }

  void type(Line& line, SourceValue& value) {
    if (line.take('?')) return;
    std::string word = line.word();
    if (word == "dim") {
      line.expect('(');
      value.is_dim = true;
      value.dim = Dim::parse(line.until_close(')'));
      return;
    }
    std::optional<DType> dtype = parse_dtype(word);
    line.check(dtype.has_value(), "unknown dtype '" + word + "'");
    value.has_type = true;
    value.type.dtype = *dtype;
    line.expect('[');
    value.type.shape = parse_dims(line.until_close(']'));
    if (line.take('{')) value.strides = parse_dims(line.until_close('}'));
    if (line.take('@')) value.device = line.word();
  }

  ValueId use(Line& line) {
    line.expect('%');
    std::string word = line.word();
    auto found = ids_.find(word);
    line.check(found != ids_.end(), "value %" + word + " is not defined before its use");
    return found->second;
  }

  ValueId output(Line& line) {
    if (line.next_is('%')) return use(line);
    line.check(line.word() == "none", "expected a value or none");
    return kNone;
  }

  SourceNode node(Line& line, const std::string& op, std::vector<ValueId> outputs) {
    SourceNode node;
    node.op = op;
    node.outputs = std::move(outputs);
    line.expect('(');
    if (!line.take(')')) {
      do {
        std::string key = line.word();
        line.expect('=');
        node.args.emplace_back(std::move(key), arg(line));
      } while (line.take(','));
      line.expect(')');
    }
    attributes(line, node);
    return node;
  }

  static void attributes(Line& line, SourceNode& node) {
    bool has_op = false, has_node = false;
    while (!line.done()) {
      if (line.take('!')) {
        std::string flag = line.word();
        line.check(flag == "mutates" || flag == "side_effect" || flag == "draws", "unknown flag !" + flag);
        (flag == "mutates" ? node.mutates : flag == "draws" ? node.draws : node.side_effect) = true;
        continue;
      }
      std::string key = line.word();
      line.expect('=');
      std::string text = line.string();
      if (key == "name")
        node.name = text;
      else if (key == "module")
        node.origin.module = text;
      else if (key == "source")
        node.origin.source = text;
      else if (key == "origin")
        node.origin.op = text, has_op = true;
      else if (key == "node")
        node.origin.node = text, has_node = true;
      else
        line.check(false, "unknown attribute '" + key + "'");
    }
    if (!has_op) node.origin.op = node.op;
    if (!has_node) node.origin.node = node.name;
  }

  Arg arg(Line& line) {
    if (line.next_is('%')) return {Arg::Value{use(line)}};
    if (line.next_is('"')) return {line.string()};
    if (line.next_is_number()) return line.number();
    if (line.take('[')) return {list(line)};
    std::string word = line.word();
    if (word == "none") return {Arg::None{}};
    if (word == "true" || word == "false") return {word == "true"};
    if (word == "inf") return {std::numeric_limits<double>::infinity()};
    if (word == "nan") return {std::numeric_limits<double>::quiet_NaN()};
    if (word == "dim") {
      line.expect('(');
      return {Dim::parse(line.until_close(')'))};
    }
    std::optional<DType> dtype = parse_dtype(word);
    line.check(dtype.has_value(), "'" + word + "' is no argument");
    return {*dtype};
  }

  ArgList list(Line& line) {
    ArgList out;
    if (line.take(']')) return out;
    do out.push_back(arg(line));
    while (line.take(','));
    line.expect(']');
    return out;
  }

  SourceGraph graph_;
  std::unordered_map<std::string, ValueId> ids_;
};

}  // namespace

SourceGraph parse_source_graph(std::string_view text) { return Parser().run(text); }

}  // namespace tuyere
