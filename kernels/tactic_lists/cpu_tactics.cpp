// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/tactics.h"
#include "kernels/attention/attention_tactics.h"
#include "kernels/conv/conv_tactics.h"
#include "kernels/cumulate/cumulate_tactics.h"
#include "kernels/fill/fill_tactics.h"
#include "kernels/gather/gather_tactics.h"
#include "kernels/layout/layout_tactics.h"
#include "kernels/matmul/matmul_tactics.h"
#include "kernels/norm/norm_tactics.h"
#include "kernels/pointwise/pointwise_tactics.h"
#include "kernels/pool/pool_tactics.h"
#include "kernels/recurrent/recurrent_tactics.h"
#include "kernels/reduce/reduce_tactics.h"
#include "kernels/resize/resize_tactics.h"
#include "kernels/softmax/softmax_tactics.h"
#include "kernels/sort/sort_tactics.h"
#include "kernels/tactic_lists/list_table.h"

namespace tuyere {
namespace {

/// One line per operator; a compute operator without one does not compile.
struct CpuLists {
  TacticList& list;
  void operator()(const Pointwise&) { add_pointwise_cpu_tactics(list); }
  void operator()(const Reduce&) { add_reduce_cpu_tactics(list); }
  void operator()(const ArgReduce&) { add_reduce_cpu_tactics(list); }
  void operator()(const Softmax&) { add_softmax_cpu_tactics(list); }
  void operator()(const Norm&) { add_norm_cpu_tactics(list); }
  void operator()(const LayerNormGradient&) { add_norm_cpu_tactics(list); }
  void operator()(const MatMul&) { add_matmul_cpu_tactics(list); }
  void operator()(const GatedMatMul&) { add_gated_matmul_cpu_tactics(list); }
  void operator()(const Conv&) { add_conv_cpu_tactics(list); }
  void operator()(const ExpandedDepthwise&) { add_expanded_depthwise_cpu_tactics(list); }
  void operator()(const ConvWeightGradient&) { add_conv_cpu_tactics(list); }
  void operator()(const Pool&) { add_pool_cpu_tactics(list); }
  void operator()(const AdaptivePool&) { add_pool_cpu_tactics(list); }
  void operator()(const PoolGradient&) { add_pool_cpu_tactics(list); }
  void operator()(const Recurrent&) { add_recurrent_cpu_tactics(list); }
  void operator()(const Attention&) { add_attention_cpu_tactics(list); }
  void operator()(const AttentionGradient&) { add_attention_cpu_tactics(list); }
  void operator()(const Concat&) { add_layout_cpu_tactics(list); }
  void operator()(const Pad&) { add_layout_cpu_tactics(list); }
  void operator()(const Flip&) { add_layout_cpu_tactics(list); }
  void operator()(const Gather&) { add_gather_cpu_tactics(list); }
  void operator()(const GatherElements&) { add_gather_cpu_tactics(list); }
  void operator()(const Index&) { add_gather_cpu_tactics(list); }
  void operator()(const ScatterElements&) { add_gather_cpu_tactics(list); }
  void operator()(const IndexPut&) { add_gather_cpu_tactics(list); }
  void operator()(const Iota&) { add_fill_cpu_tactics(list); }
  void operator()(const Fill&) { add_fill_cpu_tactics(list); }
  void operator()(const Cumulate&) { add_cumulate_cpu_tactics(list); }
  void operator()(const TopK&) { add_sort_cpu_tactics(list); }
  void operator()(const Sort&) { add_sort_cpu_tactics(list); }
  void operator()(const Resize&) { add_resize_cpu_tactics(list); }
  void operator()(const Reshape&) { add_layout_cpu_tactics(list); }
  void operator()(const Permute&) { add_layout_cpu_tactics(list); }
  void operator()(const Expand&) { add_layout_cpu_tactics(list); }
  void operator()(const Slice&) { add_layout_cpu_tactics(list); }
  void operator()(const HostCall&) {}
  void operator()(const If&) {}
  void operator()(const While&) {}
  void operator()(const Call&) {}
  void operator()(const std::monostate&) {}
};

}  // namespace

const TacticList& cpu_tactics(const Op& op) {
  static const ListTable<CpuLists> table;
  return table[op];
}

}  // namespace tuyere
