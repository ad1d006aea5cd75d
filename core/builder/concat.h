// SPDX-License-Identifier: Apache-2.0
// Which Concat layers need no kernel, because their inputs are written where they belong.
#pragma once
#include <map>
#include <set>

#include "core/network/network.h"

namespace tuyere {

/// A tensor that is the slice [start, start + size) along `axis` of tensor `whole`.
struct ConcatSlot {
  TensorId whole = kNone;
  int axis = 0;
  Dim start;
};

struct ConcatPlan {
  std::map<TensorId, ConcatSlot> slots;  // tensors that lie in the result of a Concat
  std::set<LayerId> written_in_place;    // Concat layers without a kernel
  // Tensors that their producers write so that the result of this view of them lies in its slot, or where the next view wants it.
  std::map<TensorId, LayerId> before_views;
};

/// A Concat loses its kernel when at least half of its inputs (and one) can be written in place: their producer writes slices, nobody else needs
/// them dense, and they have no other place. So does one whose parts lie side by side in the result of a later one.
ConcatPlan plan_concats(const Network& network, int body, bool on_gpu);
/// The axis of a Concat layer, counted from the front.
int concat_axis(const Network& network, int body, LayerId concat);

}  // namespace tuyere
