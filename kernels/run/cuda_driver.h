// SPDX-License-Identifier: Apache-2.0
// The CUDA driver API, opened at run time. Only files under TUYERE_WITH_CUDA include this.
#pragma once
#include <cuda.h>

#include <string>

#include "common/status.h"

namespace tuyere {

/// F(member, function of cuda.h for the type, symbol of libcuda.so.1). Symbols are versioned by hand, so that the headers' newest ones are not asked of older
/// drivers.
#define TUYERE_CUDA_DRIVER_FUNCTIONS(F)                                            \
  F(init, cuInit, "cuInit")                                                        \
  F(error_name, cuGetErrorName, "cuGetErrorName")                                  \
  F(error_text, cuGetErrorString, "cuGetErrorString")                              \
  F(driver_version, cuDriverGetVersion, "cuDriverGetVersion")                      \
  F(device_count, cuDeviceGetCount, "cuDeviceGetCount")                            \
  F(device_get, cuDeviceGet, "cuDeviceGet")                                        \
  F(device_name, cuDeviceGetName, "cuDeviceGetName")                               \
  F(device_memory, cuDeviceTotalMem, "cuDeviceTotalMem_v2")                        \
  F(device_attribute, cuDeviceGetAttribute, "cuDeviceGetAttribute")                \
  F(primary_retain, cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain")          \
  F(context_push, cuCtxPushCurrent, "cuCtxPushCurrent_v2")                         \
  F(context_pop, cuCtxPopCurrent, "cuCtxPopCurrent_v2")                            \
  F(memory_alloc, cuMemAlloc, "cuMemAlloc_v2")                                     \
  F(memory_free, cuMemFree, "cuMemFree_v2")                                        \
  F(memory_copy, cuMemcpyAsync, "cuMemcpyAsync")                                   \
  F(memory_set, cuMemsetD8Async, "cuMemsetD8Async")                                \
  F(stream_create, cuStreamCreate, "cuStreamCreate")                               \
  F(stream_destroy, cuStreamDestroy, "cuStreamDestroy_v2")                         \
  F(stream_synchronize, cuStreamSynchronize, "cuStreamSynchronize")                \
  F(stream_wait_event, cuStreamWaitEvent, "cuStreamWaitEvent")                     \
  F(stream_is_capturing, cuStreamIsCapturing, "cuStreamIsCapturing")               \
  F(stream_begin_capture, cuStreamBeginCapture, "cuStreamBeginCapture_v2")         \
  F(stream_end_capture, cuStreamEndCapture, "cuStreamEndCapture")                  \
  F(event_create, cuEventCreate, "cuEventCreate")                                  \
  F(event_destroy, cuEventDestroy, "cuEventDestroy_v2")                            \
  F(event_record, cuEventRecord, "cuEventRecord")                                  \
  F(event_synchronize, cuEventSynchronize, "cuEventSynchronize")                   \
  F(event_elapsed, cuEventElapsedTime, "cuEventElapsedTime")                       \
  F(graph_instantiate, cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags") \
  F(graph_launch, cuGraphLaunch, "cuGraphLaunch")                                  \
  F(graph_destroy, cuGraphDestroy, "cuGraphDestroy")                               \
  F(graph_exec_destroy, cuGraphExecDestroy, "cuGraphExecDestroy")                  \
  F(module_load, cuModuleLoadData, "cuModuleLoadData")                             \
  F(module_unload, cuModuleUnload, "cuModuleUnload")                               \
  F(module_function, cuModuleGetFunction, "cuModuleGetFunction")                   \
  F(function_get, cuFuncGetAttribute, "cuFuncGetAttribute")                        \
  F(function_set, cuFuncSetAttribute, "cuFuncSetAttribute")                        \
  F(launch, cuLaunchKernelEx, "cuLaunchKernelEx")                                  \
  F(tensor_map_tiled, cuTensorMapEncodeTiled, "cuTensorMapEncodeTiled")

struct CudaDriver {
#define TUYERE_MEMBER(member, function, symbol) decltype(&::function) member = nullptr;
  TUYERE_CUDA_DRIVER_FUNCTIONS(TUYERE_MEMBER)
#undef TUYERE_MEMBER
  int version = 0;  // of the driver, e.g. 13000
  int devices = 0;  // visible devices, at least one

  /// Ok, or "<what>: CUDA_ERROR_...: text". Out of memory is Code::OutOfMemory, everything else Code::Internal.
  Status check(CUresult result, const char* what) const;
  /// The primary context of `device` (the one PyTorch and the runtime API use), retained at first use until the process ends. Thread-safe.
  Result<CUcontext> primary_context(int device) const;
  Result<int> attribute(int device, CUdevice_attribute attribute) const;
};

/// libcuda.so.1, initialized. FailedPrecondition: no driver, a driver older than CUDA 12, or no device; asked again at the next call.
Result<const CudaDriver*> cuda_driver();

/// Makes the primary context of a device current while alive.
class CudaContextScope {
 public:
  explicit CudaContextScope(int device);
  ~CudaContextScope();
  CudaContextScope(const CudaContextScope&) = delete;
  CudaContextScope& operator=(const CudaContextScope&) = delete;
  const Status& status() const { return status_; }

 private:
  const CudaDriver* driver_ = nullptr;
  Status status_;
};

}  // namespace tuyere
