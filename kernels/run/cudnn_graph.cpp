// SPDX-License-Identifier: Apache-2.0
#ifdef TUYERE_WITH_CUDA
#include <algorithm>
#include <optional>

#include "kernels/run/cudnn_plan.h"

namespace tuyere {
namespace {

Result<cudnnDataType_t> cudnn_type(DType type) {
  switch (type) {
    case DType::F32:
      return CUDNN_DATA_FLOAT;
    case DType::F16:
      return CUDNN_DATA_HALF;
    case DType::BF16:
      return CUDNN_DATA_BFLOAT16;
    case DType::I32:  // intermediate results of attention only
      return CUDNN_DATA_INT32;
    case DType::Bool:
      return CUDNN_DATA_BOOLEAN;
    default:
      return Status(Code::Unsupported, "cudnn steps are for f16, bf16 and f32, not " + std::string(name(type)));
  }
}

std::optional<cudnnPointwiseMode_t> pointwise_mode(const std::string& fn) {
  constexpr std::pair<const char*, cudnnPointwiseMode_t> kModes[] = {{"add", CUDNN_POINTWISE_ADD},
                                                                     {"relu", CUDNN_POINTWISE_RELU_FWD},
                                                                     {"leaky_relu", CUDNN_POINTWISE_RELU_FWD},
                                                                     {"silu", CUDNN_POINTWISE_SWISH_FWD},
                                                                     {"gelu_erf", CUDNN_POINTWISE_GELU_FWD},
                                                                     {"gelu_tanh", CUDNN_POINTWISE_GELU_APPROX_TANH_FWD},
                                                                     {"sigmoid", CUDNN_POINTWISE_SIGMOID_FWD},
                                                                     {"tanh", CUDNN_POINTWISE_TANH_FWD}};
  for (const auto& [name, mode] : kModes)
    if (fn == name) return mode;
  return std::nullopt;
}

Result<CudnnDescriptor> convolution(const Cudnn& api, const CudnnStep& step) {
  TRY_ASSIGN(CudnnDescriptor d, CudnnDescriptor::make(api, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR));
  const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  const int64_t spatial = static_cast<int64_t>(step.stride.size());
  TRY(d.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, compute));
  TRY(d.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, mode));
  TRY(d.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, spatial));
  TRY(d.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, step.dilation));
  TRY(d.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, step.stride));
  TRY(d.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, step.pad_before));
  TRY(d.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, step.pad_after));
  TRY(d.finalize("cuDNN convolution"));
  return d;
}

Status add_convolution(const Cudnn& api, CudnnGraph& graph, const CudnnStep& step) {
  TRY_ASSIGN(CudnnDescriptor conv, convolution(api, step));
  const float alpha = 1, beta = 0;
  if (step.weight_gradient) {
    TRY_ASSIGN(CudnnDescriptor op, CudnnDescriptor::make(api, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, conv));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, graph.tensors[step.x]));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, graph.tensors[step.y]));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, graph.tensors[step.w]));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_TYPE_FLOAT, alpha));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, CUDNN_TYPE_FLOAT, beta));
    TRY(op.finalize("cuDNN weight gradient"));
    graph.operations.push_back(std::move(op));
  } else if (step.transposed) {
    TRY_ASSIGN(CudnnDescriptor op, CudnnDescriptor::make(api, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, conv));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, graph.tensors[step.x]));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, graph.tensors[step.w]));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, graph.tensors[step.y]));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_TYPE_FLOAT, alpha));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, CUDNN_TYPE_FLOAT, beta));
    TRY(op.finalize("cuDNN transposed convolution"));
    graph.operations.push_back(std::move(op));
  } else {
    TRY_ASSIGN(CudnnDescriptor op, CudnnDescriptor::make(api, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, conv));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, graph.tensors[step.x]));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, graph.tensors[step.w]));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, graph.tensors[step.y]));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, alpha));
    TRY(op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, beta));
    TRY(op.finalize("cuDNN convolution operation"));
    graph.operations.push_back(std::move(op));
  }
  graph.details.push_back(std::move(conv));
  return Status::ok();
}

Status add_pointwise(const Cudnn& api, CudnnGraph& graph, const CudnnPointwise& pointwise) {
  const std::optional<cudnnPointwiseMode_t> mode = pointwise_mode(pointwise.fn);
  if (!mode) return {Code::Unsupported, "cuDNN has no pointwise operation '" + pointwise.fn + "'"};
  TRY_ASSIGN(CudnnDescriptor detail, CudnnDescriptor::make(api, CUDNN_BACKEND_POINTWISE_DESCRIPTOR));
  const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
  TRY(detail.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, *mode));
  TRY(detail.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, compute));
  if (pointwise.slope != 0) TRY(detail.set(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, CUDNN_TYPE_DOUBLE, pointwise.slope));
  TRY(detail.finalize("cuDNN pointwise"));
  TRY_ASSIGN(CudnnDescriptor op, CudnnDescriptor::make(api, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR));
  TRY(op.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, detail));
  TRY(op.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, graph.tensors[pointwise.x]));
  if (pointwise.b >= 0) TRY(op.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, graph.tensors[pointwise.b]));
  TRY(op.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, graph.tensors[pointwise.y]));
  TRY(op.finalize("cuDNN pointwise operation"));
  graph.details.push_back(std::move(detail));
  graph.operations.push_back(std::move(op));
  return Status::ok();
}

Status evaluate_all(const std::vector<Dim>& dims, const Symbols& symbols, std::vector<int64_t>* out) {
  for (const Dim& dim : dims) {
    int64_t value = 0;
    if (!dim.try_eval(symbols, &value)) return {Code::Internal, "the size " + dim.str() + " has no value for these shapes"};
    out->push_back(value);
  }
  return Status::ok();
}

}  // namespace

Status add_tensor(const Cudnn& api, CudnnGraph& graph, const CudnnTensor& tensor, const CudnnSizes::Tensor& sizes) {
  TRY_ASSIGN(CudnnDescriptor d, CudnnDescriptor::make(api, CUDNN_BACKEND_TENSOR_DESCRIPTOR));
  TRY_ASSIGN(const cudnnDataType_t type, cudnn_type(tensor.dtype));
  const int64_t uid = CudnnGraph::uid(static_cast<int>(graph.tensors.size())), alignment = tensor.alignment;
  const bool is_virtual = tensor.position < 0;
  TRY(d.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type));
  TRY(d.set(CUDNN_ATTR_TENSOR_DIMENSIONS, sizes.dims));
  TRY(d.set(CUDNN_ATTR_TENSOR_STRIDES, sizes.strides));
  TRY(d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, uid));
  TRY(d.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, alignment));
  TRY(d.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, is_virtual));
  TRY(d.finalize("cuDNN tensor"));
  graph.tensors.push_back(std::move(d));
  return Status::ok();
}

Result<int> add_virtual(const Cudnn& api, CudnnGraph& graph, DType type, const std::vector<int64_t>& dims) {
  CudnnTensor tensor;
  tensor.dtype = type;
  TRY(add_tensor(api, graph, tensor, {dims, contiguous_strides(dims)}));
  return static_cast<int>(graph.tensors.size()) - 1;
}

std::vector<int64_t> CudnnSizes::all_dims() const {
  std::vector<int64_t> all;
  for (const Tensor& tensor : tensors) all.insert(all.end(), tensor.dims.begin(), tensor.dims.end());
  return all;
}

bool CudnnSizes::empty() const {
  const std::vector<int64_t> dims = all_dims();
  return std::find(dims.begin(), dims.end(), 0) != dims.end();
}

Result<CudnnSizes> concrete_sizes(const CudnnStep& step, const Symbols& symbols) {
  CudnnSizes sizes;
  for (const CudnnTensor& tensor : step.tensors) {
    CudnnSizes::Tensor t;
    TRY(evaluate_all(tensor.dims, symbols, &t.dims));
    TRY(evaluate_all(tensor.strides, symbols, &t.strides));
    if (!step.attention) canonical_strides(t.dims, t.strides);
    sizes.tensors.push_back(std::move(t));
  }
  return sizes;
}

Result<std::unique_ptr<CudnnGraph>> make_graph(const Cudnn& api, cudnnHandle_t handle, const CudnnStep& step, const CudnnSizes& sizes) {
  auto graph = std::make_unique<CudnnGraph>();
  for (size_t i = 0; i < step.tensors.size(); ++i) TRY(add_tensor(api, *graph, step.tensors[i], sizes.tensors[i]));
  if (step.attention) {
    TRY(add_attention(api, *graph, step, sizes));
  } else {
    TRY(add_convolution(api, *graph, step));
    for (const CudnnPointwise& pointwise : step.pointwise) TRY(add_pointwise(api, *graph, pointwise));
  }
  TRY_ASSIGN(graph->graph, CudnnDescriptor::make(api, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR));
  TRY(graph->graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, graph->operations));
  if (handle) TRY(graph->graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle));
  TRY(graph->graph.finalize("cuDNN operation graph"));
  return graph;
}

}  // namespace tuyere
#endif
