// SPDX-License-Identifier: Apache-2.0
// SourceGraph: the neutral graph every front end is read into. Plain records; the readers (Python for FX, C++ for others) only fill them.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/network/network.h"

namespace tuyere {

using ValueId = int32_t;

/// One value: a tensor (has_type) or a size expression (is_dim) or neither (lists are spread out by the reader).
struct SourceValue {
  std::string name;
  bool has_type = false;
  TensorType type;             // dtype, symbolic shape
  std::vector<Dim> strides;    // as the capture recorded them (elements); may be empty
  std::string device = "cpu";  // "cpu", "cuda:0"
  bool is_dim = false;         // a SymInt
  Dim dim;
};

struct Arg;
using ArgList = std::vector<Arg>;
/// An argument: none, a value of the graph, a number, text, a dtype, or a list of such.
struct Arg {
  struct None {
    bool operator==(const None&) const = default;
  };
  struct Value {
    ValueId id;
    bool operator==(const Value&) const = default;
  };
  std::variant<None, Value, bool, int64_t, double, std::string, DType, Dim, ArgList> v;
  bool is_none() const { return std::holds_alternative<None>(v); }
  bool operator==(const Arg& o) const;
};

/// One call. Arguments carry the names of the op's schema; arguments left at their default are present with the default.
struct SourceNode {
  std::string op;  // "aten::convolution", "aten::add.Tensor" (overload after the dot, none for default), "torchvision::nms"
  std::vector<std::pair<std::string, Arg>> args;
  std::vector<std::string> arg_types;  // schema types of args ("Tensor?", "int[]"), same order; may be empty (text form leaves them out)
  std::vector<ValueId> outputs;        // one per schema return (a Tensor[] return is spread out)
  Origin origin;
  bool mutates = false;  // schema says an argument is written
  bool side_effect = false;
  bool draws = false;  // random numbers, which come in the order of the graph
  std::string name;    // node name in the front end's graph
};

/// A constant tensor: parameter, buffer or lifted literal.
struct SourceConstant {
  ValueId value;
  std::string name;                                    // "encoder.weight"; unique
  bool param = true;                                   // refit by name; false: a literal
  std::shared_ptr<const std::vector<std::byte>> data;  // row-major packed
};

struct SourceGraph {
  std::string name = "graph";
  std::vector<SourceValue> values;
  std::vector<SourceNode> nodes;  // topological
  std::vector<ValueId> inputs;    // user inputs (tensors and dims)
  std::vector<SourceConstant> constants;
  std::vector<ValueId> outputs;  // may repeat; kNone for a None output
};
/// Text form, one node a line (dump topic "source"); parse_source_graph(str(g)) gives an equal graph without constant data.
std::string str(const SourceGraph& graph);
SourceGraph parse_source_graph(std::string_view text);

}  // namespace tuyere
