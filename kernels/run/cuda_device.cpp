// SPDX-License-Identifier: Apache-2.0
// DeviceApi over the CUDA driver. Contexts are the primary ones, so memory and streams are PyTorch's as well.
#ifdef TUYERE_WITH_CUDA
#include "kernels/run/cuda_driver.h"
#include "kernels/run/device_api.h"

namespace tuyere {
namespace {

CUdeviceptr address(const void* data) { return reinterpret_cast<CUdeviceptr>(data); }
CUstream stream_of(void* stream) { return static_cast<CUstream>(stream); }
CUevent event_of(void* event) { return static_cast<CUevent>(event); }

class CudaDevice final : public DeviceApi {
 public:
  explicit CudaDevice(const CudaDriver& cuda) : cuda_(cuda) {}

  int count() override { return cuda_.devices; }

  Result<DeviceInfo> info(int device) override {
    DeviceInfo info;
    TRY_ASSIGN(info.major, cuda_.attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR));
    TRY_ASSIGN(info.minor, cuda_.attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
    TRY_ASSIGN(info.multiprocessors, cuda_.attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
    info.l2_bytes = optional(device, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
    info.clock_ghz = optional(device, CU_DEVICE_ATTRIBUTE_CLOCK_RATE) * 1e-6;
    // kHz, two transfers a cycle, bits
    info.memory_gbps =
        2.0 * optional(device, CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE) * 1e3 * optional(device, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH) / 8 * 1e-9;
    CUdevice handle = 0;
    TRY(cuda_.check(cuda_.device_get(&handle, device), "cuDeviceGet"));
    char name[256] = "";
    TRY(cuda_.check(cuda_.device_name(name, sizeof name, handle), "cuDeviceGetName"));
    info.name = name;
    size_t bytes = 0;
    TRY(cuda_.check(cuda_.device_memory(&bytes, handle), "cuDeviceTotalMem"));
    info.memory_bytes = static_cast<int64_t>(bytes);
    return info;
  }

  Status push(int device) noexcept override {
    TRY_ASSIGN(CUcontext context, cuda_.primary_context(device));
    return cuda_.check(cuda_.context_push(context), "cuCtxPushCurrent");
  }
  void pop() noexcept override {
    CUcontext popped = nullptr;
    cuda_.context_pop(&popped);
  }

  Result<void*> alloc(int device, int64_t bytes) override {
    CudaContextScope scope(device);
    TRY(scope.status());
    CUdeviceptr data = 0;
    Status status = cuda_.check(cuda_.memory_alloc(&data, static_cast<size_t>(bytes > 0 ? bytes : 1)), "cuMemAlloc");
    if (!status.is_ok()) return Status(status.code(), std::to_string(bytes) + " bytes on device " + std::to_string(device) + ": " + status.message());
    return reinterpret_cast<void*>(data);
  }
  void free(int device, void* data) noexcept override {
    if (!data) return;
    CudaContextScope scope(device);
    if (scope.status().is_ok()) cuda_.memory_free(address(data));
  }
  Status copy(void* dst, const void* src, int64_t bytes, void* stream) noexcept override {
    if (bytes <= 0) return Status::ok();
    return cuda_.check(cuda_.memory_copy(address(dst), address(src), static_cast<size_t>(bytes), stream_of(stream)), "cuMemcpyAsync");
  }
  Status fill(void* dst, int byte, int64_t bytes, void* stream) noexcept override {
    if (bytes <= 0) return Status::ok();
    return cuda_.check(cuda_.memory_set(address(dst), static_cast<unsigned char>(byte), static_cast<size_t>(bytes), stream_of(stream)), "cuMemsetD8Async");
  }
  Status copy_now(int device, void* dst, const void* src, int64_t bytes) override {
    CudaContextScope scope(device);
    TRY(scope.status());
    TRY(copy(dst, src, bytes, nullptr));
    return synchronize(nullptr);
  }

  Result<void*> create_stream(int device) override {
    CudaContextScope scope(device);
    TRY(scope.status());
    CUstream stream = nullptr;
    TRY(cuda_.check(cuda_.stream_create(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate"));
    return static_cast<void*>(stream);
  }
  void destroy_stream(void* stream) noexcept override {
    if (stream) cuda_.stream_destroy(stream_of(stream));
  }
  Status synchronize(void* stream) noexcept override { return cuda_.check(cuda_.stream_synchronize(stream_of(stream)), "cuStreamSynchronize"); }

  Result<void*> create_event(int device, bool timing) override {
    CudaContextScope scope(device);
    TRY(scope.status());
    CUevent event = nullptr;
    TRY(cuda_.check(cuda_.event_create(&event, timing ? CU_EVENT_DEFAULT : CU_EVENT_DISABLE_TIMING), "cuEventCreate"));
    return static_cast<void*>(event);
  }
  void destroy_event(void* event) noexcept override {
    if (event) cuda_.event_destroy(event_of(event));
  }
  Status record(void* event, void* stream) noexcept override { return cuda_.check(cuda_.event_record(event_of(event), stream_of(stream)), "cuEventRecord"); }
  Status wait(void* stream, void* event) noexcept override {
    return cuda_.check(cuda_.stream_wait_event(stream_of(stream), event_of(event), 0), "cuStreamWaitEvent");
  }
  Result<double> elapsed_micros(void* begin, void* end) override {
    TRY(cuda_.check(cuda_.event_synchronize(event_of(end)), "cuEventSynchronize"));
    float millis = 0;
    TRY(cuda_.check(cuda_.event_elapsed(&millis, event_of(begin), event_of(end)), "cuEventElapsedTime"));
    return 1e3 * static_cast<double>(millis);
  }

  bool is_capturing(void* stream) noexcept override {
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    // The legacy stream answers with an error while another stream captures; it is never captured itself.
    return cuda_.stream_is_capturing(stream_of(stream), &status) == CUDA_SUCCESS && status != CU_STREAM_CAPTURE_STATUS_NONE;
  }
  Status begin_capture(void* stream) override {
    return cuda_.check(cuda_.stream_begin_capture(stream_of(stream), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "cuStreamBeginCapture");
  }
  Result<void*> end_capture(void* stream) override {
    CUgraph graph = nullptr;
    TRY(cuda_.check(cuda_.stream_end_capture(stream_of(stream), &graph), "cuStreamEndCapture"));
    if (!graph) return Status(Code::Internal, "cuStreamEndCapture: the capture was invalidated");
    CUgraphExec exec = nullptr;
    Status status = cuda_.check(cuda_.graph_instantiate(&exec, graph, 0), "cuGraphInstantiate");
    cuda_.graph_destroy(graph);
    TRY(status);
    return static_cast<void*>(exec);
  }
  Status launch_graph(void* graph, void* stream) noexcept override {
    return cuda_.check(cuda_.graph_launch(static_cast<CUgraphExec>(graph), stream_of(stream)), "cuGraphLaunch");
  }
  /// The driver keeps a graph in flight alive until its launch has finished.
  void destroy_graph(void* graph) noexcept override {
    if (graph) cuda_.graph_exec_destroy(static_cast<CUgraphExec>(graph));
  }

 private:
  int64_t optional(int device, CUdevice_attribute which) const {
    Result<int> value = cuda_.attribute(device, which);
    return value.is_ok() && *value > 0 ? *value : 0;
  }

  const CudaDriver& cuda_;
};

}  // namespace

Result<DeviceApi*> cuda_device() {
  TRY_ASSIGN(const CudaDriver* driver, cuda_driver());
  static CudaDevice device(*driver);
  return static_cast<DeviceApi*>(&device);
}

}  // namespace tuyere
#endif
