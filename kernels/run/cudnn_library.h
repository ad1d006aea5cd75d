// SPDX-License-Identifier: Apache-2.0
// The backend (graph) API of cuDNN 9, opened at run time. Only files under TUYERE_WITH_CUDA include this.
#pragma once
#include <cudnn_graph.h>

#include <vector>

#include "common/status.h"

namespace tuyere {

#define TUYERE_CUDNN_FUNCTIONS(F)                      \
  F(create, cudnnCreate)                               \
  F(version, cudnnGetVersion)                          \
  F(error_text, cudnnGetErrorString)                   \
  F(last_error, cudnnGetLastErrorString)               \
  F(set_stream, cudnnSetStream)                        \
  F(create_descriptor, cudnnBackendCreateDescriptor)   \
  F(destroy_descriptor, cudnnBackendDestroyDescriptor) \
  F(finalize, cudnnBackendFinalize)                    \
  F(set_attribute, cudnnBackendSetAttribute)           \
  F(get_attribute, cudnnBackendGetAttribute)           \
  F(execute, cudnnBackendExecute)

struct Cudnn {
#define TUYERE_MEMBER(member, function) decltype(&::function) member = nullptr;
  TUYERE_CUDNN_FUNCTIONS(TUYERE_MEMBER)
#undef TUYERE_MEMBER
  int64_t number = 0;  // version, e.g. 91900

  /// Ok, or "<what>: CUDNN_STATUS_...: the library's last message".
  Status check(cudnnStatus_t status, const char* what) const;
  /// This thread's handle of `device`, whose primary context must be current. Made at first use; a handle of a finished thread is used again.
  Result<cudnnHandle_t> handle(int device) const;
};

/// FailedPrecondition: no libcudnn.so.9; asked again at the next call.
Result<const Cudnn*> cudnn();

/// Owns a backend descriptor. Movable.
class CudnnDescriptor {
 public:
  CudnnDescriptor() = default;
  static Result<CudnnDescriptor> make(const Cudnn& api, cudnnBackendDescriptorType_t type);
  ~CudnnDescriptor() { reset(); }
  CudnnDescriptor(CudnnDescriptor&& o) noexcept : api_(o.api_), raw_(o.raw_) { o.raw_ = nullptr; }
  CudnnDescriptor& operator=(CudnnDescriptor&& o) noexcept;

  Status set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count, const void* values);
  template <class T>
  Status set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    return set(name, type, 1, &value);
  }
  Status set(cudnnBackendAttributeName_t name, const std::vector<int64_t>& values) {
    return set(name, CUDNN_TYPE_INT64, static_cast<int64_t>(values.size()), values.data());
  }
  Status set(cudnnBackendAttributeName_t name, const CudnnDescriptor& other) { return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &other.raw_); }
  Status set(cudnnBackendAttributeName_t name, const std::vector<CudnnDescriptor>& others);
  /// Reads at most `room` values; returns how many there are (room 0, values nullptr: only that).
  Result<int64_t> get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t room, void* values) const;
  /// Reads into descriptors made by the caller.
  Status get(cudnnBackendAttributeName_t name, const CudnnDescriptor& other) const;
  Status finalize(const char* what);
  cudnnBackendDescriptor_t raw() const { return raw_; }

 private:
  void reset() noexcept;
  const Cudnn* api_ = nullptr;
  cudnnBackendDescriptor_t raw_ = nullptr;
};

}  // namespace tuyere
