// SPDX-License-Identifier: Apache-2.0
// The container: a safetensors file. Knows tensors and metadata, not plans.
#pragma once
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "common/dtype.h"
#include "common/status.h"

namespace tuyere::safetensors {

inline constexpr int64_t kAlignment = 64;             // of the data section and of every tensor in it
inline constexpr int64_t kMaxHeader = 100'000'000;    // the limit of the format's own library
inline constexpr const char* kChecksum = "checksum";  // key of the metadata

struct Tensor {
  DType dtype = DType::U8;
  std::vector<int64_t> shape;
  std::span<const std::byte> data;
};

struct File {
  std::map<std::string, std::string> metadata;
  std::map<std::string, Tensor> tensors;
};

/// Tensors in order of name, pad tensors "pad/<n>" between them where alignment needs it. The same input gives the same bytes.
/// Throws Error{Internal} on a tensor whose data does not fit its shape.
std::vector<std::byte> write(const File& file);

/// Content hash of all metadata but kChecksum, and of every tensor's name, type, shape and data; other tools may write the same file in another order.
std::string checksum(const File& file);

/// Tensors point into `bytes`; pads are left out. DataLoss unless the tensors cover the data section exactly, without overlap.
/// header_only: `bytes` may end after the header; tensors then have no data.
Result<File> read(std::span<const std::byte> bytes, bool header_only = false);

}  // namespace tuyere::safetensors
