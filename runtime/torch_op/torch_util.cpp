// SPDX-License-Identifier: Apache-2.0
#include "runtime/torch_op/torch_util.h"

#include <dlfcn.h>

#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "common/host_memory.h"

namespace tuyere::torch_op {
namespace {

const std::vector<std::pair<int32_t, DType>>& dtype_pairs() {
  static const auto* pairs = new std::vector<std::pair<int32_t, DType>>{
      {aoti_torch_dtype_float32(), DType::F32},
      {aoti_torch_dtype_float16(), DType::F16},
      {aoti_torch_dtype_bfloat16(), DType::BF16},
      {aoti_torch_dtype_float64(), DType::F64},
      {aoti_torch_dtype_int8(), DType::I8},
      {aoti_torch_dtype_uint8(), DType::U8},
      {aoti_torch_dtype_int16(), DType::I16},
      {aoti_torch_dtype_int32(), DType::I32},
      {aoti_torch_dtype_int64(), DType::I64},
      {aoti_torch_dtype_bool(), DType::Bool},
      {aoti_torch_dtype_float8_e4m3fn(), DType::F8E4M3},
      {aoti_torch_dtype_float8_e5m2(), DType::F8E5M2},
  };
  return *pairs;
}

template <class F>
F find_symbol(const char* name) {
  void* symbol = dlsym(RTLD_DEFAULT, name);
  if (!symbol) {
    // torch loads its libraries with local scope; the CUDA one is already there when a CUDA tensor exists
    static void* cuda = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    if (cuda) symbol = dlsym(cuda, name);
  }
  return reinterpret_cast<F>(symbol);
}

void* allocate(void*, int64_t bytes, int device, void*) {
  if (device < 0) return allocate_host(static_cast<size_t>(bytes));
  static const auto alloc = find_symbol<AOTITorchError (*)(uint64_t, void**)>("aoti_torch_cuda_caching_allocator_raw_alloc");
  void* data = nullptr;
  if (!alloc || alloc(static_cast<uint64_t>(bytes), &data) != 0) return nullptr;
  return data;
}

void release(void*, void* data, int device) {
  static const auto release_cuda = find_symbol<AOTITorchError (*)(void*)>("aoti_torch_cuda_caching_allocator_raw_delete");
  if (device < 0) {
    std::free(data);
  } else if (release_cuda) {
    release_cuda(data);
  }
}

}  // namespace

std::optional<DType> from_torch_dtype(int32_t dtype) {
  for (const auto& [theirs, ours] : dtype_pairs()) {
    if (theirs == dtype) return ours;
  }
  return std::nullopt;
}

int32_t to_torch_dtype(DType dtype) {
  for (const auto& [theirs, ours] : dtype_pairs()) {
    if (ours == dtype) return theirs;
  }
  fail("PyTorch has no dtype for " + std::string(name(dtype)));
}

int device_of(AtenTensorHandle tensor) {
  int32_t type = 0, index = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(tensor, &type));
  static const int32_t cpu = aoti_torch_device_type_cpu();
  if (type == cpu) return -1;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(tensor, &index));
  return index;
}

void* data_of(AtenTensorHandle tensor) {
  void* data = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_data_ptr(tensor, &data));
  return data;
}

TensorRef tensor_ref(AtenTensorHandle tensor) {
  int64_t rank = 0;
  int64_t *sizes = nullptr, *strides = nullptr;
  int32_t dtype = 0;
  TensorRef ref;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dim(tensor, &rank));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_sizes(tensor, &sizes));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_strides(tensor, &strides));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(tensor, &dtype));
  ref.data = data_of(tensor);
  const std::optional<DType> ours = from_torch_dtype(dtype);
  if (!ours) fail("an input has a dtype that the engine does not know (torch dtype code " + std::to_string(dtype) + ")");
  ref.dtype = *ours;
  ref.shape = {sizes, static_cast<size_t>(rank)};
  ref.strides = {strides, static_cast<size_t>(rank)};
  ref.device = device_of(tensor);
  return ref;
}

AtenTensorHandle empty_strided_handle(std::span<const int64_t> shape, std::span<const int64_t> strides, DType dtype, int device) {
  AtenTensorHandle handle = nullptr;
  const int32_t type = device < 0 ? aoti_torch_device_type_cpu() : aoti_torch_device_type_cuda();
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(static_cast<int64_t>(shape.size()), shape.data(), strides.data(), to_torch_dtype(dtype), type,
                                                  device < 0 ? 0 : device, &handle));
  return handle;
}

Tensor empty_strided(std::span<const int64_t> shape, std::span<const int64_t> strides, DType dtype, int device) {
  return Tensor(empty_strided_handle(shape, strides, dtype, device));
}

Tensor borrow(const TensorRef& ref) {
  AtenTensorHandle handle = nullptr;
  const int32_t type = ref.device < 0 ? aoti_torch_device_type_cpu() : aoti_torch_device_type_cuda();
  TORCH_ERROR_CODE_CHECK(aoti_torch_create_tensor_from_blob_v2(ref.data, static_cast<int64_t>(ref.shape.size()), ref.shape.data(), ref.strides.data(), 0,
                                                               to_torch_dtype(ref.dtype), type, ref.device < 0 ? 0 : ref.device, &handle,
                                                               aoti_torch_layout_strided(), nullptr, 0));
  return Tensor(handle);
}

void copy(const Tensor& dst, AtenTensorHandle src) { TORCH_ERROR_CODE_CHECK(aoti_torch_copy_(dst.get(), src, 0)); }

void* current_stream(int device) {
  if (device < 0) return nullptr;
  static const auto get = find_symbol<AOTITorchError (*)(int32_t, void**)>("aoti_torch_get_current_cuda_stream");
  void* stream = nullptr;
  if (!get || get(device, &stream) != 0) fail("this PyTorch has no CUDA support, but the engine was built for a GPU");
  return stream;
}

void install_host_table() {
  HostTable table;
  table.allocate = allocate;
  table.release = release;
  table.call = call_hosted;
  set_host_table(table);
}

void fail(const std::string& message) { throw std::runtime_error("tuyere: " + message); }

}  // namespace tuyere::torch_op
