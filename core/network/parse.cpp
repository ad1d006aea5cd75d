// SPDX-License-Identifier: Apache-2.0
// Reads the text form (grammar: text.cpp). Bodies are parsed when something refers to them, since layers take their types from them.
#include <algorithm>
#include <map>

#include "common/error.h"
#include "core/network/internal.h"
#include "kernels/api/op_reflect.h"

namespace tuyere {
namespace {

using reflect::find_outside, reflect::split_outside, reflect::trimmed;
using scan::closing_bracket, scan::eat, scan::eat_word, scan::parse_int;

struct Line {
  int number;
  std::string_view text, comment;
};

struct Block {
  std::vector<Line> lines;
  enum { untouched, open, done } state = untouched;
};

/// Splits the text into the lines of each body, without blank lines and comments of their own.
std::map<int64_t, Block> split_blocks(std::string_view text) {
  std::map<int64_t, Block> blocks;
  blocks[0];
  int64_t current = 0;
  for (int number = 1; !text.empty(); ++number) {
    const ErrorFrame frame("line " + std::to_string(number));
    const std::string_view whole = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(whole.size() + 1, text.size()));
    const size_t hash = find_outside(whole, "#");
    std::string_view line = trimmed(whole.substr(0, hash));
    if (line.empty()) continue;
    if (line == "}") {
      USER_CHECK(current != 0, "'}' closes no body");
      current = 0;
    } else if (line.ends_with('{') && eat(line, "body ")) {
      USER_CHECK(current == 0, "bodies do not nest");
      current = parse_int(trimmed(line.substr(0, line.size() - 1)));
      USER_CHECK(current > 0 && current < 1 << 20 && blocks.emplace(current, Block{}).second, "body " << current << " is there already or has no valid number");
    } else {
      blocks[current].lines.push_back({number, line, whole.substr(std::min(hash + 1, whole.size()))});
    }
  }
  USER_CHECK(current == 0, "body " << current << " is not closed");
  return blocks;
}

Layout parse_layout(std::string_view text) {
  Layout layout;
  std::vector<std::string_view> parts = split_outside(text, "/");
  for (size_t k = 1; k < parts.size(); ++k) {
    if (eat(parts[k], "p"))
      layout.channel_padding = parse_int(parts[k]);
    else if (eat(parts[k], "v"))
      layout.vector_width = static_cast<int>(parse_int(parts[k]));
    else
      USER_CHECK(false, "'" << parts[k] << "' is neither padding (p8) nor vector width (v4)");
  }
  const std::string_view order = parts.empty() ? text : parts[0];
  if (order.find('.') != std::string_view::npos) {
    for (std::string_view d : split_outside(order, ".")) layout.order.push_back(static_cast<int>(parse_int(d)));
  } else {
    for (size_t k = 0; k < order.size(); ++k) layout.order.push_back(static_cast<int>(parse_int(order.substr(k, 1))));
  }
  return layout;
}

DType parse_type_name(std::string_view text) {
  const std::optional<DType> type = parse_dtype(text);
  USER_CHECK(type, "'" << text << "' is no dtype");
  return *type;
}

/// Removes a type from the front of `text`.
TensorType eat_type(std::string_view& text) {
  const size_t open = text.find('[');
  USER_CHECK(open != std::string_view::npos, "expected a type, got '" << text << "'");
  TensorType type;
  type.dtype = parse_type_name(trimmed(text.substr(0, open)));
  const size_t close = closing_bracket(text, open);
  type.shape = parse_shape(text.substr(open, close - open + 1));
  text.remove_prefix(close + 1);
  if (eat(text, "@")) {
    const std::string_view layout = text.substr(0, text.find(' '));
    type.layout = parse_layout(layout);
    text.remove_prefix(layout.size());
  }
  text = trimmed(text);
  return type;
}

bool is_op(std::string_view word) {
  static constexpr std::string_view names[] = {
#define OP(S, text, group) #text,
#include "kernels/api/ops.def"
#undef OP
  };
  return std::find(std::begin(names), std::end(names), word) != std::end(names);
}

class Parser {
 public:
  explicit Parser(std::string_view text) : blocks_(split_blocks(text)) {
    net_.bodies.resize(blocks_.rbegin()->first + 1);
    names_.resize(net_.bodies.size());
  }

  Network parse() {
    for (int64_t k = 0; k < static_cast<int64_t>(net_.bodies.size()); ++k) parse_body(k);
    return std::move(net_);
  }

 private:
  void parse_body(int64_t id) {
    const auto found = blocks_.find(id);
    USER_CHECK(found != blocks_.end(), "body " << id << " is missing");
    Block& block = found->second;
    USER_CHECK(block.state != Block::open, "body " << id << " contains itself");
    if (block.state == Block::done) return;
    block.state = Block::open;
    bool returned = false;
    for (const Line& line : block.lines) {
      const ErrorFrame frame("line " + std::to_string(line.number));
      USER_CHECK(!returned, "'return' must be the last line of a body");
      returned = statement(line, static_cast<int>(id));
    }
    USER_CHECK(returned, "body " << id << " has no 'return'");
    block.state = Block::done;
  }

  /// Whether it was the return.
  bool statement(const Line& line, int body) {
    std::string_view text = line.text;
    if (text == "return" || eat(text, "return ")) {
      if (text != "return")
        for (std::string_view arg : split_outside(text, ",")) net_.mark_output(argument(arg, body), body);
      return true;
    }
    if (eat(text, "observe ")) {
      for (std::string_view word : split_outside(text, ",")) net_.bodies[body].tensors[argument(word, body)].observed = true;
    } else if (body == 0 && eat(text, "network ")) {
      net_.name = eat_word(text);
    } else {
      const size_t equals = find_outside(text, "=");
      USER_CHECK(equals < text.size(), "expected 'name = ...', got '" << text << "'");
      assignment(trimmed(text.substr(0, equals)), trimmed(text.substr(equals + 1)), line.comment, body);
    }
    return false;
  }

  void assignment(std::string_view left, std::string_view right, std::string_view comment, int body) {
    if (eat(right, "input ")) {
      const std::string name = eat_word(left);
      right = trimmed(right);
      TensorType type = eat_type(right);
      USER_CHECK(left.empty() && right.empty(), "unexpected '" << left << right << "'");
      name_tensor(net_.add_input(std::move(type), name, body), name, body);
      return;
    }
    const bool param = eat(right, "param ");
    if (param || eat(right, "literal ")) {
      constant(left, trimmed(right), param, body);
      return;
    }
    const std::optional<Origins> origins = parse_origins(trimmed(comment));
    const std::vector<std::string_view> words = left == "()" ? std::vector<std::string_view>{} : split_outside(left, ",");
    const std::vector<TensorId> outputs = layer(right, origins.value_or(Origins{}), body);
    USER_CHECK(words.size() == outputs.size(), "the layer has " << outputs.size() << " outputs, not " << words.size());
    for (size_t k = 0; k < outputs.size(); ++k) result(words[k], outputs[k], body);
  }

  void result(std::string_view word, TensorId id, int body) {
    const std::string name = eat_word(word);
    net_.bodies[body].tensors[id].type.layout = eat(word, "@") ? parse_layout(std::exchange(word, {})) : Layout{};
    USER_CHECK(word.empty(), "unexpected '" << word << "' after the name '" << name << "'");
    name_tensor(id, name, body);
  }

  void constant(std::string_view left, std::string_view right, bool param, int body) {
    const std::string name = eat_word(left);
    TensorType type = eat_type(right);
    Constant constant{name, param, nullptr};
    if (right.starts_with('"')) constant.name = eat_word(right);
    right = trimmed(right);
    if (!right.empty()) constant.data = parse_literal(type, right);
    const TensorId id = net_.add_constant(type.dtype, type.shape, std::move(constant), body);
    net_.bodies[body].tensors[id].type.layout = type.layout;
    name_tensor(id, name, body);
  }

  /// Gives a tensor the name of the text. A nested layer that was named so before makes way.
  void name_tensor(TensorId id, const std::string& name, int body) {
    const auto [at, fresh] = names_[body].emplace(name, id);
    USER_CHECK(fresh, "'" << name << "' is defined twice");
    std::vector<Tensor>& tensors = net_.bodies[body].tensors;
    tensors[id].name = name;
    std::erase(nested_, std::pair(body, id));
    for (const auto& [b, other] : nested_)
      if (b == body && tensors[other].name == name) tensors[other].name = unique_name(net_.bodies[body], name);
  }

  TensorId argument(std::string_view text, int body) {
    const size_t open = find_outside(text, "(");
    if (open < text.size()) {
      const std::vector<TensorId> outputs = layer(text, {}, body);
      USER_CHECK(outputs.size() == 1, "a nested layer must have one output: " << text);
      net_.bodies[body].tensors[outputs[0]].type.layout = {};
      nested_.emplace_back(body, outputs[0]);
      return outputs[0];
    }
    std::string_view rest = text;
    const std::string name = eat_word(rest);
    USER_CHECK(rest.empty(), "unexpected '" << rest << "' after the name '" << name << "'");
    const auto found = names_[body].find(name);
    USER_CHECK(found != names_[body].end(), "'" << name << "' is not defined");
    return found->second;
  }

  std::vector<TensorId> layer(std::string_view text, Origins origins, int body) {
    const size_t open = find_outside(text, "(");
    USER_CHECK(open < text.size(), "expected 'op(...)', got '" << text << "'");
    const size_t close = closing_bracket(text, open);
    const std::string head(trimmed(text.substr(0, open)));
    std::vector<TensorId> args;
    for (std::string_view arg : split_outside(text.substr(open + 1, close - open - 1), ",")) args.push_back(argument(arg, body));
    const std::string_view fields = trimmed(text.substr(close + 1));
    if (!is_op(head)) return function(head, fields, std::move(args), std::move(origins), body);
    Op op = parse_op(fields.empty() ? head : head + " " + std::string(fields));
    for (int64_t* id : referenced_bodies(op)) parse_body(*id);
    return net_.add(std::move(op), std::move(args), std::move(origins), body);
  }

  std::vector<TensorId> function(const std::string& head, std::string_view fields, std::vector<TensorId> args, Origins origins, int body) {
    const std::optional<Fn> fn = parse_fn(head);
    USER_CHECK(fn && *fn != Fn::constant, "'" << head << "' is neither an op nor a function");
    std::vector<DType> inputs;
    for (TensorId id : args) inputs.push_back(net_.type(id, body).dtype);
    std::optional<DType> type;
    if (eat(fields, "type="))
      type = parse_type_name(fields);
    else
      USER_CHECK(fields.empty(), "unexpected '" << fields << "' after " << head << "(...)");
    const int arity = info(*fn).arity;
    USER_CHECK(static_cast<int>(args.size()) == arity, head << " takes " << arity << " arguments, got " << args.size());
    if (!type) type = default_type(*fn, inputs);
    USER_CHECK(type, head << " needs type=<dtype>");
    return {net_.pointwise(*fn, std::move(args), *type, std::move(origins), body)};
  }

  Network net_;
  std::map<int64_t, Block> blocks_;
  std::vector<std::map<std::string, TensorId>> names_;  // by body
  std::vector<std::pair<int, TensorId>> nested_;        // tensors with names of our choice
};

}  // namespace

Network parse_network(std::string_view text) {
  const ErrorFrame frame("in network text");
  return Parser(text).parse();
}

}  // namespace tuyere
