// SPDX-License-Identifier: Apache-2.0
#ifdef TUYERE_WITH_CUDA
#include <cstring>
#include <limits>
#include <optional>

#include "kernels/run/cuda_launch.h"

namespace tuyere {
namespace {

Status argument_value(const Dim& dim, const Symbols& symbols, int64_t* out) {
  if (dim.try_eval(symbols, out)) return Status::ok();
  return {Code::Internal, "kernel argument " + dim.str() + " has no value for these shapes"};
}

std::optional<CUtensorMapDataType> map_type(const std::string& text) {
  const std::optional<DType> type = parse_dtype(text);
  if (!type) return std::nullopt;
  switch (*type) {
    case DType::F32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case DType::F16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case DType::BF16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case DType::F64:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
    case DType::I32:
      return CU_TENSOR_MAP_DATA_TYPE_INT32;
    case DType::I64:
      return CU_TENSOR_MAP_DATA_TYPE_INT64;
    case DType::I8:
    case DType::U8:
    case DType::Bool:
    case DType::F8E4M3:
    case DType::F8E5M2:
      return CU_TENSOR_MAP_DATA_TYPE_UINT8;
    default:
      return std::nullopt;
  }
}

std::optional<CUtensorMapSwizzle> map_swizzle(int bytes) {
  switch (bytes) {
    case 0:
      return CU_TENSOR_MAP_SWIZZLE_NONE;
    case 32:
      return CU_TENSOR_MAP_SWIZZLE_32B;
    case 64:
      return CU_TENSOR_MAP_SWIZZLE_64B;
    case 128:
      return CU_TENSOR_MAP_SWIZZLE_128B;
    default:
      return std::nullopt;
  }
}

}  // namespace

Status CudaParams::init(const CudaDriver& driver, int device, const std::vector<KernelArg>& args, const Symbols& symbols, size_t pointers) {
  driver_ = &driver;
  device_ = device;
  values_.assign(args.size(), 0);
  params_.resize(args.size());
  for (size_t i = 0; i < args.size(); ++i) {
    params_[i] = &values_[i];
    TRY(add(args[i], i, symbols, pointers));
  }
  return Status::ok();
}

Status CudaParams::add(const KernelArg& arg, size_t slot, const Symbols& symbols, size_t pointers) {
  const bool addressed = arg.kind == KernelArg::Kind::pointer || arg.kind == KernelArg::Kind::tensor_map;
  if (addressed && (arg.pointer < 0 || static_cast<size_t>(arg.pointer) >= pointers))
    return {Code::DataLoss, "kernel argument " + std::to_string(slot) + " names tensor " + std::to_string(arg.pointer) + " of " + std::to_string(pointers)};
  int64_t value = 0;
  if (arg.kind != KernelArg::Kind::f32) TRY(argument_value(arg.value, symbols, &value));
  switch (arg.kind) {
    case KernelArg::Kind::pointer:
      pointers_.push_back({slot, arg.pointer, static_cast<uint64_t>(value)});
      return Status::ok();
    case KernelArg::Kind::i32: {
      if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max())
        return {Code::Unsupported, "kernel argument " + arg.value.str() + " = " + std::to_string(value) + " does not fit 32 bits"};
      const int32_t narrow = static_cast<int32_t>(value);
      std::memcpy(&values_[slot], &narrow, sizeof narrow);
      return Status::ok();
    }
    case KernelArg::Kind::i64:
      std::memcpy(&values_[slot], &value, sizeof value);
      return Status::ok();
    case KernelArg::Kind::f32:
      std::memcpy(&values_[slot], &arg.f, sizeof arg.f);
      return Status::ok();
    case KernelArg::Kind::tensor_map:
      return add_map(arg, slot, symbols);
  }
  return {Code::Internal, "unknown kind of kernel argument"};
}

Status CudaParams::add_map(const KernelArg& arg, size_t slot, const Symbols& symbols) {
  const std::optional<CUtensorMapDataType> type = map_type(arg.dtype);
  const std::optional<CUtensorMapSwizzle> swizzle = map_swizzle(arg.swizzle);
  const size_t rank = arg.dims.size();
  if (!type || !swizzle || rank < 1 || rank > 5 || arg.strides.size() != rank - 1 || arg.box.size() != rank)
    return {Code::DataLoss, "kernel argument " + std::to_string(slot) + " is no tensor map"};
  auto map = std::make_unique<Map>();
  map->position = arg.pointer;
  map->type = *type;
  map->swizzle = *swizzle;
  map->steps.assign(rank, 1);
  int64_t value = 0;
  TRY(argument_value(arg.value, symbols, &value));
  map->offset = static_cast<uint64_t>(value);
  for (const Dim& dim : arg.dims) {
    TRY(argument_value(dim, symbols, &value));
    map->dims.push_back(static_cast<cuuint64_t>(value));
  }
  for (const Dim& stride : arg.strides) {
    TRY(argument_value(stride, symbols, &value));
    map->strides.push_back(static_cast<cuuint64_t>(value));
  }
  for (int size : arg.box) map->box.push_back(static_cast<cuuint32_t>(size));
  params_[slot] = &map->map;
  maps_.push_back(std::move(map));
  return Status::ok();
}

Status CudaParams::encode(Map& map, uint64_t address) noexcept {
  CudaContextScope scope(device_);  // unlike a launch, this call needs a current context
  TRY(scope.status());
  const CUresult result = driver_->tensor_map_tiled(&map.map, map.type, static_cast<cuuint32_t>(map.dims.size()), reinterpret_cast<void*>(address),
                                                    map.dims.data(), map.strides.data(), map.box.data(), map.steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
                                                    map.swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  TRY(driver_->check(result, "cuTensorMapEncodeTiled"));
  map.address = address;
  return Status::ok();
}

Status CudaParams::bind(void* const* pointers) noexcept {
  for (const Pointer& p : pointers_) values_[p.slot] = reinterpret_cast<uint64_t>(pointers[p.position]) + p.offset;
  for (const std::unique_ptr<Map>& map : maps_) {
    const uint64_t address = reinterpret_cast<uint64_t>(pointers[map->position]) + map->offset;
    if (address != map->address) TRY(encode(*map, address));
  }
  return Status::ok();
}

}  // namespace tuyere
#endif
