// SPDX-License-Identifier: Apache-2.0
// Attention as the chain of operations that cuDNN compiles into one kernel:
//   s = q k^T; s = s * scale; s = s + bias; s = row >= column ? s : -inf; e = exp(s - max(s)); p = e / sum(e); o = p v
#ifdef TUYERE_WITH_CUDA
#include <cmath>

#include "kernels/run/cudnn_plan.h"

namespace tuyere {
namespace {

/// Appends operations to a graph; tensors are named by their number.
class Chain {
 public:
  Chain(const Cudnn& api, CudnnGraph& graph) : api_(api), graph_(graph) {}

  Result<int> scalar(float value) {
    TRY_ASSIGN(CudnnDescriptor d, CudnnDescriptor::make(api_, CUDNN_BACKEND_TENSOR_DESCRIPTOR));
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    const std::vector<int64_t> ones(4, 1);
    const int64_t uid = CudnnGraph::uid(static_cast<int>(graph_.tensors.size())), alignment = sizeof(float);
    const bool by_value = true;
    TRY(d.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type));
    TRY(d.set(CUDNN_ATTR_TENSOR_DIMENSIONS, ones));
    TRY(d.set(CUDNN_ATTR_TENSOR_STRIDES, ones));
    TRY(d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, uid));
    TRY(d.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, alignment));
    TRY(d.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, by_value));
    TRY(d.finalize("cuDNN scalar"));
    graph_.tensors.push_back(std::move(d));
    graph_.scalars.push_back(value);
    graph_.scalar_uids.push_back(uid);
    return static_cast<int>(graph_.tensors.size()) - 1;
  }

  Status matmul(int a, int b, int c) {
    TRY_ASSIGN(CudnnDescriptor detail, CudnnDescriptor::make(api_, CUDNN_BACKEND_MATMUL_DESCRIPTOR));
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    TRY(detail.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, compute));
    TRY(detail.finalize("cuDNN matmul"));
    TRY_ASSIGN(CudnnDescriptor op, CudnnDescriptor::make(api_, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR));
    TRY(op.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, graph_.tensors[a]));
    TRY(op.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, graph_.tensors[b]));
    TRY(op.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, graph_.tensors[c]));
    TRY(op.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, detail));
    return add(std::move(detail), std::move(op), "cuDNN matmul operation");
  }

  /// y = x (mode) b, or by t. b, t: -1 when the mode has no such operand; axis: of an index that is generated.
  Result<int> pointwise(cudnnPointwiseMode_t mode, DType type, const std::vector<int64_t>& dims, int x, int b = -1, int t = -1, int64_t axis = -1) {
    TRY_ASSIGN(const int y, add_virtual(api_, graph_, type, dims));
    TRY_ASSIGN(CudnnDescriptor detail, CudnnDescriptor::make(api_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR));
    const cudnnDataType_t compute = type == DType::Bool ? CUDNN_DATA_BOOLEAN : CUDNN_DATA_FLOAT;
    TRY(detail.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode));
    TRY(detail.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, compute));
    if (axis >= 0) TRY(detail.set(CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, axis));
    TRY(detail.finalize("cuDNN pointwise"));
    TRY_ASSIGN(CudnnDescriptor op, CudnnDescriptor::make(api_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR));
    TRY(op.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, detail));
    TRY(op.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, graph_.tensors[x]));
    if (b >= 0) TRY(op.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, graph_.tensors[b]));
    if (t >= 0) TRY(op.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, graph_.tensors[t]));
    TRY(op.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, graph_.tensors[y]));
    TRY(add(std::move(detail), std::move(op), "cuDNN pointwise operation"));
    return y;
  }

  Result<int> reduction(cudnnReduceTensorOp_t mode, const std::vector<int64_t>& dims, int x) {
    TRY_ASSIGN(const int y, add_virtual(api_, graph_, DType::F32, dims));
    TRY_ASSIGN(CudnnDescriptor detail, CudnnDescriptor::make(api_, CUDNN_BACKEND_REDUCTION_DESCRIPTOR));
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    TRY(detail.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, compute));
    TRY(detail.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, mode));
    TRY(detail.finalize("cuDNN reduction"));
    TRY_ASSIGN(CudnnDescriptor op, CudnnDescriptor::make(api_, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR));
    TRY(op.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, detail));
    TRY(op.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, graph_.tensors[x]));
    TRY(op.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, graph_.tensors[y]));
    TRY(add(std::move(detail), std::move(op), "cuDNN reduction operation"));
    return y;
  }

 private:
  Status add(CudnnDescriptor detail, CudnnDescriptor op, const char* what) {
    TRY(op.finalize(what));
    graph_.details.push_back(std::move(detail));
    graph_.operations.push_back(std::move(op));
    return Status::ok();
  }

  const Cudnn& api_;
  CudnnGraph& graph_;
};

}  // namespace

Status add_attention(const Cudnn& api, CudnnGraph& graph, const CudnnStep& step, const CudnnSizes& sizes) {
  const CudnnAttention& a = *step.attention;
  const std::vector<int64_t>&q = sizes.tensors[a.q].dims, &k = sizes.tensors[a.k].dims;
  const std::vector<int64_t> scores{q[0], q[1], q[2], k[3]}, rows{q[0], q[1], q[2], 1};
  constexpr DType F = DType::F32;
  Chain chain(api, graph);
  TRY_ASSIGN(int s, add_virtual(api, graph, F, scores));
  TRY(chain.matmul(a.q, a.k, s));
  TRY_ASSIGN(const int scale, chain.scalar(static_cast<float>(a.scale)));
  TRY_ASSIGN(s, chain.pointwise(CUDNN_POINTWISE_MUL, F, scores, s, scale));
  if (a.bias >= 0) {
    TRY_ASSIGN(s, chain.pointwise(CUDNN_POINTWISE_ADD, F, scores, s, a.bias));
  }
  if (a.causal) {
    TRY_ASSIGN(const int row, chain.pointwise(CUDNN_POINTWISE_GEN_INDEX, DType::I32, scores, s, -1, -1, 2));
    TRY_ASSIGN(const int column, chain.pointwise(CUDNN_POINTWISE_GEN_INDEX, DType::I32, scores, s, -1, -1, 3));
    TRY_ASSIGN(const int allowed, chain.pointwise(CUDNN_POINTWISE_CMP_GE, DType::Bool, scores, row, column));
    TRY_ASSIGN(const int never, chain.scalar(-INFINITY));
    TRY_ASSIGN(s, chain.pointwise(CUDNN_POINTWISE_BINARY_SELECT, F, scores, s, never, allowed));
  }
  TRY_ASSIGN(const int top, chain.reduction(CUDNN_REDUCE_TENSOR_MAX, rows, s));
  TRY_ASSIGN(s, chain.pointwise(CUDNN_POINTWISE_SUB, F, scores, s, top));
  TRY_ASSIGN(s, chain.pointwise(CUDNN_POINTWISE_EXP, F, scores, s));
  TRY_ASSIGN(const int sum, chain.reduction(CUDNN_REDUCE_TENSOR_ADD, rows, s));
  // Nobody reads the logarithm of the sums, but without it cuDNN does not know the chain.
  TRY_ASSIGN(const int log, chain.pointwise(CUDNN_POINTWISE_LOG, F, rows, sum));
  TRY(chain.pointwise(CUDNN_POINTWISE_ADD, F, rows, top, log).status());
  TRY_ASSIGN(s, chain.pointwise(CUDNN_POINTWISE_DIV, step.tensors[a.q].dtype, scores, s, sum));
  return chain.matmul(s, a.v, a.o);
}

}  // namespace tuyere
#endif
