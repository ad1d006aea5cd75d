// SPDX-License-Identifier: Apache-2.0
// The attrs of "cuda" steps: one or several launches of our own kernels.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "common/dim.h"
#include "common/status.h"

namespace tuyere {

/// One kernel argument. Pointers are addressed by position in the step's pointer list (inputs, outputs, workspace).
struct KernelArg {
  enum class Kind : uint8_t { pointer, i32, i64, f32, tensor_map } kind = Kind::pointer;
  int pointer = 0;  // pointer, tensor_map
  Dim value;        // i32, i64: evaluated at prepare; pointer: byte offset
  float f = 0;      // f32
  // tensor_map (TMA descriptor over pointer): sizes, byte strides (all but the innermost), box, element strides; swizzle 0/32/64/128; dtype name
  std::vector<Dim> dims, strides;
  std::vector<int> box;
  int swizzle = 0;
  std::string dtype;
  bool operator==(const KernelArg&) const = default;
  static KernelArg ptr(int position, Dim byte_offset = 0);
  static KernelArg int32(Dim v);
  static KernelArg int64(Dim v);
  static KernelArg real(float v);
};

struct KernelLaunch {
  int blob = 0;        // index into StepSpec::blobs
  std::string kernel;  // extern "C" name
  std::array<Dim, 3> grid{1, 1, 1};
  std::array<int, 3> block{1, 1, 1};
  int shared_bytes = 0;  // dynamic shared memory
  int cluster = 1;       // CTAs per cluster along x
  bool pdl = false;      // programmatic stream serialization: the kernel waits (griddepcontrol.wait) before its first read and write
  std::vector<KernelArg> args;
  bool operator==(const KernelLaunch&) const = default;
};

/// A memset of a pointer before the launches (split-K counters and the like) is written as a launch with an empty kernel name:
/// args[0] the pointer, args[1] the byte count.
struct CudaStep {
  std::vector<KernelLaunch> launches;
};
std::string to_json(const CudaStep& step);
Result<CudaStep> parse_cuda_step(const std::string& json);

}  // namespace tuyere
