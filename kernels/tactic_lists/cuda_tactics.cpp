// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/tactics.h"
#include "kernels/pointwise/pointwise_tactics.h"
#include "kernels/tactic_lists/list_table.h"

namespace tuyere {
namespace {

struct CudaLists {
  TacticList& list;
  void operator()(const Pointwise&) { add_pointwise_cuda_tactics(list); }
  template <class ViewOrControl>
  void operator()(const ViewOrControl&) {}
};

}  // namespace

const TacticList& cuda_tactics(const Op& op) {
  static const ListTable<CudaLists> table;
  return table[op];
}

}  // namespace tuyere
