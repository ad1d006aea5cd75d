// SPDX-License-Identifier: Apache-2.0
#include "core/builder/describe.h"

#include <oneapi/dnnl/dnnl.h>

#include <nlohmann/json.hpp>

#include "core/builder/files.h"
#include "core/builder/version.h"
#include "kernels/onednn/dnnl_library.h"
#include "runtime/plan/plan.h"
#ifdef TUYERE_WITH_CUDA
#include "kernels/jit/nvrtc.h"
#include "kernels/run/cublaslt_library.h"
#include "kernels/run/cuda_driver.h"
#include "kernels/run/cudnn_library.h"
#endif

namespace tuyere {
namespace {

/// oneDNN chooses its kernels by the instruction set it finds (or is told to use), so that belongs to its version.
void add_onednn(Versions& versions) {
  void* library = open_dnnl();
  if (!library) return;
  auto version = reinterpret_cast<decltype(&dnnl_version)>(dlsym(library, "dnnl_version"));
  auto isa = reinterpret_cast<decltype(&dnnl_get_effective_cpu_isa)>(dlsym(library, "dnnl_get_effective_cpu_isa"));
  if (!version || !isa) return;
  const dnnl_version_t* v = version();
  versions["oneDNN"] = std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch) + " (isa " + std::to_string(isa()) + ")";
}

#ifdef TUYERE_WITH_CUDA
void add_cuda(Versions& versions) {
  if (auto lib = cudnn(); lib.is_ok()) versions["cuDNN"] = std::to_string((*lib)->number);
  if (auto lib = cublaslt(); lib.is_ok()) versions["cuBLASLt"] = std::to_string((*lib)->number);
  if (auto driver = cuda_driver(); driver.is_ok()) versions["CUDA driver"] = std::to_string((*driver)->version);
  if (has_nvrtc()) versions["NVRTC"] = std::to_string(nvrtc_version());
}
#endif

}  // namespace

Versions library_versions(const Target& target) {
  Versions versions{{"tuyere", kVersion}};
  if (!target.is_cuda()) add_onednn(versions);
#ifdef TUYERE_WITH_CUDA
  if (target.is_cuda()) add_cuda(versions);
#endif
  return versions;
}

const std::string& builder_id() {
  static const std::string id = [] {
    Dl_info self = {};
    if (!dladdr(reinterpret_cast<const void*>(&builder_id), &self) || !self.dli_fname) return std::string();
    const auto bytes = read_file(self.dli_fname);
    return bytes ? content_id(std::as_bytes(std::span(*bytes))) : std::string();
  }();
  return id;
}

std::string str(const Versions& versions) {
  std::string text;
  for (const auto& [name, version] : versions) text += (text.empty() ? "" : ", ") + name + " " + version;
  return text;
}

std::string options_text(const BuilderConfig& config) {
  using Json = nlohmann::ordered_json;
  Json profiles = Json::array();
  for (const OptimizationProfile& profile : config.profiles) {
    Json ranges = Json::object();
    for (const auto& [name, range] : profile.symbols) ranges[name] = {range.min, range.opt, range.max};
    profiles.push_back(ranges);
  }
  return Json{{"precision", config.precision},
              {"tf32_matmul", config.tf32_matmul},
              {"tf32_conv", config.tf32_conv},
              {"optimization_level", config.optimization_level},
              {"workspace_size", config.workspace_size},
              {"deterministic", config.deterministic},
              {"cuda_graphs", config.cuda_graphs},
              {"tactic_sources", config.tactic_sources},
              {"disabled_passes", config.disabled_passes},
              {"profiles", profiles},
              {"weights", config.weights}}
      .dump();
}

}  // namespace tuyere
