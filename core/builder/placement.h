// SPDX-License-Identifier: Apache-2.0
// Placement decides for every tensor of a body where it lives: a buffer, strides and an offset.
//
// From here on there are no view layers: Reshape, Permute, Expand and Slice are windows on the buffer of their input. Where a kernel needs denser
// memory than the window gives (core/builder/access.h), a copy is inserted: an identity Pointwise layer whose output's layout is what is needed.
// A Concat disappears when most of its inputs can be written in place by their producers; the others are copied into their slice.
// A Pointwise output takes over the memory of an input of the same type and strides that dies there.
// Graph outputs are dense in their layout and own their buffer: outputs never alias inputs, constants or each other.
#pragma once
#include <set>
#include <string>

#include "core/builder/strides.h"
#include "runtime/plan/plan.h"

namespace tuyere {

struct PlacedBuffer {
  BufferKind kind = BufferKind::arena;
  int index = -1;  // input or output number; index into Network::constants
  DType dtype = DType::F32;
  Dim elements;
};

struct PlacedTensor : View {
  int buffer = -1;  // -1: not in memory (unused)
};

struct Placement {
  std::vector<PlacedBuffer> buffers;
  std::vector<PlacedTensor> tensors;  // by TensorId
  std::vector<LayerId> steps;         // layers that need a kernel, in order
};

struct PlacementOptions {
  std::set<std::string> stored_in_layout;  // constants whose data is in the order of their tensor's layout; all others are packed row-major
  bool share_in_place = true;
  bool on_gpu = false;
};

/// Places a body and inserts the copies it needs. Running it again on the result inserts none.
Placement place(Network& network, int body = 0, const PlacementOptions& options = {});

/// An identity layer, which copies its input to the memory order of its output.
Op copy_op(DType dtype);
bool is_copy(const Op& op);

/// For tests and dumps: the steps with the windows they read and write, one line each.
std::string str(const Network& network, int body, const Placement& placement);

}  // namespace tuyere
