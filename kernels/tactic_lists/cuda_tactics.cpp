// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/tactics.h"
#include "kernels/gather/gather_tactics.h"
#include "kernels/layout/layout_tactics.h"
#include "kernels/pointwise/pointwise_tactics.h"
#include "kernels/reduce/reduce_tactics.h"
#include "kernels/tactic_lists/list_table.h"

namespace tuyere {
namespace {

struct CudaLists {
  TacticList& list;
  void operator()(const Pointwise&) { add_pointwise_cuda_tactics(list); }
  void operator()(const Reduce&) { add_reduce_cuda_tactics(list); }
  void operator()(const ArgReduce&) { add_reduce_cuda_tactics(list); }
  void operator()(const Concat&) { add_layout_cuda_tactics(list); }
  void operator()(const Pad&) { add_layout_cuda_tactics(list); }
  void operator()(const Flip&) { add_layout_cuda_tactics(list); }
  void operator()(const Gather&) { add_gather_cuda_tactics(list); }
  void operator()(const GatherElements&) { add_gather_cuda_tactics(list); }
  void operator()(const Index&) { add_gather_cuda_tactics(list); }
  void operator()(const ScatterElements&) { add_gather_cuda_tactics(list); }
  void operator()(const IndexPut&) { add_gather_cuda_tactics(list); }
  template <class ViewOrControl>
  void operator()(const ViewOrControl&) {}
};

}  // namespace

const TacticList& cuda_tactics(const Op& op) {
  static const ListTable<CudaLists> table;
  return table[op];
}

}  // namespace tuyere
