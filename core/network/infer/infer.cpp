// SPDX-License-Identifier: Apache-2.0
// Dispatch, and the operators whose types come from bodies of the network.
#include "core/network/infer/infer.h"

#include <algorithm>
#include <type_traits>

#include "common/error.h"
#include "core/network/infer/check.h"

namespace tuyere::inference {
namespace {

const Body& body_of(const Network& network, int64_t id) {
  USER_CHECK(id > 0 && id < static_cast<int64_t>(network.bodies.size()), "body " << id << " does not exist");
  return network.bodies[id];
}

Types types_of(const Body& body, const std::vector<TensorId>& ids) {
  Types types;
  for (TensorId id : ids) types.push_back(plain(body.tensors[id].type.dtype, body.tensors[id].type.shape));
  return types;
}

void check_same_types(const Types& have, Inputs want, const std::string& what) {
  USER_CHECK(have.size() == want.size(), what << ": " << have.size() << " tensors, needs " << want.size());
  for (size_t k = 0; k < have.size(); ++k)
    USER_CHECK(have[k].dtype == want[k].dtype && have[k].shape == want[k].shape,
               what << ": tensor " << k << " is " << str(have[k]) << ", needs " << str(plain(want[k].dtype, want[k].shape)));
}

Types call_body(const Network& network, int64_t id, Inputs in) {
  const Body& body = body_of(network, id);
  const std::string what = "body " + std::to_string(id);
  check_same_types(types_of(body, body.inputs), in, "inputs of " + what);
  return types_of(body, body.outputs);
}

void check_condition(Inputs types, const std::string& what) {
  USER_CHECK(types.size() == 1 && types[0].dtype == DType::Bool && types[0].shape.empty(), what << " must be one bool of rank 0");
}

Types infer_if(const Network& network, const If& op, Inputs in) {
  Check(in).inputs_at_least(1);
  check_condition(in.first(1), "the condition");
  const Types result = call_body(network, op.then_body, in.subspan(1));
  check_same_types(call_body(network, op.else_body, in.subspan(1)), result, "outputs of body " + std::to_string(op.else_body));
  return result;
}

Types infer_while(const Network& network, const While& op, Inputs in) {
  check_condition(call_body(network, op.cond_body, in), "the output of body " + std::to_string(op.cond_body));
  Types result = call_body(network, op.loop_body, in);
  check_same_types(result, in, "outputs of body " + std::to_string(op.loop_body));
  return result;
}

[[noreturn]] Types need_network() { throw_error(Fault::Internal, __FILE__, __LINE__, "its types come from the bodies of a network: use Network::add"); }

}  // namespace

Types infer_one(const If&, Inputs) { need_network(); }
Types infer_one(const While&, Inputs) { need_network(); }
Types infer_one(const Call&, Inputs) { need_network(); }

Types infer_one(const Op& op, Inputs in) {
  return std::visit(
      [&](const auto& o) -> Types {
        if constexpr (std::is_same_v<std::decay_t<decltype(o)>, std::monostate>)
          throw_error(Fault::Internal, __FILE__, __LINE__, "a layer without an op");
        else
          return infer_one(o, in);
      },
      op);
}

Types infer_in(const Network& network, const Op& op, Inputs in) {
  if (const If* o = std::get_if<If>(&op)) return infer_if(network, *o, in);
  if (const While* o = std::get_if<While>(&op)) return infer_while(network, *o, in);
  if (const Call* o = std::get_if<Call>(&op)) return call_body(network, o->body, in);
  return infer_one(op, in);
}

}  // namespace tuyere::inference

namespace tuyere {

std::vector<TensorType> infer(const Op& op, std::span<const TensorType> inputs) {
  const ErrorFrame frame{std::string(name(op))};
  return inference::infer_one(op, inputs);
}

}  // namespace tuyere
