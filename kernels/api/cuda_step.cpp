// SPDX-License-Identifier: Apache-2.0
// CudaStep as JSON. Fields equal to their default are left out.
#include "kernels/api/cuda_step.h"

#include <nlohmann/json.hpp>

#include <exception>

namespace tuyere {
namespace {

using nlohmann::json;

constexpr const char* kKinds[] = {"pointer", "i32", "i64", "f32", "tensor_map"};

json dim_json(const Dim& dim) { return dim.is_const() ? json(dim.value()) : json(dim.str()); }
Dim dim_of(const json& j) { return j.is_string() ? Dim::parse(j.get_ref<const std::string&>()) : Dim(j.get<int64_t>()); }

json dims_json(const std::vector<Dim>& dims) {
  json list = json::array();
  for (const Dim& dim : dims) list.push_back(dim_json(dim));
  return list;
}

std::vector<Dim> dims_of(const json& list) {
  std::vector<Dim> dims;
  for (const json& j : list) dims.push_back(dim_of(j));
  return dims;
}

json arg_json(const KernelArg& arg) {
  static const KernelArg defaults;
  json j{{"kind", kKinds[static_cast<int>(arg.kind)]}};
  if (arg.pointer != defaults.pointer) j["pointer"] = arg.pointer;
  if (!(arg.value == defaults.value)) j["value"] = dim_json(arg.value);
  if (arg.kind == KernelArg::Kind::f32) {
    uint32_t bits;
    __builtin_memcpy(&bits, &arg.f, 4);
    j["bits"] = bits;  // exact, infinities and NaN included
  }
  if (!arg.dims.empty()) j["dims"] = dims_json(arg.dims);
  if (!arg.strides.empty()) j["strides"] = dims_json(arg.strides);
  if (!arg.box.empty()) j["box"] = arg.box;
  if (arg.swizzle != defaults.swizzle) j["swizzle"] = arg.swizzle;
  if (!arg.dtype.empty()) j["dtype"] = arg.dtype;
  return j;
}

KernelArg::Kind kind_of(const std::string& text) {
  for (size_t i = 0; i < std::size(kKinds); ++i)
    if (text == kKinds[i]) return static_cast<KernelArg::Kind>(i);
  throw std::invalid_argument("unknown kind of kernel argument '" + text + "'");
}

KernelArg arg_of(const json& j) {
  KernelArg arg;
  arg.kind = kind_of(j.at("kind").get<std::string>());
  arg.pointer = j.value("pointer", arg.pointer);
  if (j.contains("value")) arg.value = dim_of(j["value"]);
  if (j.contains("bits")) {
    uint32_t bits = j["bits"].get<uint32_t>();
    __builtin_memcpy(&arg.f, &bits, 4);
  }
  if (j.contains("dims")) arg.dims = dims_of(j["dims"]);
  if (j.contains("strides")) arg.strides = dims_of(j["strides"]);
  arg.box = j.value("box", arg.box);
  arg.swizzle = j.value("swizzle", arg.swizzle);
  arg.dtype = j.value("dtype", arg.dtype);
  return arg;
}

json launch_json(const KernelLaunch& launch) {
  static const KernelLaunch defaults;
  json j{{"kernel", launch.kernel}};
  if (launch.blob != defaults.blob) j["blob"] = launch.blob;
  if (launch.grid != defaults.grid) j["grid"] = dims_json({launch.grid.begin(), launch.grid.end()});
  if (launch.block != defaults.block) j["block"] = launch.block;
  if (launch.shared_bytes != defaults.shared_bytes) j["shared_bytes"] = launch.shared_bytes;
  if (launch.cluster != defaults.cluster) j["cluster"] = launch.cluster;
  if (launch.pdl != defaults.pdl) j["pdl"] = launch.pdl;
  json args = json::array();
  for (const KernelArg& arg : launch.args) args.push_back(arg_json(arg));
  j["args"] = std::move(args);
  return j;
}

KernelLaunch launch_of(const json& j) {
  KernelLaunch launch;
  launch.kernel = j.at("kernel").get<std::string>();
  launch.blob = j.value("blob", launch.blob);
  if (j.contains("grid"))
    for (size_t i = 0; i < 3; ++i) launch.grid[i] = dim_of(j["grid"].at(i));
  launch.block = j.value("block", launch.block);
  launch.shared_bytes = j.value("shared_bytes", launch.shared_bytes);
  launch.cluster = j.value("cluster", launch.cluster);
  launch.pdl = j.value("pdl", launch.pdl);
  for (const json& arg : j.at("args")) launch.args.push_back(arg_of(arg));
  return launch;
}

}  // namespace

KernelArg KernelArg::ptr(int position, Dim byte_offset) {
  KernelArg arg;
  arg.pointer = position;
  arg.value = std::move(byte_offset);
  return arg;
}

KernelArg KernelArg::int32(Dim v) {
  KernelArg arg;
  arg.kind = Kind::i32;
  arg.value = std::move(v);
  return arg;
}

KernelArg KernelArg::int64(Dim v) {
  KernelArg arg;
  arg.kind = Kind::i64;
  arg.value = std::move(v);
  return arg;
}

KernelArg KernelArg::real(float v) {
  KernelArg arg;
  arg.kind = Kind::f32;
  arg.f = v;
  return arg;
}

std::string to_json(const CudaStep& step) {
  json launches = json::array();
  for (const KernelLaunch& launch : step.launches) launches.push_back(launch_json(launch));
  return json{{"launches", std::move(launches)}}.dump();
}

Result<CudaStep> parse_cuda_step(const std::string& text) {
  try {
    CudaStep step;
    json all = json::parse(text);
    for (const json& launch : all.at("launches")) step.launches.push_back(launch_of(launch));
    return step;
  } catch (const std::exception& e) {
    return Status(Code::DataLoss, std::string("a cuda step cannot be read: ") + e.what());
  }
}

}  // namespace tuyere
