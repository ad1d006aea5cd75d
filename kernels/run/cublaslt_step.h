// SPDX-License-Identifier: Apache-2.0
// The attrs of "cublaslt" steps, and the question which algorithms there are. No CUDA header is needed.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "common/dim.h"
#include "common/dtype.h"
#include "common/status.h"

namespace tuyere {

/// A matrix of the step's pointer list: element strides of (row, column, batch), and what the address is surely a multiple of (bytes).
struct LtMatrix {
  int position = -1;  // -1: there is none
  std::array<Dim, 3> strides;
  int alignment = 16;
  bool operator==(const LtMatrix&) const = default;
};

/// d[batch] = act(a[batch] @ b[batch] + c[batch] + bias): a is m x k, b k x n, c and d m x n; the bias runs along n. Sums are f32.
/// Operands are `type` (f16, bf16, f32), c, d and bias are `out`. Afterwards `then`, a CudaStep in JSON over the same pointers and blobs.
struct LtStep {
  Dim m, n, k, batch = 1;
  DType type = DType::F32, out = DType::F32;
  bool tf32 = false;
  LtMatrix a, b, c, d;
  int bias = -1;
  std::string act;             // "", "relu" or "gelu_tanh"
  std::string algo;            // the library's 64 bytes in hex; "": ask its heuristic
  std::vector<int64_t> tuned;  // m, n, k, batch that `algo` was made for
  int64_t version = 0;         // of the library that made it
  std::string then;
  bool operator==(const LtStep&) const = default;
};
std::string to_json(const LtStep& step);
Result<LtStep> parse_lt_step(const std::string& text);

/// How cuBLASLt sees a matrix of `rows` x `columns` with these element strides: column-major, or the transpose of that.
struct LtLayout {
  bool transposed = false;
  int64_t leading = 0;
};
/// False when neither stride is 1 (sizes of 1 do not matter) or rows overlap.
bool lt_layout(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride, LtLayout* layout);

/// Ok when cuBLASLt and the device can be used. FailedPrecondition otherwise.
Status lt_available(int device);

struct LtAlgorithm {
  std::string hex;
  int64_t workspace = 0;
  int64_t version = 0;
};
/// At most `count` algorithms for the sizes under `symbols` on a device that is present, the most promising first. FailedPrecondition: no library or device.
Result<std::vector<LtAlgorithm>> lt_algorithms(const LtStep& step, const Symbols& symbols, int device, int count);

}  // namespace tuyere
