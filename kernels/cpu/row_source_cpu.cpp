// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/row_source.h"

namespace tuyere::cpu {

View restrict_dims(const View& v, const std::array<bool, kMaxRank>& flag, bool wanted) {
  View r = v;
  for (int d = 0; d < v.rank; ++d) {
    if (flag[d] != wanted) r.shape[d] = 1;
  }
  return r;
}

std::vector<DType> Operands::types(int first, int last) const {
  std::vector<DType> list;
  for (int k = first; k < last; ++k) list.push_back(views[k].dtype);
  return list;
}

namespace {
LoopNest part(const View& space, const Operands& operands, const std::array<bool, kMaxRank>& in_row, bool row) {
  std::vector<View> views;
  for (const View& v : operands.views) views.push_back(restrict_dims(v, in_row, row));
  return nest_of(restrict_dims(space, in_row, row), views);
}
}  // namespace

RowSpace::RowSpace(const View& space, const Operands& operands, const std::array<bool, kMaxRank>& in_row, int64_t tile)
    : outer_(part(space, operands, in_row, false)),
      tiles_(part(space, operands, in_row, true), tile),
      slots_(operands.slots),
      bytes_(operands.bytes),
      rows_(outer_.numel()),
      length_(tiles_.nest().numel()) {
  INTERNAL_CHECK(operands.count() <= kMaxOperands, "a step of " << operands.count() << " operands");
}

void RowSpace::locate(int64_t number, void* const* pointers, const void** data) const {
  Odometer o{outer_.rank, outer_.shape, {}};
  o.seek(number);
  for (size_t k = 0; k < slots_.size(); ++k) {
    int64_t offset = 0;
    for (int d = 0; d < outer_.rank; ++d) offset += o.index[d] * outer_.strides[k][d];
    data[k] = static_cast<const char*>(pointers[slots_[k]]) + offset * bytes_[k];
  }
}

}  // namespace tuyere::cpu
