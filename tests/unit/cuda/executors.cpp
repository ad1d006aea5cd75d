// SPDX-License-Identifier: Apache-2.0
// Executors of device steps. Without a driver every answer is a clear FailedPrecondition; with one, memory, streams and graphs are tried.
#include <gtest/gtest.h>

#include <array>

#include "kernels/api/cuda_step.h"
#include "kernels/run/cublaslt_step.h"
#include "kernels/run/cudnn_step.h"
#include "kernels/run/device_api.h"
#include "kernels/run/executors.h"

namespace tuyere {
namespace {

TEST(CudaExecutors, SayWhatIsMissingWithoutADriver) {
  const Result<DeviceApi*> api = cuda_device();
  if (api.is_ok()) GTEST_SKIP() << "there is a device";
  EXPECT_EQ(api.status().code(), Code::FailedPrecondition);
  EXPECT_FALSE(api.status().message().empty());
  const std::string matrices = R"("a":{"position":0,"strides":[8,1,0]},"b":{"position":1,"strides":[8,1,0]},"d":{"position":2,"strides":[8,1,0]})";
  const std::string lt = R"({"m":8,"n":8,"k":8,"batch":1,"type":"f16","out":"f16",)" + matrices + "}";
  for (const StepSpec& spec : {StepSpec{"cuda", to_json(CudaStep{}), {}, 0}, StepSpec{"cublaslt", lt, {}, 0}, StepSpec{"cudnn", "{}", {}, 0}}) {
    const Result<Executor*> executor = find_executor(spec.executor);
    if (!executor.is_ok()) {
      EXPECT_EQ(executor.status().code(), Code::FailedPrecondition) << "built without CUDA";
      continue;
    }
    EXPECT_EQ(executor.value()->prepare(spec, {}).status().code(), Code::FailedPrecondition) << spec.executor;
  }
  EXPECT_EQ(lt_available(0).code(), Code::FailedPrecondition);
  EXPECT_EQ(cudnn_available(0).code(), Code::FailedPrecondition);
}

TEST(CudaExecutors, UnreadableStepsAreDataLoss) {
  if (!cuda_device().is_ok()) GTEST_SKIP() << cuda_device().status().message();
  for (const char* name : {"cuda", "cublaslt", "cudnn"}) {
    const Result<Executor*> executor = find_executor(name);
    ASSERT_TRUE(executor.is_ok());
    EXPECT_EQ(executor.value()->prepare({name, "{", {}, 0}, {}).status().code(), Code::DataLoss) << name;
  }
}

TEST(CudaDevice, CopiesFillsAndCaptures) {
  const Result<DeviceApi*> found = cuda_device();
  if (!found.is_ok()) GTEST_SKIP() << found.status().message();
  DeviceApi& api = *found.value();
  DeviceScope scope(&api, 0);
  ASSERT_TRUE(scope.status().is_ok()) << scope.status().message();
  const Result<DeviceInfo> info = api.info(0);
  ASSERT_TRUE(info.is_ok());
  EXPECT_GT(info.value().multiprocessors, 0);
  EXPECT_GT(info.value().l2_bytes, 0);
  Result<void*> data = api.alloc(0, 16), stream = api.create_stream(0);
  ASSERT_TRUE(data.is_ok() && stream.is_ok());
  std::array<unsigned char, 16> host{};
  ASSERT_TRUE(api.begin_capture(*stream).is_ok());
  EXPECT_TRUE(api.is_capturing(*stream));
  EXPECT_TRUE(api.fill(*data, 7, 16, *stream).is_ok());
  Result<void*> graph = api.end_capture(*stream);
  ASSERT_TRUE(graph.is_ok()) << graph.status().message();
  EXPECT_TRUE(api.launch_graph(*graph, *stream).is_ok());
  EXPECT_TRUE(api.synchronize(*stream).is_ok());
  EXPECT_TRUE(api.copy_now(0, host.data(), *data, 16).is_ok());
  for (unsigned char byte : host) EXPECT_EQ(byte, 7);
  api.destroy_graph(*graph);
  api.destroy_stream(*stream);
  api.free(0, *data);
}

TEST(CudaDevice, MemsetStepsClearAtAnOffset) {
  const Result<DeviceApi*> found = cuda_device();
  if (!found.is_ok()) GTEST_SKIP() << found.status().message();
  DeviceApi* api = found.value();
  DeviceScope scope(api, 0);
  KernelLaunch clear;
  clear.args = {KernelArg::ptr(0, Dim::symbol("n")), KernelArg::int64(4)};
  Symbols symbols;
  symbols.set("n", 8);
  PrepareArgs args;
  args.out.resize(1);
  args.symbols = &symbols;
  Result<Executor*> executor = find_executor("cuda");
  ASSERT_TRUE(executor.is_ok());
  auto step = (*executor)->prepare({"cuda", to_json(CudaStep{{clear}}), {}, 0}, args);
  ASSERT_TRUE(step.is_ok()) << step.status().message();
  Result<void*> data = api->alloc(0, 16);
  ASSERT_TRUE(data.is_ok());
  ASSERT_TRUE(api->fill(*data, 1, 16, nullptr).is_ok());
  void* pointers[] = {*data};
  ASSERT_TRUE((*step)->run(pointers, nullptr).is_ok());
  std::array<unsigned char, 16> host{};
  ASSERT_TRUE(api->copy_now(0, host.data(), *data, 16).is_ok());
  for (size_t i = 0; i < host.size(); ++i) EXPECT_EQ(host[i], i >= 8 && i < 12 ? 0 : 1) << i;
  api->free(0, *data);
}

}  // namespace
}  // namespace tuyere
