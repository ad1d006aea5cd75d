// SPDX-License-Identifier: Apache-2.0
// A cudnn step of concrete sizes: its operation graph, the engines that can run it, and a built plan.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "kernels/run/cudnn_library.h"
#include "kernels/run/cudnn_step.h"

namespace tuyere {

struct CudnnSizes {
  struct Tensor {
    std::vector<int64_t> dims, strides;  // canonical
  };
  std::vector<Tensor> tensors;
  std::vector<int64_t> all_dims() const;
  bool empty() const;  // some tensor has no elements
};
Result<CudnnSizes> concrete_sizes(const CudnnStep& step, const Symbols& symbols);

/// The operation graph with everything it refers to.
struct CudnnGraph {
  std::vector<CudnnDescriptor> tensors, details, operations;
  /// Numbers that operations read from host memory when a plan is executed, with the ids of their tensors.
  std::vector<float> scalars;
  std::vector<int64_t> scalar_uids;
  CudnnDescriptor graph;
  /// Unique id of a tensor in the graph.
  static int64_t uid(int tensor) { return tensor + 1; }
};
/// Appends a tensor.
Status add_tensor(const Cudnn& api, CudnnGraph& graph, const CudnnTensor& tensor, const CudnnSizes::Tensor& sizes);
/// Appends the operations of step.attention, whose tensors are there already.
Status add_attention(const Cudnn& api, CudnnGraph& graph, const CudnnStep& step, const CudnnSizes& sizes);
/// Appends a tensor that no memory holds (dense, row-major) and returns its number.
Result<int> add_virtual(const Cudnn& api, CudnnGraph& graph, DType type, const std::vector<int64_t>& dims);
/// Without a handle (nullptr), the graph of a step can be made and asked for its engines but not be planned.
Result<std::unique_ptr<CudnnGraph>> make_graph(const Cudnn& api, cudnnHandle_t handle, const CudnnStep& step, const CudnnSizes& sizes);

/// Engine configurations by the heuristics of `mode` that keep the step's precision and determinism.
Result<std::vector<CudnnDescriptor>> heuristic_configs(const Cudnn& api, const CudnnGraph& graph, cudnnBackendHeurMode_t mode, const CudnnStep& step);
/// "eng=41 k2=0 k13=1"
Result<std::string> config_text(const Cudnn& api, const CudnnDescriptor& config);

/// Immutable once made: threads run it with their own handles.
struct CudnnPlan {
  std::unique_ptr<CudnnGraph> graph;
  std::vector<CudnnDescriptor> parts;  // engine, knobs
  CudnnDescriptor config, plan;
  int64_t workspace = 0;
  std::vector<int64_t> uids;   // of the tensors in memory
  std::vector<int> positions;  // of theirs in the step's pointer list
};
/// With the step's configuration when it was chosen for these sizes by this version of the library, otherwise the heuristics' first that builds.
/// `strict`: an error when that configuration does not build, instead of the heuristics.
Result<std::shared_ptr<const CudnnPlan>> build_plan(const Cudnn& api, cudnnHandle_t handle, const CudnnStep& step, const CudnnSizes& sizes, bool strict);

}  // namespace tuyere
