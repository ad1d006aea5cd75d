// SPDX-License-Identifier: Apache-2.0
// The frame of kernels in which every thread computes one (or vec neighbouring) elements of an index space.
#pragma once
#include <string>
#include <vector>

#include "kernels/codegen/kernel.h"
#include "kernels/codegen/space.h"

namespace tuyere::codegen {

/// Emits `i` (idx, the number of this thread's chunk), returns from the kernel beyond the last, and declares the coordinates; sets the grid.
/// vec > 1 (a divisor of the last size): the last coordinate is that of the first of vec elements.
std::vector<std::string> begin_map(Kernel& kernel, std::vector<Dim> size, int vec = 1);
/// Threads per block that still fill the device for `count` chunks.
int map_threads(int64_t count, const Target& target);
int64_t count_at_hints(const std::vector<Dim>& size, const Symbols& hints);
/// Widest vec such that tensors 0.. of the space can be accessed as vectors along its last dim (stride 1, divisible, aligned).
int widest_vector(const Space& space, const std::vector<Operand>& ops);

}  // namespace tuyere::codegen
