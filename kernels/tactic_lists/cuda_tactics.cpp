// SPDX-License-Identifier: Apache-2.0
#include "kernels/api/tactics.h"
#include "kernels/attention/attention_tactics.h"
#include "kernels/conv/conv_tactics.h"
#include "kernels/cublaslt/cublaslt_tactics.h"
#include "kernels/cudnn/cudnn_tactics.h"
#include "kernels/cumulate/cumulate_tactics.h"
#include "kernels/fill/fill_tactics.h"
#include "kernels/gather/gather_tactics.h"
#include "kernels/layout/layout_tactics.h"
#include "kernels/matmul/matmul_tactics.h"
#include "kernels/norm/norm_tactics.h"
#include "kernels/pointwise/pointwise_tactics.h"
#include "kernels/pool/pool_tactics.h"
#include "kernels/reduce/reduce_tactics.h"
#include "kernels/resize/resize_tactics.h"
#include "kernels/softmax/softmax_tactics.h"
#include "kernels/sort/sort_tactics.h"
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
  void operator()(const MatMul&) {
    add_cublaslt_tactics(list);
    add_cudnn_matmul_tactics(list);
    add_matmul_cuda_tactics(list);
  }
  void operator()(const GatedMatMul&) { add_gated_matmul_cuda_tactics(list); }
  void operator()(const Conv&) {
    add_cudnn_conv_tactics(list);
    add_cublaslt_conv_tactics(list);
    add_conv_cuda_tactics(list);
  }
  void operator()(const ConvWeightGradient&) {
    add_cudnn_conv_tactics(list);
    add_conv_cuda_tactics(list);
  }
  void operator()(const ExpandedDepthwise&) {}  // formed on CPU targets
  void operator()(const Recurrent&) {}          // left to PyTorch
  void operator()(const Attention&) {
    add_cudnn_attention_tactics(list);
    add_attention_cuda_tactics(list);
  }
  void operator()(const AttentionGradient&) { add_attention_cuda_tactics(list); }
  void operator()(const Softmax&) { add_softmax_cuda_tactics(list); }
  void operator()(const Norm&) { add_norm_cuda_tactics(list); }
  void operator()(const LayerNormGradient&) { add_norm_cuda_tactics(list); }
  void operator()(const Pool&) { add_pool_cuda_tactics(list); }
  void operator()(const AdaptivePool&) { add_pool_cuda_tactics(list); }
  void operator()(const PoolGradient&) { add_pool_cuda_tactics(list); }
  void operator()(const Resize&) { add_resize_cuda_tactics(list); }
  void operator()(const Iota&) { add_fill_cuda_tactics(list); }
  void operator()(const Fill&) { add_fill_cuda_tactics(list); }
  void operator()(const Cumulate&) { add_cumulate_cuda_tactics(list); }
  void operator()(const TopK&) { add_sort_cuda_tactics(list); }
  void operator()(const Sort&) { add_sort_cuda_tactics(list); }
  void operator()(const Reshape&) { add_layout_cuda_tactics(list); }
  void operator()(const Permute&) { add_layout_cuda_tactics(list); }
  void operator()(const Expand&) { add_layout_cuda_tactics(list); }
  void operator()(const Slice&) { add_layout_cuda_tactics(list); }
  void operator()(const HostCall&) {}
  void operator()(const If&) {}
  void operator()(const While&) {}
  void operator()(const Call&) {}
  void operator()(const std::monostate&) {}
};

}  // namespace

const TacticList& cuda_tactics(const Op& op) {
  static const ListTable<CudaLists> table;
  return table[op];
}

}  // namespace tuyere
