// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <utility>
#include <variant>

#include "kernels/api/tactic.h"

namespace tuyere {

/// One list per operator, filled by a visitor constructed from the list: Visitor{list}(const SomeOp&).
template <class Visitor>
class ListTable {
 public:
  ListTable() { fill(std::make_index_sequence<std::variant_size_v<Op>>()); }
  const TacticList& operator[](const Op& op) const { return lists_[op.index()]; }

 private:
  template <size_t... I>
  void fill(std::index_sequence<I...>) {
    (Visitor{lists_[I]}(std::variant_alternative_t<I, Op>{}), ...);
  }
  std::array<TacticList, std::variant_size_v<Op>> lists_;
};

}  // namespace tuyere
