// SPDX-License-Identifier: Apache-2.0
// Hosted ops: a PyTorch op called from inside a program, through the versioned dispatcher. Arguments are described by a JSON list with one entry
// per schema argument (kernels/api/ops.h, HostCall); "type" holds the schema type, which decides how a value is boxed.
#include <torch/csrc/stable/c/shim.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "runtime/engine/registry.h"
#include "runtime/torch_op/torch_util.h"

namespace tuyere::torch_op {
namespace {

using Json = nlohmann::json;
using torch::stable::detail::from;

StableIValue box_list(const Json& items, const std::vector<Tensor>& in, const std::string& element);

/// A value of the schema type `type` without its trailing '?'.
StableIValue box_value(const Json& arg, const std::vector<Tensor>& in, const std::string& type) {
  if (type.ends_with("[]")) return box_list(arg, in, type.substr(0, type.size() - 2));
  if (type == "Tensor") return from(in.at(arg.at("tensor").get<size_t>()));
  if (arg.contains("int")) return type == "float" ? from(arg["int"].get<double>()) : from(arg["int"].get<int64_t>());
  if (arg.contains("float")) return from(arg["float"].get<double>());
  if (arg.contains("bool")) return from(arg["bool"].get<bool>());
  if (arg.contains("str")) return from(arg["str"].get<std::string>());
  if (arg.contains("dtype")) {
    const auto dtype = parse_dtype(arg["dtype"].get<std::string>());
    if (!dtype) fail("hosted op: unknown dtype " + arg["dtype"].dump());
    return from(static_cast<torch::headeronly::ScalarType>(to_torch_dtype(*dtype)));
  }
  fail("hosted op: cannot pass " + arg.dump() + " as " + type);
}

StableIValue box_arg(const Json& arg, const std::vector<Tensor>& in, std::string type) {
  const bool optional = type.ends_with("?");
  if (optional) type.pop_back();
  if (!optional) return box_value(arg, in, type);
  if (arg.contains("none")) return from(std::nullopt);
  // an optional travels as a pointer to a heap cell with the value (see stableivalue_conversions.h, "Handling std::optional")
  return reinterpret_cast<StableIValue>(new StableIValue(box_value(arg, in, type)));
}

StableIValue box_list(const Json& arg, const std::vector<Tensor>& in, const std::string& element) {
  const Json& items = arg.contains("tensors") ? arg["tensors"] : arg.contains("ints") ? arg["ints"] : arg.contains("floats") ? arg["floats"] : arg.at("list");
  StableListHandle list = nullptr;
  TORCH_ERROR_CODE_CHECK(torch_new_list_reserve_size(items.size(), &list));
  for (const Json& item : items) {
    Json wrapped = item;
    if (arg.contains("tensors")) wrapped = {{"tensor", item}};
    if (arg.contains("ints")) wrapped = {{"int", item}};
    if (arg.contains("floats")) wrapped = {{"float", item}};
    TORCH_ERROR_CODE_CHECK(torch_list_push_back(list, box_arg(wrapped, in, element)));
  }
  return reinterpret_cast<StableIValue>(list);
}

/// Hosted ops are called again and again with the same text. A thread keeps what it has parsed, within a bound: engines come and go. Shared with the
/// caller, as its op may call engines in turn.
std::shared_ptr<const Json> parsed(const char* text) {
  constexpr size_t kMost = 512;
  static thread_local std::unordered_map<std::string, std::shared_ptr<const Json>> known;
  if (const auto found = known.find(text); found != known.end()) return found->second;
  if (known.size() >= kMost) known.clear();
  return known.emplace(text, std::make_shared<const Json>(Json::parse(text))).first->second;
}

bool is_row_major(const TensorRef& ref) {
  int64_t step = 1;
  for (size_t d = ref.shape.size(); d-- > 0; step *= ref.shape[d])
    if (ref.shape[d] != 1 && ref.strides[d] != step) return false;
  return true;
}

/// Whether the op was bernoulli.p on CPU booleans from PyTorch's default generator, and has been done.
bool draw_many(std::string_view op, std::string_view overload, const Json& call, const TensorRef* out, int num_out) {
  const BernoulliDraw draw = bernoulli_draw();
  if (!draw || op != "aten::bernoulli" || overload != "p" || num_out != 1 || !call.is_array() || call.size() != 3) return false;
  const Json& probability = call[1];
  if (!probability.contains("float") || !call[2].contains("none") || out->device >= 0 || out->dtype != DType::Bool || !is_row_major(*out)) return false;
  int64_t count = 1;
  for (int64_t size : out->shape) count *= size;
  const double p = probability["float"].get<double>();
  return p >= 0 && p <= 1 && draw(static_cast<unsigned char*>(out->data), count, p);
}

void run_hosted(const char* op, const char* overload, const char* args, const TensorRef* in, int num_in, const TensorRef* out, int num_out) {
  const std::shared_ptr<const Json> keep = parsed(args);
  const Json& call = *keep;
  if (draw_many(op, overload, call, out, num_out)) return;
  const bool selects = call.is_object();  // some results are no outputs
  const Json& list = selects ? call.at("args") : call;
  const Json* results = selects ? &call.at("outputs") : nullptr;
  const size_t returns = selects ? call.at("returns").get<size_t>() : static_cast<size_t>(num_out);
  std::vector<Tensor> inputs, returned;
  for (int i = 0; i < num_in; ++i) inputs.push_back(borrow(in[i]));
  std::vector<StableIValue> stack(std::max(list.size(), returns));
  for (size_t i = 0; i < list.size(); ++i) stack[i] = box_arg(list[i], inputs, list[i].at("type").get<std::string>());
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher(op, overload, stack.data(), TORCH_TARGET_VERSION));
  for (size_t i = 0; i < returns; ++i) returned.push_back(torch::stable::detail::to<Tensor>(stack[i]));
  for (int i = 0; i < num_out; ++i) copy(borrow(out[i]), returned.at(results ? results->at(i).get<size_t>() : static_cast<size_t>(i)).get());
}

}  // namespace

const char* call_hosted(void*, const char* op, const char* overload, const char* args, const TensorRef* in, int num_in, const TensorRef* out, int num_out,
                        void*) {
  static thread_local std::string error;
  try {
    run_hosted(op, overload, args, in, num_in, out, num_out);
    return nullptr;
  } catch (const std::exception& e) {
    error = std::string("hosted op ") + op + ": " + e.what();
    return error.c_str();
  }
}

}  // namespace tuyere::torch_op
