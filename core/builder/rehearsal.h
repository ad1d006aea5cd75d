// SPDX-License-Identifier: Apache-2.0
// The chosen steps of a body, run one after the other as its engine will run them: with each other's caches, launches and, above all, heat. A GPU
// at its power limit lowers its clock; in a race of single kernels everyone pays for everyone's power, so that the winner need not be the fastest
// in its network.
#pragma once
#include <memory>
#include <span>

#include "core/builder/whole_network.h"

namespace tuyere {

/// Steps work on random data in memory that they share: one buffer for inputs of one position and type, one for outputs of one position. Weights have memory
/// of their own, as in an engine, as long as that stays within a bound; beyond it equal problems share theirs. Control steps are left out.
/// `problems` must outlive it, `target` is present. Nothing is allocated before the first comparison.
std::unique_ptr<NetworkTimer> make_rehearsal(std::span<const Problem> problems, const Target& target);

}  // namespace tuyere
