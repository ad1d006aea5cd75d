// SPDX-License-Identifier: Apache-2.0
// torch.cond and while_loop: If and While. The readers pass the graphs of the bodies as text (converters/source), with everything a body reads among its
// operands. Operands that are constants become constants of the bodies, where kernels can pack them.
#include <algorithm>
#include <numeric>

#include "common/error.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

/// The operands that are tensors; sizes are read off their shapes inside the body.
std::vector<TensorId> tensor_operands(Convert& c, std::string_view arg) {
  std::vector<TensorId> result;
  for (const Arg& item : c.list(arg)) {
    const auto* value = std::get_if<Arg::Value>(&item.v);
    const bool is_size = std::holds_alternative<Dim>(item.v) || std::holds_alternative<int64_t>(item.v) || (value && c.graph.values.at(value->id).is_dim);
    if (!is_size) result.push_back(c.tensor_at(item, arg));
  }
  return result;
}

/// The body as a network of its own.
Network convert_body(Convert& c, std::string_view arg) {
  const ErrorFrame frame("in " + std::string(arg));
  const SourceGraph graph = parse_source_graph(c.text(arg));
  USER_CHECK(graph.constants.empty(), arg << " has constants of its own ('" << graph.constants[0].name << "'): pass them as operands");
  std::vector<int> nodes(graph.nodes.size());
  std::iota(nodes.begin(), nodes.end(), 0);
  SegmentIo io;
  for (ValueId id : graph.inputs) {
    USER_CHECK(graph.values[id].has_type || graph.values[id].is_dim, arg << ": input '" << graph.values[id].name << "' has no type tuyere knows");
    if (graph.values[id].has_type) io.inputs.push_back(id);
  }
  for (ValueId id : graph.outputs) {
    USER_CHECK(id != kNone && graph.values[id].has_type, arg << " returns something that is no tensor");
    io.outputs.push_back(id);
  }
  return convert(graph, nodes, io, aten_table());
}

/// A condition is one bool of rank 0.
TensorId as_condition(Network& net, TensorId x, const Origins& origins) {
  USER_CHECK(numel(net.type(x).shape).is_const(1), "the condition has " << numel(net.type(x).shape) << " elements, expected one");
  if (!net.type(x).shape.empty()) x = net.add1(Reshape{Shape{}}, {x}, origins);
  return net.cast(x, DType::Bool, origins);
}

void shift_bodies(Op& op, int64_t by) {
  if (auto* o = std::get_if<If>(&op)) o->then_body += by, o->else_body += by;
  if (auto* o = std::get_if<While>(&op)) o->cond_body += by, o->loop_body += by;
  if (auto* o = std::get_if<Call>(&op)) o->body += by;
}

/// Moves the bodies and constants of `from` into `net`; returns the number of its main body there.
int add_bodies(Network& net, Network from) {
  const int base = static_cast<int>(net.bodies.size()), constants = static_cast<int>(net.constants.size());
  for (Body& body : from.bodies) {
    for (Layer& layer : body.layers) shift_bodies(layer.op, base);
    for (Tensor& tensor : body.tensors) {
      if (tensor.constant >= 0) tensor.constant += constants;
    }
    net.bodies.push_back(std::move(body));
  }
  std::move(from.constants.begin(), from.constants.end(), std::back_inserter(net.constants));
  return base;
}

/// Operand k is a constant of the caller: the bodies read it themselves.
void bind_constants(Network& net, std::vector<TensorId>& operands, const std::vector<int>& bodies, size_t first) {
  for (size_t k = operands.size(); k-- > first;) {
    const int constant = net.tensor(operands[k]).constant;
    if (constant < 0) continue;
    for (int number : bodies) {
      Body& body = net.bodies[number];
      body.tensors[body.inputs[k]].constant = constant;
      body.inputs.erase(body.inputs.begin() + static_cast<std::ptrdiff_t>(k));
    }
    operands.erase(operands.begin() + static_cast<std::ptrdiff_t>(k));
  }
}

void cond(Convert& c) {
  const TensorId condition = as_condition(c.net, c.tensor("pred"), c.origins());
  std::vector<TensorId> operands = tensor_operands(c, "operands");
  const int then_body = add_bodies(c.net, convert_body(c, "true_graph")), else_body = add_bodies(c.net, convert_body(c, "false_graph"));
  for (int body : {then_body, else_body}) USER_CHECK(c.net.bodies[body].inputs.size() == operands.size(), "a branch and its operands differ in number");
  bind_constants(c.net, operands, {then_body, else_body}, 0);
  operands.insert(operands.begin(), condition);
  const std::vector<TensorId> results = c.add_n(If{then_body, else_body}, operands);
  for (size_t k = 0; k < results.size(); ++k) c.out(results[k], static_cast<int>(k));
}

void while_loop(Convert& c) {
  std::vector<TensorId> state = tensor_operands(c, "carried_inputs");
  const size_t carried = state.size();
  USER_CHECK(carried == c.list("carried_inputs").size(), "the loop carries a number that is no tensor");
  for (TensorId id : tensor_operands(c, "additional_inputs")) state.push_back(id);
  Network condition = convert_body(c, "cond_graph");
  USER_CHECK(condition.main().outputs.size() == 1, "the condition of a loop returns one tensor");
  condition.main().outputs[0] = as_condition(condition, condition.main().outputs[0], c.origins());
  const int cond_body = add_bodies(c.net, std::move(condition)), loop_body = add_bodies(c.net, convert_body(c, "body_graph"));
  for (int body : {cond_body, loop_body}) USER_CHECK(c.net.bodies[body].inputs.size() == state.size(), "a loop and its operands differ in number");
  bind_constants(c.net, state, {cond_body, loop_body}, carried);
  // What the loop only reads is state that stays.
  Body& loop = c.net.bodies[loop_body];
  USER_CHECK(loop.outputs.size() == carried, "a loop returns another number of tensors than it carries");
  for (size_t k = carried; k < state.size(); ++k) loop.outputs.push_back(loop.inputs[k]);
  const std::vector<TensorId> results = c.add_n(While{cond_body, loop_body}, state);
  for (size_t k = 0; k < carried; ++k) c.out(results[k], static_cast<int>(k));
}

}  // namespace

void add_control(ConverterTable& t) {
  t.add("higher_order::cond", cond);
  t.add("higher_order::while_loop", while_loop);
}

}  // namespace tuyere
