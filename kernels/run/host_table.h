// SPDX-License-Identifier: Apache-2.0
// What a host framework lends to the runtime: memory and its operators.
#pragma once
#include <cstdint>
#include <span>

#include "common/dtype.h"

namespace tuyere {

/// A caller's tensor. Strides in elements; device -1 is the host, otherwise a CUDA ordinal.
struct TensorRef {
  void* data = nullptr;
  DType dtype = DType::F32;
  std::span<const int64_t> shape, strides;
  int device = -1;
};

/// Callbacks a host framework may install (runtime/torch_op does): memory, stream, PyTorch ops. All fields optional.
struct HostTable {
  void* user = nullptr;
  void* (*allocate)(void* user, int64_t bytes, int device, void* stream) = nullptr;
  void (*release)(void* user, void* data, int device) = nullptr;
  /// Runs one hosted op. `in`/`out` are descriptors; returns an error text or nullptr.
  const char* (*call)(void* user, const char* op, const char* overload, const char* args, const TensorRef* in, int num_in, const TensorRef* out, int num_out,
                      void* stream) = nullptr;
};
/// Installs a copy of `table` for the whole process. Memory is given back through the table that lent it.
void set_host_table(const HostTable& table);
const HostTable& host_table();

}  // namespace tuyere
