// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/plan_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/plan/plan_reader.h"

namespace tuyere {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr const char* kBufferKinds[] = {"input", "output", "constant", "arena"};

OrderedJson dim_json(const Dim& dim) { return dim.is_const() ? OrderedJson(dim.value()) : OrderedJson(dim.str()); }

OrderedJson dims_json(const std::vector<Dim>& dims) {
  OrderedJson list = OrderedJson::array();
  for (const Dim& dim : dims) list.push_back(dim_json(dim));
  return list;
}

/// Attributes are kept as JSON when that gives back the same text, otherwise as a string.
OrderedJson attrs_json(const std::string& attrs) {
  OrderedJson parsed = OrderedJson::parse(attrs, nullptr, false);
  if (parsed.is_object() && parsed.dump() == attrs) return parsed;
  return attrs;
}

template <class T>
void put(OrderedJson& json, const char* key, const T& value, const T& unset) {
  if (value != unset) json[key] = value;
}

OrderedJson buffer_json(const PlanBuffer& buffer) {
  OrderedJson json = {{"kind", kBufferKinds[static_cast<int>(buffer.kind)]}, {"bytes", dim_json(buffer.bytes)}};
  put(json, "index", buffer.index, -1);
  put(json, "constant", buffer.constant, {});
  return json;
}

OrderedJson tensor_json(const PlanTensor& tensor) {
  OrderedJson json;
  put(json, "name", tensor.name, {});
  json["dtype"] = name(tensor.dtype);
  json["shape"] = dims_json(tensor.shape);
  json["strides"] = dims_json(tensor.strides);
  json["buffer"] = tensor.buffer;
  if (!tensor.offset.is_const(0)) json["offset"] = dim_json(tensor.offset);
  put(json, "observed", tensor.observed, false);
  return json;
}

OrderedJson step_json(const PlanStep& step) {
  OrderedJson json = {{"executor", step.spec.executor}};
  put(json, "name", step.name, {});
  json["in"] = step.in;
  json["out"] = step.out;
  if (!step.spec.attrs.empty()) json["attrs"] = attrs_json(step.spec.attrs);
  if (!step.spec.blobs.empty()) {
    OrderedJson blobs = OrderedJson::array();
    for (const Bytes& blob : step.spec.blobs) blobs.push_back(blob ? blob_hash(*blob) : std::string());
    json["blobs"] = blobs;
  }
  if (!step.spec.workspace.is_const(0)) json["workspace"] = dim_json(step.spec.workspace);
  put(json, "tactic", step.tactic, {});
  put(json, "config", step.config, {});
  put(json, "problem", step.problem, {});
  put(json, "origins", step.origins, {});
  if (std::isfinite(step.micros)) put(json, "micros", step.micros, 0.0);
  put(json, "stream", step.stream, 0);
  put(json, "wait_events", step.wait_events, {});
  put(json, "record_event", step.record_event, -1);
  put(json, "stage", step.stage, 0);
  if (!step.bodies.empty()) json["bodies"] = step.bodies;
  return json;
}

OrderedJson io_json(const PlanIo& io) {
  OrderedJson json = {{"name", io.name}, {"tensor", io.tensor}};
  put(json, "mutated", io.mutated, false);
  put(json, "aliases_input", io.aliases_input, -1);
  put(json, "data_dependent", io.data_dependent, false);
  return json;
}

OrderedJson symbol_json(const PlanSymbol& symbol) {
  OrderedJson json = {{"name", symbol.name}, {"input", symbol.input}, {"dim", symbol.dim}, {"expr", dim_json(symbol.expr)}};
  put(json, "min", symbol.min, int64_t{0});
  put(json, "max", symbol.max, INT64_MAX);
  put(json, "opt", symbol.opt, int64_t{0});
  return json;
}

template <class T>
OrderedJson list_json(const std::vector<T>& items, OrderedJson (*one)(const T&)) {
  OrderedJson list = OrderedJson::array();
  for (const T& item : items) list.push_back(one(item));
  return list;
}

OrderedJson body_json(const PlanBody& body) {
  return {{"symbols", list_json(body.symbols, symbol_json)}, {"inputs", list_json(body.inputs, io_json)},       {"outputs", list_json(body.outputs, io_json)},
          {"buffers", list_json(body.buffers, buffer_json)}, {"tensors", list_json(body.tensors, tensor_json)}, {"steps", list_json(body.steps, step_json)}};
}

PlanBuffer read_buffer(const PlanReader& json) {
  json.keys({"kind", "bytes", "index", "constant"});
  PlanBuffer buffer;
  buffer.kind = static_cast<BufferKind>(json.choice("kind", kBufferKinds));
  buffer.bytes = json.dim("bytes");
  buffer.index = json.integer("index", -1);
  buffer.constant = json.text("constant", "");
  return buffer;
}

PlanTensor read_tensor(const PlanReader& json) {
  json.keys({"name", "dtype", "shape", "strides", "buffer", "offset", "observed"});
  PlanTensor tensor;
  tensor.name = json.text("name", "");
  tensor.dtype = json.dtype("dtype");
  tensor.shape = json.dims("shape");
  tensor.strides = json.dims("strides");
  tensor.buffer = json.integer("buffer");
  tensor.offset = json.dim("offset", 0);
  tensor.observed = json.boolean("observed");
  return tensor;
}

PlanStep read_step(const PlanReader& json, const FindBlob& find_blob) {
  json.keys({"executor", "name", "in", "out", "attrs", "blobs", "workspace", "tactic", "config", "problem", "origins", "micros", "stream", "wait_events",
             "record_event", "stage", "bodies"});
  PlanStep step;
  step.spec.executor = json.text("executor");
  step.name = json.text("name", "");
  step.in = json.integers("in");
  step.out = json.integers("out");
  step.spec.attrs = json.object_text("attrs");
  for (const std::string& hash : json.texts("blobs")) {
    Bytes blob = find_blob ? find_blob(hash) : nullptr;
    if (find_blob && !blob) json.fail("blobs", "blob '" + hash + "' is missing");
    step.spec.blobs.push_back(std::move(blob));
  }
  step.spec.workspace = json.dim("workspace", 0);
  step.tactic = json.text("tactic", "");
  step.config = json.text("config", "");
  step.problem = json.text("problem", "");
  step.origins = json.texts("origins");
  step.micros = json.real("micros", 0);
  step.stream = json.integer("stream", 0);
  step.wait_events = json.integers("wait_events");
  step.record_event = json.integer("record_event", -1);
  step.stage = json.integer("stage", 0);
  step.bodies = json.integers("bodies");
  return step;
}

PlanIo read_io(const PlanReader& json) {
  json.keys({"name", "tensor", "mutated", "aliases_input", "data_dependent"});
  PlanIo io;
  io.name = json.text("name");
  io.tensor = json.integer("tensor");
  io.mutated = json.boolean("mutated");
  io.aliases_input = json.integer("aliases_input", -1);
  io.data_dependent = json.boolean("data_dependent");
  return io;
}

PlanSymbol read_symbol(const PlanReader& json) {
  json.keys({"name", "input", "dim", "expr", "min", "max", "opt"});
  PlanSymbol symbol;
  symbol.name = json.text("name");
  symbol.input = json.integer("input");
  symbol.dim = json.integer("dim");
  symbol.expr = json.dim("expr");
  symbol.min = json.integer64("min", 0);
  symbol.max = json.integer64("max", INT64_MAX);
  symbol.opt = json.integer64("opt", 0);
  return symbol;
}

PlanBody read_body(const PlanReader& json, const FindBlob& find_blob) {
  json.keys({"symbols", "inputs", "outputs", "buffers", "tensors", "steps"});
  PlanBody body;
  json.each("symbols", [&](const PlanReader& item) { body.symbols.push_back(read_symbol(item)); });
  json.each("inputs", [&](const PlanReader& item) { body.inputs.push_back(read_io(item)); });
  json.each("outputs", [&](const PlanReader& item) { body.outputs.push_back(read_io(item)); });
  json.each("buffers", [&](const PlanReader& item) { body.buffers.push_back(read_buffer(item)); });
  json.each("tensors", [&](const PlanReader& item) { body.tensors.push_back(read_tensor(item)); });
  json.each("steps", [&](const PlanReader& item) { body.steps.push_back(read_step(item, find_blob)); });
  return body;
}

Status newer(const Plan& plan) {
  auto built_by = plan.meta.find("tuyere");
  return {Code::FailedPrecondition, "engine file version " + std::to_string(plan.version) + " is newer than this runtime (" + std::to_string(kPlanVersion) +
                                        "): install tuyere >= " + (built_by == plan.meta.end() ? "the version that built it" : built_by->second)};
}

}  // namespace

std::string to_json(const Plan& plan, int indent) {
  OrderedJson json = {{"version", plan.version}, {"target", plan.target}, {"device_name", plan.device_name}};
  put(json, "weight_body", plan.weight_body, -1);
  if (!plan.profiles.empty()) json["profiles"] = plan.profiles;
  json["meta"] = plan.meta;
  json["bodies"] = list_json(plan.bodies, body_json);
  return json.dump(indent);
}

Result<Plan> parse_plan(std::string_view text, const FindBlob& find_blob) {
  const OrderedJson root = OrderedJson::parse(text, nullptr, false);
  if (!root.is_object()) return Status(Code::DataLoss, "engine file: the plan is not a JSON object");
  try {
    const PlanReader json(root, "plan");
    Plan plan;
    plan.version = json.integer("version");
    if (plan.version < 1) json.fail("version", "must be positive");
    plan.meta = json.text_map("meta");
    if (plan.version > kPlanVersion) return newer(plan);
    json.keys({"version", "target", "device_name", "weight_body", "profiles", "meta", "bodies"});
    plan.target = json.text("target");
    plan.device_name = json.text("device_name", "");
    plan.weight_body = json.integer("weight_body", -1);
    plan.profiles = json.integers("profiles");
    plan.bodies.clear();
    json.each("bodies", [&](const PlanReader& item) { plan.bodies.push_back(read_body(item, find_blob)); });
    return plan;
  } catch (const PlanReader::Malformed& error) {
    return Status(Code::DataLoss, "engine file: " + error.text);
  }
}

}  // namespace tuyere
