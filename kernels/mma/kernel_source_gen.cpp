// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>

#include "common/error.h"
#include "kernels/api/program.h"
#include "kernels/jit/nvrtc.h"
#include "kernels/mma/device_text.h"
#include "kernels/mma/kernel_source.h"

namespace tuyere::mma {

std::string KernelParams::add(const std::string& type, const std::string& name, KernelArg arg) {
  for (size_t i = 0; i < args_.size(); ++i)
    if (args_[i] == arg && types_[i] == type) return names_[i];
  types_.push_back(type);
  names_.push_back(name);
  args_.push_back(std::move(arg));
  return name;
}

KernelSource one_launch(const std::string& name, const Dim& grid, int threads, const KernelParams& params, const Target& target) {
  KernelSource source;
  KernelLaunch launch;
  launch.kernel = name;
  launch.grid = {grid, 1, 1};
  launch.block = {threads, 1, 1};
  launch.pdl = target.sm >= 90;
  launch.args = params.args();
  source.step.launches.push_back(std::move(launch));
  source.workspace = 0;
  return source;
}

const char* mma_name(DType type) { return type == DType::F16 ? "tgm_mma_f16" : type == DType::BF16 ? "tgm_mma_bf16" : "tgm_mma_tf32"; }

std::string KernelParams::pointer(int position, DType type, bool written) {
  std::string storage = storage_ctype(type);
  return add(written ? storage + "*" : "const " + storage + "* __restrict__", "p" + std::to_string(position), KernelArg::ptr(position));
}

std::string KernelParams::size(const Dim& dim) {
  if (dim.is_const()) return std::to_string(dim.value());
  return add("int", "s" + std::to_string(args_.size()), KernelArg::int32(dim));
}

std::string KernelParams::offset(const Dim& dim) {
  if (dim.is_const()) return std::to_string(dim.value()) + (std::abs(dim.value()) > INT32_MAX ? "ll" : "");
  return add("long long", "s" + std::to_string(args_.size()), KernelArg::int64(dim));
}

std::string KernelParams::declaration() const {
  std::string text;
  for (size_t i = 0; i < names_.size(); ++i) text += (i ? ", " : "") + types_[i] + " " + names_[i];
  return text;
}

std::string KernelParams::names() const {
  std::string text;
  for (size_t i = 0; i < names_.size(); ++i) text += (i ? ", " : "") + names_[i];
  return text;
}

std::string assemble(const KernelParams& params, bool wide, const std::string& body) {
  std::string text = std::string(cuda_prelude()) + codegen::types_prelude() + primitives_text();
  text += "#define TG_PARAMS " + params.declaration() + "\n#define TG_ARGS " + params.names() + "\n";
  text += std::string("typedef ") + (wide ? "long long" : "int") + " TGM_IDX;\n";
  return text + body;
}

bool needs_wide(const Problem& problem) {
  auto wide = [](const TensorDesc& t) {
    int64_t extent = 1;
    for (int d = 0; d < t.rank(); ++d) {
      if (!t.shape[d].is_const() || !t.strides[d].is_const()) return true;
      extent += (t.shape[d].value() - 1) * std::abs(t.strides[d].value());
    }
    return extent > INT32_MAX / 2;
  };
  return std::any_of(problem.in.begin(), problem.in.end(), wide) || std::any_of(problem.out.begin(), problem.out.end(), wide);
}

StepSpec compile_step(const KernelSource& source, const Target& target) {
  StepSpec spec;
  spec.executor = "cuda";
  spec.attrs = to_json(source.step);
  spec.blobs.push_back(compile_cubin(source.text, target.arch(), {}));
  spec.workspace = source.workspace;
  return spec;
}

std::string float_literal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9ef", value);
  return text;
}

std::string config_value(const std::string& config, const std::string& key) {
  for (size_t at = 0; at < config.size();) {
    size_t end = std::min(config.find(' ', at), config.size());
    if (config.compare(at, key.size() + 1, key + "=") == 0) return config.substr(at + key.size() + 1, end - at - key.size() - 1);
    at = end + 1;
  }
  return "";
}

std::vector<int> config_ints(const std::string& config, const std::string& key) {
  std::vector<int> values;
  std::string text = config_value(config, key);
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('x', at), text.size());
    values.push_back(std::stoi(text.substr(at, end - at)));
    at = end + 1;
  }
  INTERNAL_CHECK(!values.empty(), "configuration '" << config << "' lacks " << key);
  return values;
}

}  // namespace tuyere::mma
