// SPDX-License-Identifier: Apache-2.0
// Which problems are so alike that what is fast for one is fast for the other.
#pragma once
#include <vector>

#include "kernels/api/problem.h"

namespace tuyere {

/// For every problem the index of the one to ask first: itself, or one of at least four with the same operator, types and memory order, all of whose sizes are
/// at most 1.5 times as large or small as its. DenseNet-161 has 78 1x1 convolutions that differ in their number of channels: a few tell what the others need to
/// try.
std::vector<int> find_leaders(const std::vector<const Problem*>& problems);

}  // namespace tuyere
