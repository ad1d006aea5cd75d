// SPDX-License-Identifier: Apache-2.0
// A problem: one operator with the types, shapes and strides of its tensors, on one target. Kernels know problems, never layers.
#pragma once
#include <string>
#include <vector>

#include "kernels/api/ops.h"

namespace tuyere {

/// The machine a plan is made for.
struct Target {
  enum class Kind { Cpu, Cuda } kind = Kind::Cpu;
  int sm = 0;               // 80, 90, 100; 0 on the CPU
  int multiprocessors = 0;  // of the device, or of the architecture's usual one when it is absent
  std::string device_name;  // as the driver says it, or the CPU's model name
  int64_t l2_bytes = 0;
  double copy_gbps = 0;      // device memory bandwidth, read + write; for the cost model
  double tensor_tflops = 0;  // dense f16 tensor-core rate; for the cost model
  int device = 0;            // ordinal, when present
  bool present = true;       // false: nothing can be timed
  bool is_cuda() const { return kind == Kind::Cuda; }
  /// "cpu", "sm_80", "sm_90a", "sm_100a"
  std::string arch() const;
};

/// One tensor of a problem. Dims and strides (elements) may hold symbols; hint() gives the numbers to tune for.
struct TensorDesc {
  DType dtype = DType::F32;
  Shape shape;
  std::vector<Dim> strides;
  bool constant = false;  // a weight: may be packed once per engine
  int alignment = 256;    // guaranteed alignment of the first element, bytes
  bool operator==(const TensorDesc&) const = default;
  int rank() const { return static_cast<int>(shape.size()); }
  bool is_contiguous() const;
  /// Dense with the channel dim (1) innermost, e.g. NHWC. Size-1 dims do not matter.
  bool is_channels_last() const;
};
TensorDesc desc(DType dtype, Shape shape);  // contiguous

struct Problem {
  Op op;
  std::vector<TensorDesc> in, out;
  Symbols hints;  // symbol -> the size to tune for (a profile's opt)
  bool deterministic = true;
  bool operator==(const Problem& o) const { return op == o.op && in == o.in && out == o.out; }
  bool is_static() const;
  std::vector<int64_t> dims(const TensorDesc& t) const { return eval(t.shape, hints); }
  std::vector<int64_t> strides(const TensorDesc& t) const { return eval(t.strides, hints); }
};
/// The tuning key, e.g. "conv stride=[1,1] ... | f16[1,64,56,56]{200704,1,3584,64} ... -> f16[...]". Identical layers share it.
std::string key(const Problem& problem);
/// Inverse of key(): the bench and the CLI replay problems from text.
Problem parse_problem(std::string_view text);
/// Bytes read and written once each, and floating-point operations, at the hint sizes: the floor of the cost model.
int64_t traffic_bytes(const Problem& problem);
double flops(const Problem& problem);

}  // namespace tuyere
