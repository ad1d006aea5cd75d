// SPDX-License-Identifier: Apache-2.0
#include "kernels/codegen/kernel.h"

#include <algorithm>
#include <cctype>

#include "common/error.h"
#include "kernels/api/program.h"
#include "kernels/codegen/types.h"
#include "kernels/jit/nvrtc.h"

namespace tuyere::codegen {

std::string fill(std::string_view text, const Vars& vars) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '$') {
      out += text[i++];
      continue;
    }
    size_t end = i + 1;
    while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_')) ++end;
    const std::string_view key = text.substr(i + 1, end - i - 1);
    auto it = std::find_if(vars.begin(), vars.end(), [&](const auto& v) { return v.first == key; });
    INTERNAL_CHECK(it != vars.end(), "no value for $" << key);
    out += it->second;
    i = end;
  }
  return out;
}

std::string Kernel::pointer(int position, const std::string& ctype, bool writes, const Dim& byte_offset) {
  const std::string key = "*" + std::to_string(position) + " " + ctype + (writes ? " w " : " r ") + byte_offset.str();
  for (const auto& [what, parameter] : names_)
    if (what == key) return parameter;
  const std::string parameter = "p" + std::to_string(args_.size());
  params_ += (params_.empty() ? "" : ", ") + std::string(writes ? "" : "const ") + ctype + "* " + parameter;
  args_.push_back(KernelArg::ptr(position, byte_offset));
  names_.emplace_back(key, parameter);
  return parameter;
}

std::string Kernel::value(const Dim& dim) {
  if (dim.is_const()) {
    const int64_t v = dim.value();
    const bool large = v > INT32_MAX || v < -INT32_MAX;
    return v < 0 ? "(" + std::to_string(v) + (large ? "ll)" : ")") : std::to_string(v) + (large ? "ll" : "");
  }
  INTERNAL_CHECK(wide_, "symbolic value in a kernel of 32-bit indices");
  const std::string key = dim.str();
  for (const auto& [what, parameter] : names_)
    if (what == key) return parameter;
  const std::string parameter = "s" + std::to_string(args_.size());
  params_ += (params_.empty() ? "" : ", ") + std::string("long long ") + parameter;
  args_.push_back(KernelArg::int64(dim));
  names_.emplace_back(key, parameter);
  return parameter;
}

std::string Kernel::source() const {
  const std::string bounds = std::to_string(threads) + (min_blocks > 0 ? ", " + std::to_string(min_blocks) : "");
  return fill(
      "namespace $name_ns {\ntypedef $idx idx;\n$preamble\nextern \"C\" __global__ void __launch_bounds__($bounds) $name($params) {\n  "
      "tg_grid_begin();\n$body}\n}\n",
      {{"name_ns", name_ + "_ns"},
       {"idx", wide_ ? "long long" : "int"},
       {"preamble", preamble},
       {"bounds", bounds},
       {"name", name_},
       {"params", params_},
       {"body", body}});
}

KernelLaunch Kernel::launch(int blob) const {
  KernelLaunch out;
  out.pdl = true;  // see tg_grid_begin(); devices without it launch as usual
  out.blob = blob;
  out.kernel = name_;
  out.grid = grid;
  out.block = {threads, 1, 1};
  out.shared_bytes = shared_bytes;
  out.cluster = cluster;
  out.args = args_;
  return out;
}

std::string source(const Generated& generated) {
  std::string out = types_prelude();
  out += cuda_prelude();
  out += warp_prelude();
  for (const Kernel& kernel : generated.kernels) out += kernel.source();
  return out;
}

CudaStep cuda_step(const Generated& generated) {
  CudaStep step;
  for (const Kernel& kernel : generated.kernels) step.launches.push_back(kernel.launch(0));
  return step;
}

Support CudaTactic::supports(const Problem& problem, const Target& target) const {
  REQUIRE(target.is_cuda(), "not a CUDA target");
  REQUIRE(target.sm >= 80, "needs compute capability 8.0 or newer");
  Support types = whole_byte_types(problem);
  if (!types) return types;
  return accepts(problem, target);
}

StepSpec CudaTactic::make(const Problem& problem, const Target& target, const Config& config) const {
  StepSpec spec;
  spec.executor = "cuda";
  if (is_empty(problem)) {
    spec.attrs = to_json(CudaStep{});
    return spec;
  }
  const Generated generated = generate(problem, target, config);
  spec.attrs = to_json(cuda_step(generated));
  spec.blobs = {compile_cubin(rough_text(problem) + tuyere::codegen::source(generated), target.arch())};
  spec.workspace = generated.workspace;
  return spec;
}

int config_int(const Config& config, std::string_view key, int fallback) {
  for (size_t at = config.find(key); at != std::string::npos; at = config.find(key, at + 1)) {
    const size_t end = at + key.size();
    if ((at == 0 || config[at - 1] == ' ') && end < config.size() && config[end] == '=') return std::atoi(config.c_str() + end + 1);
  }
  return fallback;
}

bool is_empty(const Problem& problem) {
  return std::all_of(problem.out.begin(), problem.out.end(),
                     [](const TensorDesc& t) { return std::any_of(t.shape.begin(), t.shape.end(), [](const Dim& d) { return d.is_const(0); }); });
}

}  // namespace tuyere::codegen
