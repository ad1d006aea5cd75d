// SPDX-License-Identifier: Apache-2.0
#ifdef TUYERE_WITH_CUDA
#include "kernels/run/cuda_driver.h"

#include <dlfcn.h>

#include <array>
#include <atomic>
#include <mutex>

#include "kernels/run/dynamic_library.h"

namespace tuyere {
namespace {

constexpr int kMaxDevices = 64;

Status open_driver(CudaDriver& driver) {
  TRY_ASSIGN(void* library, open_library("the CUDA driver (libcuda.so.1)", {"libcuda.so.1"}));
#define TUYERE_RESOLVE(member, function, symbol)                                     \
  driver.member = reinterpret_cast<decltype(driver.member)>(dlsym(library, symbol)); \
  if (!driver.member) return Status(Code::FailedPrecondition, "the CUDA driver is too old: it has no " symbol "; CUDA 12 or newer is needed");
  TUYERE_CUDA_DRIVER_FUNCTIONS(TUYERE_RESOLVE)
#undef TUYERE_RESOLVE
  Status initialized = driver.check(driver.init(0), "cuInit");
  if (!initialized.is_ok()) return {Code::FailedPrecondition, "no usable CUDA device: " + initialized.message()};
  TRY(driver.check(driver.driver_version(&driver.version), "cuDriverGetVersion"));
  TRY(driver.check(driver.device_count(&driver.devices), "cuDeviceGetCount"));
  if (driver.devices == 0) return {Code::FailedPrecondition, "no CUDA device is visible"};
  return Status::ok();
}

Status bad_device(int device, int count) {
  return {Code::InvalidArgument, "there is no CUDA device " + std::to_string(device) + ": " + std::to_string(count) + " visible"};
}

}  // namespace

Status CudaDriver::check(CUresult result, const char* what) const {
  if (result == CUDA_SUCCESS) [[likely]]
    return Status::ok();
  const char *name = nullptr, *text = nullptr;
  error_name(result, &name);
  error_text(result, &text);
  std::string message = std::string(what) + ": " + (name ? name : "CUDA error " + std::to_string(result)) + (text ? std::string(": ") + text : "");
  return {result == CUDA_ERROR_OUT_OF_MEMORY ? Code::OutOfMemory : Code::Internal, std::move(message)};
}

Result<CUcontext> CudaDriver::primary_context(int device) const {
  static std::array<std::atomic<CUcontext>, kMaxDevices> contexts{};
  if (device < 0 || device >= devices || device >= kMaxDevices) return bad_device(device, devices);
  if (CUcontext known = contexts[device].load(std::memory_order_acquire)) return known;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (CUcontext known = contexts[device].load(std::memory_order_acquire)) return known;
  CUdevice handle = 0;
  CUcontext context = nullptr;
  TRY(check(device_get(&handle, device), "cuDeviceGet"));
  TRY(check(primary_retain(&context, handle), "cuDevicePrimaryCtxRetain"));
  contexts[device].store(context, std::memory_order_release);
  return context;
}

Result<int> CudaDriver::attribute(int device, CUdevice_attribute which) const {
  if (device < 0 || device >= devices) return bad_device(device, devices);
  CUdevice handle = 0;
  int value = 0;
  TRY(check(device_get(&handle, device), "cuDeviceGet"));
  TRY(check(device_attribute(&value, which, handle), "cuDeviceGetAttribute"));
  return value;
}

Result<const CudaDriver*> cuda_driver() {
  static std::atomic<const CudaDriver*> opened{nullptr};
  if (const CudaDriver* driver = opened.load(std::memory_order_acquire)) return driver;
  static std::mutex mutex;
  static CudaDriver driver;
  const std::lock_guard lock(mutex);
  if (!opened.load(std::memory_order_acquire)) {
    CudaDriver fresh;
    TRY(open_driver(fresh));
    driver = fresh;
    opened.store(&driver, std::memory_order_release);
  }
  return &driver;
}

CudaContextScope::CudaContextScope(int device) {
  Result<const CudaDriver*> driver = cuda_driver();
  status_ = driver.status();
  if (!driver.is_ok()) return;
  Result<CUcontext> context = (*driver)->primary_context(device);
  status_ = context.is_ok() ? (*driver)->check((*driver)->context_push(*context), "cuCtxPushCurrent") : context.status();
  if (status_.is_ok()) driver_ = *driver;
}

CudaContextScope::~CudaContextScope() {
  CUcontext popped = nullptr;
  if (driver_) driver_->context_pop(&popped);
}

}  // namespace tuyere
#endif
