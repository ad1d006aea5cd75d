// SPDX-License-Identifier: Apache-2.0
// Small bridges between the stable ABI of PyTorch and the runtime's types.
#pragma once
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "common/dtype.h"
#include "runtime/engine/engine.h"

namespace tuyere::torch_op {

using torch::stable::Tensor;

/// Our dtype for a torch one; empty for types the engine has not (complex, quantized ...).
std::optional<DType> from_torch_dtype(int32_t dtype);
int32_t to_torch_dtype(DType dtype);

/// The caller's tensor, borrowed.
TensorRef tensor_ref(AtenTensorHandle tensor);
/// -1 for the CPU, the ordinal for CUDA.
int device_of(AtenTensorHandle tensor);
void* data_of(AtenTensorHandle tensor);
/// A new tensor, which the caller owns.
AtenTensorHandle empty_strided_handle(std::span<const int64_t> shape, std::span<const int64_t> strides, DType dtype, int device);
Tensor empty_strided(std::span<const int64_t> shape, std::span<const int64_t> strides, DType dtype, int device);
/// A tensor over memory of the engine (no ownership).
Tensor borrow(const TensorRef& ref);
/// dst.copy_(src) with broadcasting rules of PyTorch.
void copy(const Tensor& dst, AtenTensorHandle src);

/// The caller's current stream on a device, nullptr on the CPU. CUDA shims are looked up at run time, so that the op loads into CPU-only PyTorch.
void* current_stream(int device);

/// Fills HostTable: PyTorch's caching allocator and hosted ops.
void install_host_table();
/// Runs one hosted op (HostTable::call).
const char* call_hosted(void* user, const char* op, const char* overload, const char* args, const TensorRef* in, int num_in, const TensorRef* out, int num_out,
                        void* stream);

[[noreturn]] void fail(const std::string& message);
inline void check(const Status& status) {
  if (!status.is_ok()) fail(status.message());
}

}  // namespace tuyere::torch_op
