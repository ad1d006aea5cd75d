// SPDX-License-Identifier: Apache-2.0
// Text form of a SourceGraph. Grammar, one item a line:
//   graph "name"
//   %x: f32[n,3,8,8]{192,64,8,1}@cuda:0 = input          strides in braces when recorded, device when not cpu
//   %n: dim(n) = input                                   a size; "?" is a value of no known type
//   %w: f32[4,3,3,3] = param "conv.weight"               or literal "lifted_0"
//   %y: f32[n,4,8,8] = aten::relu(self=%x) name="relu" module="features.0" source="model.py:3" !mutates !side_effect
//   return %y, none
// Arguments: %value, none, true, 3, 0.5, inf, "text", f32 (a dtype), dim(n+1), [lists].
#include <charconv>
#include <cmath>

#include "common/error.h"
#include "converters/source/source.h"

namespace tuyere {

bool Arg::operator==(const Arg& o) const { return v == o.v; }

namespace {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

std::string dims_text(const std::vector<Dim>& dims, char open, char close) {
  std::string out(1, open);
  for (size_t i = 0; i < dims.size(); ++i) out += (i ? "," : "") + dims[i].str();
  return out + close;
}

class Printer {
 public:
  explicit Printer(const SourceGraph& graph) : graph_(graph) {}

  std::string run() {
    out_ = "graph " + quoted(graph_.name) + "\n";
    for (ValueId id : graph_.inputs) out_ += definition(id) + " = input\n";
    for (const SourceConstant& c : graph_.constants) out_ += definition(c.value) + (c.param ? " = param " : " = literal ") + quoted(c.name) + "\n";
    for (const SourceNode& node : graph_.nodes) print(node);
    out_ += "return";
    for (size_t i = 0; i < graph_.outputs.size(); ++i) out_ += (i ? ", " : " ") + value(graph_.outputs[i]);
    return out_ + "\n";
  }

 private:
  std::string value(ValueId id) const {
    if (id == kNone) return "none";
    INTERNAL_CHECK(id >= 0 && id < static_cast<ValueId>(graph_.values.size()), "value " << id << " does not exist");
    return "%" + graph_.values[id].name;
  }

  std::string definition(ValueId id) const {
    std::string out = value(id) + ": ";
    const SourceValue& v = graph_.values[id];
    if (v.is_dim) return out + "dim(" + v.dim.str() + ")";
    if (!v.has_type) return out + "?";
    out += std::string(name(v.type.dtype)) + dims_text(v.type.shape, '[', ']');
    if (!v.strides.empty()) out += dims_text(v.strides, '{', '}');
    return v.device == "cpu" ? out : out + "@" + v.device;
  }

  void print(const SourceNode& node) {
    for (size_t i = 0; i < node.outputs.size(); ++i) out_ += (i ? ", " : "") + definition(node.outputs[i]);
    out_ += (node.outputs.empty() ? "" : " = ") + node.op + "(";
    for (size_t i = 0; i < node.args.size(); ++i) out_ += (i ? ", " : "") + node.args[i].first + "=" + text(node.args[i].second);
    out_ += ")";
    attribute("name", node.name, "");
    attribute("module", node.origin.module, "");
    attribute("origin", node.origin.op, node.op);
    attribute("node", node.origin.node, node.name);
    attribute("source", node.origin.source, "");
    out_ += node.mutates ? " !mutates" : "";
    out_ += node.side_effect ? " !side_effect" : "";
    out_ += node.draws ? " !draws" : "";
    out_ += "\n";
  }

  void attribute(const char* key, const std::string& text, const std::string& usual) {
    if (text != usual) out_ += std::string(" ") + key + "=" + quoted(text);
  }

  std::string text(const Arg& arg) const {
    struct Visitor {
      const Printer& printer;
      std::string operator()(Arg::None) const { return "none"; }
      std::string operator()(Arg::Value v) const { return printer.value(v.id); }
      std::string operator()(bool v) const { return v ? "true" : "false"; }
      std::string operator()(int64_t v) const { return std::to_string(v); }
      std::string operator()(double v) const { return float_text(v); }
      std::string operator()(const std::string& v) const { return quoted(v); }
      std::string operator()(DType v) const { return std::string(name(v)); }
      std::string operator()(const Dim& v) const { return "dim(" + v.str() + ")"; }
      std::string operator()(const ArgList& list) const {
        std::string out = "[";
        for (size_t i = 0; i < list.size(); ++i) out += (i ? ", " : "") + printer.text(list[i]);
        return out + "]";
      }
    };
    return std::visit(Visitor{*this}, arg.v);
  }

  const SourceGraph& graph_;
  std::string out_;
};

}  // namespace

std::string str(const SourceGraph& graph) { return Printer(graph).run(); }

}  // namespace tuyere
