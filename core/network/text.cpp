// SPDX-License-Identifier: Apache-2.0
// Text form of a network. parse_network (parse.cpp) reads it back.
//
//   network  = [ "network" word ] { line | block }            one statement a line; "# ..." at the end of a line is a comment
//   block    = "body" number "{" { line } "}"                  bodies of if, while and call; the lines outside blocks are body 0
//   line     = word "=" "input" type
//            | word "=" "param" type string [ values ]         a weight; the string is its name in the user's model
//            | word "=" "literal" type [ string ] [ values ]   the string is the constant's name when it is not the tensor's
//            | results "=" layer [ "#" origins ]               "()" for a layer without outputs
//            | "observe" word { "," word }                     these tensors are kept and handed out
//            | "return" [ arg { "," arg } ]                    the outputs, last
//   results  = word [ layout ] { "," word [ layout ] }         no layout: row-major
//   layer    = op "(" [ arg { "," arg } ] ")" { field "=" value }
//              op and fields as in kernels/api/ops.h; fields that have their default may be missing
//            | fn "(" arg { "," arg } ")" [ "type" "=" dtype ]
//              a Pointwise layer of one function of functions.def. Its arguments are cast to a common compute type: for comparisons and
//              predicates the widest of theirs, otherwise the one of the result; a `where` condition to bool. Without a type the result has the
//              type of the first argument (of the second for `where`), and bool for comparisons and predicates; `cast` needs one.
//   arg      = word | layer                                    a nested layer has one output and gets a name of its own
//   type     = dtype shape [ layout ]                          f16[n,2*m+1,64]@021
//   layout   = "@" order [ "/p" padding ] [ "/v" width ]       order: one digit a dimension, the outermost first (beyond ten dimensions
//                                                              numbers separated by "."); empty with padding or width alone
//   values   = number | "[" number { "," number } "]"          row-major; nan, inf, true, false are numbers
//            | "hex:" digits                                   the bytes
//   origins  = origin { ";" origin }
//   origin   = [ module ] "(" [ aten op ] [ "," file:line ] ")" [ "%" node ]     \ keeps the characters ( ) , ; % \ of a part; any other comment is ignored
//   word     = letter { letter | digit | one of _ . / : $ - } | string           letters include _
//   string   = '"' characters '"' with \" \\ \n
//
// Order of the lines: inputs, constants, layers in topological order, observed tensors, outputs; then the other bodies.
#include "common/error.h"
#include "core/network/internal.h"
#include "kernels/api/op_reflect.h"

namespace tuyere {
namespace {

constexpr int64_t kMostValues = 64;  // elements of a literal that are written as numbers

class Printer {
 public:
  Printer(const Network& network, const TextOptions& options) : net_(network), options_(options) {}

  std::string print() {
    if (net_.name != "network") text_ += "network " + scan::word_text(net_.name) + "\n";
    print_body(net_.bodies[0], "");
    for (size_t k = 1; k < net_.bodies.size(); ++k) {
      text_ += "body " + std::to_string(k) + " {\n";
      print_body(net_.bodies[k], "  ");
      text_ += "}\n";
    }
    return std::move(text_);
  }

 private:
  void print_body(const Body& body, const std::string& indent) {
    const std::vector<LayerId> order = topological_order(body);
    name_tensors(body, order);
    for (TensorId id : body.inputs) text_ += indent + names_[id] + " = input " + str(body.tensors[id].type) + "\n";
    for (size_t k = 0; k < body.tensors.size(); ++k)
      if (body.tensors[k].constant >= 0) text_ += indent + constant_line(body.tensors[k], names_[k]) + "\n";
    for (LayerId layer : order) text_ += indent + layer_line(body, body.layers[layer]) + "\n";
    std::vector<TensorId> observed;
    for (size_t k = 0; k < body.tensors.size(); ++k)
      if (body.tensors[k].observed) observed.push_back(static_cast<TensorId>(k));
    if (!observed.empty()) text_ += indent + "observe " + list(observed) + "\n";
    text_ += indent + "return" + (body.outputs.empty() ? "" : " ") + list(body.outputs) + "\n";
  }

  void name_tensors(const Body& body, const std::vector<LayerId>& order) {
    names_.assign(body.tensors.size(), "");
    int next = 0;
    const auto give = [&](TensorId id) { names_[id] = options_.names ? scan::word_text(body.tensors[id].name) : "t" + std::to_string(next++); };
    for (TensorId id : body.inputs) give(id);
    for (size_t k = 0; k < body.tensors.size(); ++k)
      if (body.tensors[k].constant >= 0) give(static_cast<TensorId>(k));
    for (LayerId layer : order)
      for (TensorId id : body.layers[layer].outputs) give(id);
  }

  std::string list(const std::vector<TensorId>& ids) const {
    std::string text;
    for (TensorId id : ids) text += (text.empty() ? "" : ", ") + names_[id];
    return text;
  }

  std::string constant_line(const Tensor& tensor, const std::string& name) const {
    const Constant& constant = net_.constants[tensor.constant];
    std::string line = name + " = " + (constant.param ? "param " : "literal ") + str(tensor.type);
    if (constant.param || (options_.names && constant.name != tensor.name)) line += " " + reflect::quoted(constant.name);
    const bool small = numel(tensor.type.shape).value() <= kMostValues;
    if (constant.data && (options_.with_data || (small && !constant.param))) line += " " + literal_text(tensor.type, *constant.data, small);
    return line;
  }

  std::string layer_line(const Body& body, const Layer& layer) const {
    std::string results;
    for (TensorId id : layer.outputs) results += (results.empty() ? "" : ", ") + names_[id] + str(body.tensors[id].type.layout);
    std::string line = (results.empty() ? "()" : results) + " = " + call(body, layer);
    if (!options_.origins || layer.origins.empty()) return line;
    line += "  #";
    const char* separator = " ";
    for (const Origin& origin : layer.origins) {
      line += separator + origin_text(origin, true);
      separator = "; ";
    }
    return line;
  }

  std::string call(const Body& body, const Layer& layer) const {
    std::vector<DType> types;
    for (TensorId id : layer.inputs) types.push_back(body.tensors[id].type.dtype);
    const std::string args = "(" + list(layer.inputs) + ")";
    const Pointwise* pointwise = std::get_if<Pointwise>(&layer.op);
    if (const std::optional<Fn> fn = pointwise ? sugar_of(*pointwise, types) : std::nullopt) {
      const DType type = pointwise->types[0];
      const bool said = default_type(*fn, types) == type;
      return info(*fn).name + args + (said ? "" : " type=" + std::string(name(type)));
    }
    const std::string text = str(layer.op);
    const size_t head = std::min(text.find(' '), text.size());
    return text.substr(0, head) + args + text.substr(head);
  }

  const Network& net_;
  const TextOptions& options_;
  std::vector<std::string> names_;  // of the body that is being printed
  std::string text_;
};

}  // namespace

std::string str(const Network& network, const TextOptions& options) { return Printer(network, options).print(); }
std::string str(const Network& network) { return str(network, TextOptions{}); }

}  // namespace tuyere
