// SPDX-License-Identifier: Apache-2.0
#include "kernels/run/cublaslt_step.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <exception>

namespace tuyere {
namespace {

using nlohmann::json;

json dim_json(const Dim& dim) { return dim.is_const() ? json(dim.value()) : json(dim.str()); }
Dim dim_of(const json& j) { return j.is_string() ? Dim::parse(j.get_ref<const std::string&>()) : Dim(j.get<int64_t>()); }

void add_matrix(json& all, const char* name, const LtMatrix& matrix) {
  if (matrix.position < 0) return;
  json strides = json::array();
  for (const Dim& stride : matrix.strides) strides.push_back(dim_json(stride));
  all[name] = json{{"position", matrix.position}, {"strides", std::move(strides)}, {"alignment", matrix.alignment}};
}

LtMatrix matrix_of(const json& all, const char* name) {
  LtMatrix matrix;
  if (!all.contains(name)) return matrix;
  const json& j = all[name];
  matrix.position = j.at("position").get<int>();
  for (size_t i = 0; i < matrix.strides.size(); ++i) matrix.strides[i] = dim_of(j.at("strides").at(i));
  matrix.alignment = j.value("alignment", matrix.alignment);
  return matrix;
}

DType type_of(const json& j) {
  const std::optional<DType> type = parse_dtype(j.get<std::string>());
  if (!type) throw std::invalid_argument("unknown type " + j.dump());
  return *type;
}

}  // namespace

std::string to_json(const LtStep& step) {
  json j{{"m", dim_json(step.m)}, {"n", dim_json(step.n)}, {"k", dim_json(step.k)}, {"batch", dim_json(step.batch)}};
  j["type"] = std::string(name(step.type));
  j["out"] = std::string(name(step.out));
  if (step.tf32) j["tf32"] = true;
  add_matrix(j, "a", step.a);
  add_matrix(j, "b", step.b);
  add_matrix(j, "c", step.c);
  add_matrix(j, "d", step.d);
  if (step.bias >= 0) j["bias"] = step.bias;
  if (!step.act.empty()) j["act"] = step.act;
  if (!step.algo.empty()) {
    j["algo"] = step.algo;
    j["tuned"] = step.tuned;
    j["version"] = step.version;
  }
  if (!step.then.empty()) j["then"] = step.then;
  return j.dump();
}

Result<LtStep> parse_lt_step(const std::string& text) {
  try {
    const json j = json::parse(text);
    LtStep step;
    step.m = dim_of(j.at("m")), step.n = dim_of(j.at("n")), step.k = dim_of(j.at("k")), step.batch = dim_of(j.at("batch"));
    step.type = type_of(j.at("type")), step.out = type_of(j.at("out"));
    step.tf32 = j.value("tf32", false);
    step.a = matrix_of(j, "a"), step.b = matrix_of(j, "b"), step.c = matrix_of(j, "c"), step.d = matrix_of(j, "d");
    step.bias = j.value("bias", -1);
    step.act = j.value("act", "");
    step.algo = j.value("algo", "");
    step.tuned = j.value("tuned", std::vector<int64_t>{});
    step.version = j.value("version", int64_t{0});
    step.then = j.value("then", "");
    if (step.a.position < 0 || step.b.position < 0 || step.d.position < 0) throw std::invalid_argument("a matrix is missing");
    return step;
  } catch (const std::exception& e) {
    return Status(Code::DataLoss, std::string("a cublaslt step cannot be read: ") + e.what());
  }
}

bool lt_layout(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride, LtLayout* layout) {
  const bool plain = row_stride == 1 || rows == 1, transposed = column_stride == 1 || columns == 1;
  if (plain && (columns == 1 || column_stride >= rows)) {
    *layout = {false, columns == 1 ? std::max(rows, column_stride) : column_stride};
    return true;
  }
  if (transposed && (rows == 1 || row_stride >= columns)) {
    *layout = {true, rows == 1 ? std::max(columns, row_stride) : row_stride};
    return true;
  }
  return false;
}

#ifndef TUYERE_WITH_CUDA
Status lt_available(int) { return {Code::FailedPrecondition, "this runtime was built without CUDA"}; }
Result<std::vector<LtAlgorithm>> lt_algorithms(const LtStep&, const Symbols&, int, int) {
  return Status(Code::FailedPrecondition, "this runtime was built without CUDA");
}
#endif

}  // namespace tuyere
