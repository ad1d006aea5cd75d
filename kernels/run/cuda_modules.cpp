// SPDX-License-Identifier: Apache-2.0
#ifdef TUYERE_WITH_CUDA
#include "kernels/run/cuda_modules.h"

#include <string_view>
#include <unordered_map>

namespace tuyere {
namespace {

constexpr int kSharedWithoutAsking = 48 * 1024;
constexpr int kPortableCluster = 8;

std::string_view view(const Bytes& code) { return {reinterpret_cast<const char*>(code->data()), code->size()}; }

/// Weak entries by a hash of the bytes; dead ones go when their bucket is next looked at.
struct ModuleTable {
  std::mutex mutex;
  std::unordered_multimap<size_t, std::weak_ptr<CudaModule>> modules;

  std::shared_ptr<CudaModule> find(size_t hash, int device, const Bytes& code) {
    auto [at, end] = modules.equal_range(hash);
    while (at != end) {
      std::shared_ptr<CudaModule> module = at->second.lock();
      if (!module) {
        at = modules.erase(at);
        continue;
      }
      if (module->device() == device && view(module->code()) == view(code)) return module;
      ++at;
    }
    return nullptr;
  }
};

/// Never destroyed: modules may outlive static destruction.
ModuleTable& table() {
  static ModuleTable* const modules = new ModuleTable;
  return *modules;
}

}  // namespace

CudaModule::~CudaModule() {
  CudaContextScope scope(device_);
  if (scope.status().is_ok()) driver_.module_unload(module_);
}

Status CudaModule::allow_shared(CUfunction function, const std::string& name, int bytes) {
  int allowed = 0, fixed = 0;
  TRY(driver_.check(driver_.function_get(&allowed, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, function), "cuFuncGetAttribute"));
  TRY(driver_.check(driver_.function_get(&fixed, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, function), "cuFuncGetAttribute"));
  if (bytes <= allowed && bytes + fixed <= kSharedWithoutAsking) return Status::ok();
  TRY_ASSIGN(const int limit, driver_.attribute(device_, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN));
  if (bytes + fixed > limit)
    return {Code::FailedPrecondition,
            "kernel " + name + " needs " + std::to_string(bytes + fixed) + " bytes of shared memory, the device has " + std::to_string(limit) + " for a block"};
  if (bytes <= allowed) return Status::ok();
  return driver_.check(driver_.function_set(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes), "cuFuncSetAttribute");
}

Result<CUfunction> CudaModule::function(const std::string& name, int shared_bytes, int cluster) {
  const std::lock_guard lock(mutex_);
  CUfunction function = nullptr;
  TRY(driver_.check(driver_.module_function(&function, module_, name.c_str()), ("kernel " + name).c_str()));
  if (shared_bytes > 0) TRY(allow_shared(function, name, shared_bytes));
  if (cluster > kPortableCluster)
    TRY(driver_.check(driver_.function_set(function, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1), "cuFuncSetAttribute"));
  return function;
}

Result<std::shared_ptr<CudaModule>> load_module(int device, const Bytes& code) {
  TRY_ASSIGN(const CudaDriver* driver, cuda_driver());
  const size_t hash = std::hash<std::string_view>()(view(code));
  const std::lock_guard lock(table().mutex);
  if (std::shared_ptr<CudaModule> known = table().find(hash, device, code)) return known;
  CUmodule module = nullptr;
  const CUresult result = driver->module_load(&module, code->data());
  if (result == CUDA_ERROR_NO_BINARY_FOR_GPU || result == CUDA_ERROR_INVALID_SOURCE || result == CUDA_ERROR_INVALID_IMAGE)
    return Status(Code::FailedPrecondition,
                  "a kernel of this engine was compiled for another GPU architecture: " + driver->check(result, "cuModuleLoadData").message());
  TRY(driver->check(result, "cuModuleLoadData"));
  auto loaded = std::make_shared<CudaModule>(*driver, device, module, code);
  table().modules.emplace(hash, loaded);
  return loaded;
}

}  // namespace tuyere
#endif
