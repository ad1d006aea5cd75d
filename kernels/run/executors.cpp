// SPDX-License-Identifier: Apache-2.0
#include "kernels/run/executors.h"

#include <dlfcn.h>

#include <mutex>
#include <sstream>
#include <vector>

#include "common/env.h"
#include "kernels/run/device_api.h"

namespace tuyere {
namespace {

constexpr const char* kCpuLibrary = "libtuyere_kernels_cpu.so";

/// Folders in order of preference: this library's own, TUYERE_LIBRARY_PATH, then the loader's search path ("").
std::vector<std::string> library_folders() {
  std::vector<std::string> folders;
  Dl_info self = {};
  if (dladdr(reinterpret_cast<const void*>(&find_executor), &self) && self.dli_fname) {
    const std::string path = self.dli_fname;
    const size_t slash = path.rfind('/');
    if (slash != std::string::npos) folders.push_back(path.substr(0, slash + 1));
  }
  std::istringstream listed(env("TUYERE_LIBRARY_PATH"));
  for (std::string folder; std::getline(listed, folder, ':');)
    if (!folder.empty()) folders.push_back(folder + "/");
  folders.push_back("");
  return folders;
}

struct CpuLibrary {
  Executor* executor = nullptr;
  CpuThreadsEntry threads = nullptr;
};

Result<CpuLibrary> open_cpu() {
  std::string tried;
  for (const std::string& folder : library_folders()) {
    void* library = dlopen((folder + kCpuLibrary).c_str(), RTLD_NOW | RTLD_LOCAL);
    void* entry = library ? dlsym(library, kCpuExecutorEntry) : nullptr;
    void* threads = entry ? dlsym(library, kCpuThreadsEntry) : nullptr;
    if (threads) return CpuLibrary{reinterpret_cast<CpuExecutorEntry>(entry)(), reinterpret_cast<CpuThreadsEntry>(threads)};
    const char* why = dlerror();
    tried += std::string("\n  ") + (why ? why : folder.c_str());
    if (library) dlclose(library);
  }
  return Status(Code::FailedPrecondition, std::string("this engine has CPU steps, but ") + kCpuLibrary + " cannot be opened:" + tried);
}

/// Opened once; a failure is tried again, because the search path may have changed.
Result<CpuLibrary> cpu_library() {
  static std::mutex mutex;
  static CpuLibrary opened;
  const std::lock_guard lock(mutex);
  if (opened.executor) return opened;
  TRY_ASSIGN(opened, open_cpu());
  return opened;
}

}  // namespace

int cpu_threads() {
  Result<CpuLibrary> library = cpu_library();
  return library.is_ok() ? library->threads() : 0;
}

Result<Executor*> find_executor(const std::string& name) {
  if (name == "cpu") {
    TRY_ASSIGN(const CpuLibrary library, cpu_library());
    return library.executor;
  }
  if (name == "copy") return copy_executor();
  if (name == "host") return host_executor();
#ifdef TUYERE_WITH_CUDA
  if (name == "cuda") return cuda_executor();
  if (name == "cublaslt") return cublaslt_executor();
  if (name == "cudnn") return cudnn_executor();
#else
  if (name == "cuda" || name == "cublaslt" || name == "cudnn") return Status(Code::FailedPrecondition, "this runtime was built without CUDA");
#endif
  return Status(Code::InvalidArgument, "unknown executor '" + name + "'");
}

#ifndef TUYERE_WITH_CUDA
Result<DeviceApi*> cuda_device() { return Status(Code::FailedPrecondition, "this runtime was built without CUDA"); }
#endif

}  // namespace tuyere
