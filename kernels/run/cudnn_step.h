// SPDX-License-Identifier: Apache-2.0
// The attrs of "cudnn" steps: a convolution with pointwise operations after it or attention, and the question which engines there are. No CUDA header is
// needed.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/dim.h"
#include "common/dtype.h"
#include "common/status.h"

namespace tuyere {

/// Dims N C (D) (H) W or batch, head, row, column; strides in elements. `position` in the step's pointer list; -1: an intermediate result that is never stored.
struct CudnnTensor {
  int position = -1;
  DType dtype = DType::F32;
  std::vector<Dim> dims, strides;
  int alignment = 16;  // bytes, surely
  bool operator==(const CudnnTensor&) const = default;
};

/// y = fn(x) or fn(x, b), in f32. fn: add, relu, leaky_relu (whose slope below zero is `slope`), silu, gelu_erf, gelu_tanh, sigmoid, tanh. x, b, y: numbers of
/// tensors.
struct CudnnPointwise {
  std::string fn;
  int x = -1, b = -1, y = -1;
  double slope = 0;
  bool operator==(const CudnnPointwise&) const = default;
};

/// tensors[o] = softmax(scale q k + bias) v over tensors [batch, head, row, column]: a column of k is a key. Heads of q are a multiple of those of k and v.
/// causal: key <= query. bias: -1 without one, otherwise a tensor with dims of 1 where it broadcasts.
struct CudnnAttention {
  int q = 0, k = 1, v = 2, bias = -1, o = 3;
  double scale = 1;
  bool causal = false;
  bool operator==(const CudnnAttention&) const = default;
};

/// With `attention`, that alone. Otherwise tensors[y] = conv(tensors[x], tensors[w]), then `pointwise` in order, then `then`: a CudaStep in JSON over the same
/// pointers and blobs. transposed: the gradient of a convolution by its data; w [C, O / groups, ...]. weight_gradient: tensors[w] is the gradient of the
/// convolution of tensors[x] by its weight, for the gradient tensors[y] of its result.
struct CudnnStep {
  std::vector<CudnnTensor> tensors;
  int x = 0, w = 1, y = 2;
  std::vector<int64_t> stride, pad_before, pad_after, dilation;
  bool transposed = false, weight_gradient = false, tf32 = false, deterministic = true;
  std::vector<CudnnPointwise> pointwise;
  std::optional<CudnnAttention> attention;
  std::string config;          // "eng=41 k2=0 k13=1"; "": ask the heuristics
  std::vector<int64_t> tuned;  // the dims of all tensors that `config` was chosen for
  int64_t version = 0;         // of the library that chose it
  std::string then;
  bool operator==(const CudnnStep&) const = default;
};
std::string to_json(const CudnnStep& step);
Result<CudnnStep> parse_cudnn_step(const std::string& text);

/// The dims of all tensors under `symbols`, one after the other.
Result<std::vector<int64_t>> cudnn_sizes(const CudnnStep& step, const Symbols& symbols);
/// Row-major or channels-last strides with those of dims of size 1 brought to the dense ones, as cuDNN recognizes layouts; other strides are kept.
void canonical_strides(const std::vector<int64_t>& dims, std::vector<int64_t>& strides);

/// Ok when cuDNN and the device can be used. FailedPrecondition otherwise.
Status cudnn_available(int device);
/// cudnnGetVersion(), 0 without the library.
int64_t cudnn_version();
/// At most `count` engine configurations for the sizes under `symbols` on a present device, the most promising first, without those that round inputs,
/// reduce precision, or (when asked for determinism) vary between runs.
Result<std::vector<std::string>> cudnn_configs(const CudnnStep& step, const Symbols& symbols, int device, int count);
/// Builds the plan of `step` (seconds for engines that are compiled at run time; kept for prepare) and returns its workspace in bytes.
Result<int64_t> cudnn_workspace(const CudnnStep& step, const Symbols& symbols, int device);

}  // namespace tuyere
