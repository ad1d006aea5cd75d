// SPDX-License-Identifier: Apache-2.0
// What the engine needs of a CUDA device, behind an interface: memory, streams, events, graphs. kernels/run/cuda_device.cpp implements it over the driver.
#pragma once
#include <cstdint>
#include <string>

#include "common/status.h"

namespace tuyere {

struct DeviceInfo {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  int64_t memory_bytes = 0;
  int64_t l2_bytes = 0;    // 0: unknown
  double memory_gbps = 0;  // peak rate of the device memory, 1e9 bytes/s; 0: unknown
  double clock_ghz = 0;    // peak clock of the multiprocessors; 0: unknown
};

/// Handles (streams, events, graphs) are opaque; stream nullptr is the legacy default stream. Functions taking a `device` may be called with any
/// device current; all others need the device current (DeviceScope). All are safe to call from several threads. Destroying nullptr does nothing.
class DeviceApi {
 public:
  virtual ~DeviceApi() = default;
  virtual int count() = 0;
  virtual Result<DeviceInfo> info(int device) = 0;

  /// Makes `device` current on this thread (its primary context) until pop().
  virtual Status push(int device) noexcept = 0;
  virtual void pop() noexcept = 0;

  /// Device memory, 256-byte aligned; OutOfMemory when there is none. `free` may synchronize.
  virtual Result<void*> alloc(int device, int64_t bytes) = 0;
  virtual void free(int device, void* data) noexcept = 0;
  /// Between any host and device addresses, in stream order; host memory may be pageable.
  virtual Status copy(void* dst, const void* src, int64_t bytes, void* stream) noexcept = 0;
  virtual Status fill(void* dst, int byte, int64_t bytes, void* stream) noexcept = 0;
  /// Host to device (or back), finished on return.
  virtual Status copy_now(int device, void* dst, const void* src, int64_t bytes) = 0;

  /// A non-blocking stream.
  virtual Result<void*> create_stream(int device) = 0;
  virtual void destroy_stream(void* stream) noexcept = 0;
  virtual Status synchronize(void* stream) noexcept = 0;

  virtual Result<void*> create_event(int device, bool timing) = 0;
  virtual void destroy_event(void* event) noexcept = 0;
  virtual Status record(void* event, void* stream) noexcept = 0;
  virtual Status wait(void* stream, void* event) noexcept = 0;
  /// Microseconds between two recorded timing events; waits for `end`.
  virtual Result<double> elapsed_micros(void* begin, void* end) = 0;

  virtual bool is_capturing(void* stream) noexcept = 0;
  /// Thread-local capture on a stream of create_stream.
  virtual Status begin_capture(void* stream) = 0;
  /// Ends the capture and instantiates it. The capture is ended on errors as well.
  virtual Result<void*> end_capture(void* stream) = 0;
  virtual Status launch_graph(void* graph, void* stream) noexcept = 0;
  /// Waits until a launch in flight has finished when the driver needs that.
  virtual void destroy_graph(void* graph) noexcept = 0;
};

/// The CUDA driver, opened at first use. FailedPrecondition: no driver, no device, or this build has no CUDA.
Result<DeviceApi*> cuda_device();

/// Makes a device current while alive; without an api it does nothing.
class DeviceScope {
 public:
  DeviceScope(DeviceApi* api, int device) noexcept : api_(api), status_(api ? api->push(device) : Status::ok()) {}
  ~DeviceScope() {
    if (api_ && status_.is_ok()) api_->pop();
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;
  const Status& status() const { return status_; }

 private:
  DeviceApi* api_;
  Status status_;
};

}  // namespace tuyere
