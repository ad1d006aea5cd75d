// SPDX-License-Identifier: Apache-2.0
// "cuda" steps: launches of our own kernels.
#ifdef TUYERE_WITH_CUDA
#include <algorithm>

#include "kernels/run/cuda_launch.h"
#include "kernels/run/executors.h"

namespace tuyere {
namespace {

constexpr int kFirstWithClusters = 9;  // compute capability of clusters and programmatic launches

Status launch_size(const Dim& dim, const Symbols& symbols, int64_t* out) {
  if (dim.try_eval(symbols, out)) return Status::ok();
  return {Code::Internal, "the launch size " + dim.str() + " has no value for these shapes"};
}

class CudaSteps final : public Executable {
 public:
  explicit CudaSteps(std::vector<CudaLaunch> launches) : launches_(std::move(launches)) {}
  Status run(void* const* pointers, void* stream) noexcept override {
    for (CudaLaunch& launch : launches_) TRY(launch.run(pointers, static_cast<CUstream>(stream)));
    return Status::ok();
  }
  int launches() const noexcept override { return static_cast<int>(launches_.size()); }

 private:
  std::vector<CudaLaunch> launches_;
};

class CudaExecutor final : public Executor {
 public:
  Result<std::unique_ptr<Executable>> prepare(const StepSpec& spec, const PrepareArgs& args) override {
    TRY_ASSIGN(const CudaStep step, parse_cuda_step(spec.attrs));
    TRY_ASSIGN(const CudaDriver* driver, cuda_driver());
    CudaContextScope scope(args.device);
    TRY(scope.status());
    const size_t pointers = args.in.size() + args.out.size() + (spec.workspace.is_const(0) ? 0 : 1);
    std::vector<CudaLaunch> launches;
    for (const KernelLaunch& launch : step.launches) {
      TRY_ASSIGN(CudaLaunch made, CudaLaunch::make(*driver, launch, spec, args, pointers));
      if (!made.empty()) launches.push_back(std::move(made));
    }
    return std::unique_ptr<Executable>(new CudaSteps(std::move(launches)));
  }
};

}  // namespace

Result<CudaLaunch> CudaLaunch::make(const CudaDriver& driver, const KernelLaunch& launch, const StepSpec& spec, const PrepareArgs& args, size_t pointers) {
  const Symbols& symbols = args.known_symbols();
  CudaLaunch made;
  made.driver_ = &driver;
  made.name_ = launch.kernel;
  TRY(launch.kernel.empty() ? made.init_set(launch, symbols, pointers) : made.init_kernel(launch, spec, args, symbols, pointers));
  return made;
}

Status CudaLaunch::init_set(const KernelLaunch& launch, const Symbols& symbols, size_t pointers) {
  if (launch.args.size() != 2 || launch.args[0].kind != KernelArg::Kind::pointer || launch.args[0].pointer < 0 ||
      static_cast<size_t>(launch.args[0].pointer) >= pointers)
    return {Code::DataLoss, "a memset needs a pointer and a byte count"};
  is_set_ = true;
  position_ = launch.args[0].pointer;
  int64_t offset = 0, bytes = 0;
  TRY(launch_size(launch.args[0].value, symbols, &offset));
  TRY(launch_size(launch.args[1].value, symbols, &bytes));
  offset_ = static_cast<uint64_t>(offset);
  bytes_ = static_cast<uint64_t>(std::max<int64_t>(bytes, 0));
  empty_ = bytes_ == 0;
  return Status::ok();
}

Status CudaLaunch::init_kernel(const KernelLaunch& launch, const StepSpec& spec, const PrepareArgs& args, const Symbols& symbols, size_t pointers) {
  if (launch.blob < 0 || static_cast<size_t>(launch.blob) >= spec.blobs.size() || !spec.blobs[launch.blob] || spec.blobs[launch.blob]->empty())
    return {Code::DataLoss, "kernel " + launch.kernel + " has no code"};
  int64_t grid[3];
  for (int i = 0; i < 3; ++i) TRY(launch_size(launch.grid[i], symbols, &grid[i]));
  empty_ = std::any_of(grid, grid + 3, [](int64_t size) { return size <= 0; });
  if (empty_) return Status::ok();
  if (grid[0] > 0x7fffffff || grid[1] > 65535 || grid[2] > 65535)
    return {Code::Unsupported, "kernel " + launch.kernel + ": the grid " + std::to_string(grid[0]) + "x" + std::to_string(grid[1]) + "x" +
                                   std::to_string(grid[2]) + " is too large"};
  TRY_ASSIGN(const int major, driver_->attribute(args.device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR));
  if (launch.cluster > 1 && major < kFirstWithClusters)
    return {Code::FailedPrecondition, "kernel " + launch.kernel + " needs thread block clusters (compute capability 9.0)"};
  TRY_ASSIGN(module_, load_module(args.device, spec.blobs[launch.blob]));
  TRY_ASSIGN(function_, module_->function(launch.kernel, launch.shared_bytes, launch.cluster));
  config_.gridDimX = static_cast<unsigned>(grid[0]), config_.gridDimY = static_cast<unsigned>(grid[1]), config_.gridDimZ = static_cast<unsigned>(grid[2]);
  config_.blockDimX = static_cast<unsigned>(launch.block[0]), config_.blockDimY = static_cast<unsigned>(launch.block[1]),
  config_.blockDimZ = static_cast<unsigned>(launch.block[2]);
  config_.sharedMemBytes = static_cast<unsigned>(launch.shared_bytes);
  add_attributes(launch, major);
  return params_.init(*driver_, args.device, launch.args, symbols, pointers);
}

/// config_.attrs is set at each launch: this object may move.
void CudaLaunch::add_attributes(const KernelLaunch& launch, int major) {
  if (launch.cluster > 1) {
    CUlaunchAttribute& attribute = attributes_[config_.numAttrs++];
    attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attribute.value.clusterDim.x = static_cast<unsigned>(launch.cluster);
    attribute.value.clusterDim.y = attribute.value.clusterDim.z = 1;
  }
  if (launch.pdl && major >= kFirstWithClusters) {
    CUlaunchAttribute& attribute = attributes_[config_.numAttrs++];
    attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attribute.value.programmaticStreamSerializationAllowed = 1;
  }
}

Status CudaLaunch::run(void* const* pointers, CUstream stream) noexcept {
  if (is_set_) return driver_->check(driver_->memory_set(reinterpret_cast<CUdeviceptr>(pointers[position_]) + offset_, 0, bytes_, stream), "cuMemsetD8Async");
  TRY(params_.bind(pointers));
  config_.attrs = attributes_;
  config_.hStream = stream;
  const CUresult result = driver_->launch(&config_, function_, params_.data(), nullptr);
  if (result == CUDA_SUCCESS) [[likely]]
    return Status::ok();
  return driver_->check(result, name_.c_str());
}

Executor* cuda_executor() {
  static CudaExecutor executor;
  return &executor;
}

}  // namespace tuyere
#endif
