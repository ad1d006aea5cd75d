// SPDX-License-Identifier: Apache-2.0
// Building and reading networks. Rewriting: rewrite.cpp. Pointwise sugar: pointwise.cpp.
#include "core/network/network.h"

#include <algorithm>
#include <cstring>

#include "common/error.h"
#include "core/network/infer/infer.h"
#include "core/network/internal.h"

namespace tuyere {
namespace {

using inference::Inputs, inference::Types;

Body& checked_body(Network& network, int body) {
  INTERNAL_CHECK(body >= 0 && body < static_cast<int>(network.bodies.size()), "body " << body << " does not exist");
  return network.bodies[body];
}

TensorId new_tensor(Body& body, TensorType type, const std::string& wanted) {
  Tensor tensor;
  tensor.type = std::move(type);
  tensor.name = unique_name(body, wanted.empty() ? "t" : wanted);
  body.tensors.push_back(std::move(tensor));
  return static_cast<TensorId>(body.tensors.size() - 1);
}

bool same_data(const Constant& a, const Constant& b) { return a.data == b.data || (a.data && b.data && *a.data == *b.data); }

/// Index of `constant` in the table. A param is one entry however often it is used; a literal whose name is taken by other data gets a new name.
int intern(std::vector<Constant>& table, Constant constant) {
  const auto taken = [&](const std::string& name) { return std::find_if(table.begin(), table.end(), [&](const Constant& c) { return c.name == name; }); };
  auto found = taken(constant.name);
  if (found != table.end() && found->param == constant.param && same_data(*found, constant)) return static_cast<int>(found - table.begin());
  USER_CHECK(found == table.end() || !constant.param, "parameter '" << constant.name << "' is there already with other data");
  const std::string base = constant.name;
  for (int k = 1; found != table.end(); ++k) {
    constant.name = base + "_" + std::to_string(k);
    found = taken(constant.name);
  }
  table.push_back(std::move(constant));
  return static_cast<int>(table.size() - 1);
}

/// Pointwise layers write in their input's memory order; every other op starts row-major and the layout pass decides.
void keep_layout(const Op& op, Inputs in, Types& out) {
  if (!std::holds_alternative<Pointwise>(op)) return;
  for (const TensorType& input : in) {
    if (input.layout.is_row_major() || input.shape != out[0].shape) continue;
    for (TensorType& type : out) type.layout = input.layout;
    return;
  }
}

}  // namespace

TensorId Network::add_input(TensorType type, std::string name, int body) {
  Body& b = checked_body(*this, body);
  const TensorId id = new_tensor(b, std::move(type), name);
  b.inputs.push_back(id);
  return id;
}

TensorId Network::add_constant(DType dtype, Shape shape, Constant constant, int body) {
  Body& b = checked_body(*this, body);
  const ErrorFrame frame("constant '" + constant.name + "'");
  USER_CHECK(is_static(shape), "a constant needs a static shape, got " << tuyere::str(shape));
  if (constant.data) {
    const int64_t want = bytes_of(dtype, numel(shape).value());
    USER_CHECK(static_cast<int64_t>(constant.data->size()) == want,
               "has " << constant.data->size() << " bytes, " << tuyere::name(dtype) << tuyere::str(shape) << " needs " << want);
  }
  if (constant.name.empty()) constant.name = unique_name(b, constant.param ? "param" : "c");
  const std::string wanted = constant.name;
  const int index = intern(constants, std::move(constant));
  const TensorId id = new_tensor(b, {dtype, std::move(shape), {}}, wanted);
  b.tensors[id].constant = index;
  return id;
}

TensorId Network::add_scalar(DType dtype, double value, int body) {
  auto data = std::make_shared<std::vector<std::byte>>(bytes_of(dtype, 1));
  store_from_double(dtype, data->data(), 0, value);
  return add_constant(dtype, {}, {"", false, std::move(data)}, body);
}

std::vector<TensorId> Network::add(Op op, std::vector<TensorId> inputs, Origins origins, int body) {
  Body& b = checked_body(*this, body);
  const std::string layer_name = unique_name(b, wanted_name(op, origins));
  const ErrorFrame frame(layer_frame(op, layer_name, origins));
  Types in;
  for (TensorId id : inputs) {
    INTERNAL_CHECK(id >= 0 && id < static_cast<TensorId>(b.tensors.size()), "input tensor " << id << " does not exist");
    in.push_back(b.tensors[id].type);
  }
  inference::normalize(op, in);
  Types out = inference::infer_in(*this, op, in);
  keep_layout(op, in, out);
  const auto layer = static_cast<LayerId>(b.layers.size());
  std::vector<TensorId> outputs;
  for (size_t k = 0; k < out.size(); ++k) {
    const TensorId id = new_tensor(b, std::move(out[k]), layer_name);
    b.tensors[id].producer = layer;
    b.tensors[id].output = static_cast<int>(k);
    outputs.push_back(id);
  }
  b.layers.push_back({std::move(op), std::move(inputs), outputs, std::move(origins)});
  return outputs;
}

const Layer* Network::producer(TensorId id, int body) const {
  const LayerId layer = bodies[body].tensors[id].producer;
  return layer == kNone || bodies[body].layers[layer].dead ? nullptr : &bodies[body].layers[layer];
}

std::vector<LayerId> Network::consumers(TensorId id, int body) const {
  std::vector<LayerId> result;
  const std::vector<Layer>& layers = bodies[body].layers;
  for (size_t k = 0; k < layers.size(); ++k)
    if (!layers[k].dead && std::find(layers[k].inputs.begin(), layers[k].inputs.end(), id) != layers[k].inputs.end()) result.push_back(static_cast<LayerId>(k));
  return result;
}

int Network::uses(TensorId id, int body) const {
  const Body& b = bodies[body];
  auto count = std::count(b.outputs.begin(), b.outputs.end(), id) + (b.tensors[id].observed ? 1 : 0);
  for (const Layer& layer : b.layers)
    if (!layer.dead) count += std::count(layer.inputs.begin(), layer.inputs.end(), id);
  return static_cast<int>(count);
}

bool Network::operator==(const Network& other) const {
  if (tuyere::str(*this) != tuyere::str(other)) return false;
  return std::all_of(constants.begin(), constants.end(), [&](const Constant& mine) {
    const auto theirs = std::find_if(other.constants.begin(), other.constants.end(), [&](const Constant& c) { return c.name == mine.name; });
    return theirs == other.constants.end() || !mine.data || !theirs->data || same_data(mine, *theirs);
  });
}

}  // namespace tuyere
