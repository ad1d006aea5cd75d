// SPDX-License-Identifier: Apache-2.0
// The kernel after a library's: an epilogue that the library cannot fuse, applied in place.
#pragma once
#include <string>
#include <vector>

#include "kernels/api/tactic.h"

namespace tuyere {

/// A CudaStep in JSON over the pointers of the step it follows, and its machine code.
struct FollowUp {
  std::string step;
  std::vector<Bytes> blobs;
};
/// outputs = epilogue(output 0, inputs 2, 3, ...) of a problem whose output 0 already holds the main result in its own type. Compiles.
FollowUp follow_up(const Problem& problem, const Program& epilogue, const Target& target);
/// Bytes that follow_up reads and writes at the hint sizes.
double follow_up_bytes(const Problem& problem);

}  // namespace tuyere
