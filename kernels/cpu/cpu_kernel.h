// SPDX-License-Identifier: Apache-2.0
// What a CPU kernel is: a name, and a function that prepares a step for concrete shapes.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/error.h"
#include "kernels/api/ops.h"
#include "kernels/api/step.h"

namespace tuyere::cpu {

/// One step to prepare: the operator, the tactic's configuration and the concrete tensors. Only valid during prepare.
struct CpuProblem {
  const Op& op;
  const std::string& config;
  const PrepareArgs& args;
  int inputs() const { return static_cast<int>(args.in.size()); }
  int outputs() const { return static_cast<int>(args.out.size()); }
  /// Position of the workspace in the pointer list.
  int workspace_slot() const { return inputs() + outputs(); }
};

/// Throws Error when the step cannot be prepared; the executor turns it into a Status.
using CpuPrepare = std::unique_ptr<Executable> (*)(const CpuProblem&);
/// Workspace bytes for these shapes.
using CpuWorkspace = int64_t (*)(const CpuProblem&);

struct CpuKernel {
  std::string_view name;
  CpuPrepare prepare;
  CpuWorkspace workspace = nullptr;  // none: the spec's expression
};
using CpuKernelTable = std::vector<CpuKernel>;

/// An Executable from a callable `void(void* const* pointers)`.
template <class F>
class CallableExecutable final : public Executable {
 public:
  explicit CallableExecutable(F f) : f_(std::move(f)) {}
  Status run(void* const* pointers, void*) noexcept override {
    if constexpr (std::is_same_v<decltype(f_(pointers)), Status>) {
      return f_(pointers);
    } else {
      f_(pointers);
      return Status::ok();
    }
  }

 private:
  F f_;
};
template <class F>
std::unique_ptr<Executable> executable(F f) {
  return std::make_unique<CallableExecutable<F>>(std::move(f));
}

/// `bytes` of zeros, aligned to 256 bytes, on huge pages where they are many.
std::shared_ptr<void> host_memory(size_t bytes);
/// A kernel's own form of the constant input `k`. `make` runs once per engine and version of the weight; `layout` tells this form from the others.
std::shared_ptr<void> packed_constant(const CpuProblem& p, size_t k, const std::string& layout, const std::function<std::shared_ptr<void>()>& make);

/// The attributes of the problem's operator; INTERNAL_CHECKs the kind.
template <class S>
const S& attrs(const CpuProblem& p) {
  const S* s = std::get_if<S>(&p.op);
  INTERNAL_CHECK(s != nullptr, "kernel called with the operator " << name(p.op));
  return *s;
}

// The kernels of each family, in kernels/<family>/.
#define TUYERE_CPU_FAMILIES(X) \
  X(pointwise) X(reduce) X(softmax) X(norm) X(matmul) X(conv) X(pool) X(recurrent) X(attention) X(layout) X(gather) X(fill) X(cumulate) X(sort) X(resize)
#define TUYERE_DECLARE(family) void add_##family##_references(CpuKernelTable& table);
TUYERE_CPU_FAMILIES(TUYERE_DECLARE)
#undef TUYERE_DECLARE
// The fast ones.
void add_pointwise_kernels(CpuKernelTable& table);
void add_reduce_kernels(CpuKernelTable& table);
void add_softmax_kernels(CpuKernelTable& table);
void add_norm_kernels(CpuKernelTable& table);
void add_recurrent_kernels(CpuKernelTable& table);
void add_attention_kernels(CpuKernelTable& table);
void add_layout_kernels(CpuKernelTable& table);
void add_gather_kernels(CpuKernelTable& table);
void add_resize_kernels(CpuKernelTable& table);
void add_pool_kernels(CpuKernelTable& table);
void add_arg_reduce_kernels(CpuKernelTable& table);
void add_fill_kernels(CpuKernelTable& table);
void add_cumulate_kernels(CpuKernelTable& table);
void add_sort_kernels(CpuKernelTable& table);

}  // namespace tuyere::cpu
