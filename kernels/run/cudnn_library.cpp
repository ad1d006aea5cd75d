// SPDX-License-Identifier: Apache-2.0
#ifdef TUYERE_WITH_CUDA
#include "kernels/run/cudnn_library.h"

#include <dlfcn.h>

#include <map>
#include <mutex>

#include "kernels/run/dynamic_library.h"

namespace tuyere {
namespace {

Status open(Cudnn& api) {
  TRY_ASSIGN(void* library, open_library("cuDNN", {"libcudnn.so.9"}));
#define TUYERE_RESOLVE(member, function)                                          \
  api.member = reinterpret_cast<decltype(api.member)>(dlsym(library, #function)); \
  if (!api.member) return {Code::FailedPrecondition, "cuDNN has no function " #function};
  TUYERE_CUDNN_FUNCTIONS(TUYERE_RESOLVE)
#undef TUYERE_RESOLVE
  api.number = static_cast<int64_t>(api.version());
  return Status::ok();
}

/// Handles that no thread holds. Never destroyed: threads may end after static destruction.
struct HandlePool {
  std::mutex mutex;
  std::multimap<int, cudnnHandle_t> idle;
};

HandlePool& pool() {
  static HandlePool* const handles = new HandlePool;
  return *handles;
}

/// The handles of one thread, by device.
struct ThreadHandles {
  std::map<int, cudnnHandle_t> held;
  ~ThreadHandles() {
    const std::lock_guard lock(pool().mutex);
    for (const auto& [device, handle] : held) pool().idle.emplace(device, handle);
  }
};

cudnnHandle_t take_idle(int device) {
  const std::lock_guard lock(pool().mutex);
  const auto at = pool().idle.find(device);
  if (at == pool().idle.end()) return nullptr;
  const cudnnHandle_t handle = at->second;
  pool().idle.erase(at);
  return handle;
}

}  // namespace

Status Cudnn::check(cudnnStatus_t status, const char* what) const {
  if (status == CUDNN_STATUS_SUCCESS) [[likely]]
    return Status::ok();
  char text[512] = "";
  last_error(text, sizeof text);
  const char* name = error_text(status);
  const Code code = status == CUDNN_STATUS_ALLOC_FAILED                  ? Code::OutOfMemory
                    : status / 1000 == CUDNN_STATUS_NOT_SUPPORTED / 1000 ? Code::Unsupported
                                                                         : Code::Internal;
  return {code, std::string(what) + ": " + (name ? name : "cuDNN status " + std::to_string(status)) + (text[0] ? std::string(": ") + text : "")};
}

Result<cudnnHandle_t> Cudnn::handle(int device) const {
  thread_local ThreadHandles handles;
  if (const auto at = handles.held.find(device); at != handles.held.end()) return at->second;
  cudnnHandle_t handle = take_idle(device);
  if (!handle) TRY(check(create(&handle), "cudnnCreate"));
  handles.held.emplace(device, handle);
  return handle;
}

Result<const Cudnn*> cudnn() {
  static std::mutex mutex;
  static Cudnn api;
  static bool opened = false;
  const std::lock_guard lock(mutex);
  if (!opened) {
    Cudnn fresh;
    TRY(open(fresh));
    api = fresh;
    opened = true;
  }
  return static_cast<const Cudnn*>(&api);
}

Result<CudnnDescriptor> CudnnDescriptor::make(const Cudnn& api, cudnnBackendDescriptorType_t type) {
  CudnnDescriptor made;
  made.api_ = &api;
  TRY(api.check(api.create_descriptor(type, &made.raw_), "cudnnBackendCreateDescriptor"));
  return made;
}

CudnnDescriptor& CudnnDescriptor::operator=(CudnnDescriptor&& o) noexcept {
  if (this == &o) return *this;
  reset();
  api_ = o.api_;
  raw_ = o.raw_;
  o.raw_ = nullptr;
  return *this;
}

void CudnnDescriptor::reset() noexcept {
  if (raw_) api_->destroy_descriptor(raw_);
  raw_ = nullptr;
}

Status CudnnDescriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  const cudnnStatus_t status = api_->set_attribute(raw_, name, type, count, values);
  if (status == CUDNN_STATUS_SUCCESS) [[likely]]
    return Status::ok();
  return api_->check(status, ("cuDNN attribute " + std::to_string(name)).c_str());
}

Status CudnnDescriptor::set(cudnnBackendAttributeName_t name, const std::vector<CudnnDescriptor>& others) {
  std::vector<cudnnBackendDescriptor_t> raws;
  for (const CudnnDescriptor& other : others) raws.push_back(other.raw_);
  return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(raws.size()), raws.data());
}

Result<int64_t> CudnnDescriptor::get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t room, void* values) const {
  int64_t count = 0;
  TRY(api_->check(api_->get_attribute(raw_, name, type, room, &count, values), "cudnnBackendGetAttribute"));
  return count;
}

Status CudnnDescriptor::get(cudnnBackendAttributeName_t name, const CudnnDescriptor& other) const {
  cudnnBackendDescriptor_t raw = other.raw_;
  return get(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw).status();
}

Status CudnnDescriptor::finalize(const char* what) { return api_->check(api_->finalize(raw_), what); }

}  // namespace tuyere
#endif
