// SPDX-License-Identifier: Apache-2.0
#include "kernels/run/cudnn_step.h"

#include <nlohmann/json.hpp>

#include <exception>

namespace tuyere {
namespace {

using nlohmann::json;

json dims_json(const std::vector<Dim>& dims) {
  json list = json::array();
  for (const Dim& dim : dims) list.push_back(dim.is_const() ? json(dim.value()) : json(dim.str()));
  return list;
}

std::vector<Dim> dims_of(const json& list) {
  std::vector<Dim> dims;
  for (const json& j : list) dims.push_back(j.is_string() ? Dim::parse(j.get_ref<const std::string&>()) : Dim(j.get<int64_t>()));
  return dims;
}

CudnnTensor tensor_of(const json& j) {
  CudnnTensor tensor;
  tensor.position = j.value("position", tensor.position);
  const std::optional<DType> type = parse_dtype(j.at("dtype").get<std::string>());
  if (!type) throw std::invalid_argument("unknown type " + j.at("dtype").dump());
  tensor.dtype = *type;
  tensor.dims = dims_of(j.at("dims"));
  tensor.strides = dims_of(j.at("strides"));
  tensor.alignment = j.value("alignment", tensor.alignment);
  if (tensor.dims.size() != tensor.strides.size()) throw std::invalid_argument("a tensor with more dims than strides");
  return tensor;
}

void check_attention(const CudnnStep& step, const CudnnAttention& a) {
  for (int tensor : {a.q, a.k, a.v, a.o, a.bias < 0 ? a.q : a.bias})
    if (tensor < 0 || static_cast<size_t>(tensor) >= step.tensors.size()) throw std::invalid_argument("attention names a tensor that is not there");
  for (const CudnnTensor& tensor : step.tensors)
    if (tensor.dims.size() != 4) throw std::invalid_argument("attention with a tensor that is not [batch, head, row, column]");
}

void check(const CudnnStep& step) {
  if (step.attention) return check_attention(step, *step.attention);
  const auto known = [&](int tensor) { return tensor >= 0 && static_cast<size_t>(tensor) < step.tensors.size(); };
  bool good = known(step.x) && known(step.w) && known(step.y);
  for (const CudnnPointwise& p : step.pointwise) good = good && known(p.x) && known(p.y) && (p.b == -1 || known(p.b));
  if (!good) throw std::invalid_argument("an operation names a tensor that is not there");
  if (step.weight_gradient && (step.transposed || !step.pointwise.empty())) throw std::invalid_argument("the gradient of a weight with something else");
  const size_t spatial = step.stride.size();
  if (spatial == 0 || step.pad_before.size() != spatial || step.pad_after.size() != spatial || step.dilation.size() != spatial)
    throw std::invalid_argument("spatial attributes of different lengths");
  for (const CudnnTensor& tensor : step.tensors)
    if (tensor.dims.size() != spatial + 2) throw std::invalid_argument("a tensor of another rank");
}

json attention_json(const CudnnAttention& a) {
  json j{{"q", a.q}, {"k", a.k}, {"v", a.v}, {"o", a.o}, {"scale", a.scale}};
  if (a.bias >= 0) j["bias"] = a.bias;
  if (a.causal) j["causal"] = true;
  return j;
}

CudnnAttention attention_of(const json& j) {
  CudnnAttention a;
  a.q = j.at("q").get<int>(), a.k = j.at("k").get<int>(), a.v = j.at("v").get<int>(), a.o = j.at("o").get<int>();
  a.bias = j.value("bias", -1);
  a.scale = j.at("scale").get<double>();
  a.causal = j.value("causal", false);
  return a;
}

/// The fields of a convolution.
void write_convolution(const CudnnStep& step, json& j) {
  json pointwise = json::array();
  for (const CudnnPointwise& p : step.pointwise) {
    json one{{"fn", p.fn}, {"x", p.x}, {"y", p.y}};
    if (p.b >= 0) one["b"] = p.b;
    if (p.slope != 0) one["slope"] = p.slope;
    pointwise.push_back(std::move(one));
  }
  j["x"] = step.x, j["w"] = step.w, j["y"] = step.y;
  j["stride"] = step.stride, j["pad_before"] = step.pad_before, j["pad_after"] = step.pad_after, j["dilation"] = step.dilation;
  if (step.transposed) j["transposed"] = true;
  if (step.weight_gradient) j["weight_gradient"] = true;
  if (step.tf32) j["tf32"] = true;
  if (!step.pointwise.empty()) j["pointwise"] = std::move(pointwise);
}

void read_convolution(const json& j, CudnnStep& step) {
  step.x = j.at("x").get<int>(), step.w = j.at("w").get<int>(), step.y = j.at("y").get<int>();
  for (auto [name, list] : {std::pair{"stride", &step.stride}, {"pad_before", &step.pad_before}, {"pad_after", &step.pad_after}, {"dilation", &step.dilation}})
    *list = j.at(name).get<std::vector<int64_t>>();
  step.transposed = j.value("transposed", false), step.weight_gradient = j.value("weight_gradient", false), step.tf32 = j.value("tf32", false);
  if (j.contains("pointwise"))
    for (const json& p : j["pointwise"])
      step.pointwise.push_back({p.at("fn").get<std::string>(), p.at("x").get<int>(), p.value("b", -1), p.at("y").get<int>(), p.value("slope", 0.0)});
}

std::vector<int64_t> channels_last(const std::vector<int64_t>& dims) {
  std::vector<int64_t> strides(dims.size());
  int64_t next = dims[1];
  strides[1] = 1;
  for (size_t i = dims.size(); i-- > 2;) {
    strides[i] = next;
    next *= dims[i];
  }
  strides[0] = next;
  return strides;
}

bool same_where_it_matters(const std::vector<int64_t>& dims, const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  for (size_t i = 0; i < dims.size(); ++i)
    if (dims[i] != 1 && a[i] != b[i]) return false;
  return true;
}

}  // namespace

std::string to_json(const CudnnStep& step) {
  json tensors = json::array();
  for (const CudnnTensor& t : step.tensors) {
    json j{{"dtype", std::string(name(t.dtype))}, {"dims", dims_json(t.dims)}, {"strides", dims_json(t.strides)}};
    if (t.position >= 0) j["position"] = t.position;
    j["alignment"] = t.alignment;
    tensors.push_back(std::move(j));
  }
  json j{{"tensors", std::move(tensors)}};
  if (step.attention)
    j["attention"] = attention_json(*step.attention);
  else
    write_convolution(step, j);
  if (!step.deterministic) j["deterministic"] = false;
  if (!step.config.empty()) {
    j["config"] = step.config;
    j["tuned"] = step.tuned;
    j["version"] = step.version;
  }
  if (!step.then.empty()) j["then"] = step.then;
  return j.dump();
}

Result<CudnnStep> parse_cudnn_step(const std::string& text) {
  try {
    const json j = json::parse(text);
    CudnnStep step;
    for (const json& t : j.at("tensors")) step.tensors.push_back(tensor_of(t));
    if (j.contains("attention"))
      step.attention = attention_of(j["attention"]);
    else
      read_convolution(j, step);
    step.deterministic = j.value("deterministic", true);
    step.config = j.value("config", "");
    step.tuned = j.value("tuned", std::vector<int64_t>{});
    step.version = j.value("version", int64_t{0});
    step.then = j.value("then", "");
    check(step);
    return step;
  } catch (const std::exception& e) {
    return Status(Code::DataLoss, std::string("a cudnn step cannot be read: ") + e.what());
  }
}

Result<std::vector<int64_t>> cudnn_sizes(const CudnnStep& step, const Symbols& symbols) {
  std::vector<int64_t> sizes;
  for (const CudnnTensor& tensor : step.tensors)
    for (const Dim& dim : tensor.dims) {
      int64_t size = 0;
      if (!dim.try_eval(symbols, &size)) return Status(Code::Internal, "the size " + dim.str() + " has no value for these shapes");
      sizes.push_back(size);
    }
  return sizes;
}

void canonical_strides(const std::vector<int64_t>& dims, std::vector<int64_t>& strides) {
  const std::vector<int64_t> last = channels_last(dims);
  if (same_where_it_matters(dims, strides, last)) {
    strides = last;
    return;
  }
  const std::vector<int64_t> row_major = contiguous_strides(dims);
  if (same_where_it_matters(dims, strides, row_major)) strides = row_major;
}

#ifndef TUYERE_WITH_CUDA
Status cudnn_available(int) { return {Code::FailedPrecondition, "this runtime was built without CUDA"}; }
int64_t cudnn_version() { return 0; }
Result<std::vector<std::string>> cudnn_configs(const CudnnStep&, const Symbols&, int device, int) { return cudnn_available(device); }
Result<int64_t> cudnn_workspace(const CudnnStep&, const Symbols&, int device) { return cudnn_available(device); }
#endif

}  // namespace tuyere
