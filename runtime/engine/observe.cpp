// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/observe.h"

#include "kernels/run/executors.h"
#include "runtime/plan/validate.h"

namespace tuyere {
namespace {

/// Strides are not negative for tensors of a device plan that are copied as a span.
Result<std::vector<std::byte>> copy_tensor(const Prepared& prepared, int index, DeviceApi* api) {
  const TensorView& view = prepared.sizes.tensors[index];
  const std::byte* data = prepared.address(prepared.body.tensors[index].buffer) + prepared.sizes.offsets[index];
  std::vector<std::byte> span;
  if (api) {
    const int64_t extent = view_extent(view.dtype, view.shape, view.strides);
    if (extent < 0) return Status(Code::Unsupported, "an observed tensor with negative strides");
    span.resize(extent);
    if (extent) TRY(api->copy_now(prepared.device, span.data(), data, extent));
    data = span.data();
  }
  TensorView dense = view;
  dense.strides = contiguous_strides(view.shape);
  std::vector<std::byte> out(bytes_of(view.dtype, view.numel()));
  TRY_ASSIGN(const std::unique_ptr<Executable> copy,
             copy_executor()->prepare({}, {.in = {view}, .out = {dense}, .constants = {}, .constant_keys = {}, .device = -1}));
  void* pointers[] = {const_cast<std::byte*>(data), out.data()};
  TRY(copy->run(pointers, nullptr));
  return out;
}

}  // namespace

Result<std::vector<std::pair<std::string, std::vector<std::byte>>>> copy_observed(const Prepared& prepared, DeviceApi* api) {
  std::vector<std::pair<std::string, std::vector<std::byte>>> all;
  for (size_t i = 0; i < prepared.body.tensors.size(); ++i) {
    if (!prepared.body.tensors[i].observed) continue;
    TRY_ASSIGN(std::vector<std::byte> bytes, copy_tensor(prepared, static_cast<int>(i), api));
    all.push_back({prepared.body.tensors[i].name, std::move(bytes)});
  }
  return all;
}

}  // namespace tuyere
