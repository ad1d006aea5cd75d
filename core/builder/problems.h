// SPDX-License-Identifier: Apache-2.0
// Problems: a layer with the memory its placement gives it.
#pragma once
#include "core/builder/placement.h"
#include "kernels/api/problem.h"

namespace tuyere {

/// What constants are aligned to in an engine file, and buffers of the arena.
inline constexpr int kConstantAlignment = 64, kArenaAlignment = 256;

Problem make_problem(const Network& network, int body, LayerId layer, const Placement& placement, const Symbols& hints, bool deterministic);
/// One problem per step of the placement.
std::vector<Problem> make_problems(const Network& network, int body, const Placement& placement, const Symbols& hints, bool deterministic);

/// Guaranteed alignment in bytes of an address `offset` elements into memory aligned to `base`.
int alignment_at(const Dim& offset, DType dtype, int base);

}  // namespace tuyere
