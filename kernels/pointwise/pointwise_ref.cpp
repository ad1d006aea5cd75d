// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

// A copy keeps every bit, whatever the type.
std::unique_ptr<Executable> prepare_copy(const CpuProblem& p) {
  const View out(p.args.out[0]), in = View(p.args.in[0]).broadcast_to(out);
  const int64_t bytes = element_bytes(out.dtype);
  return executable(
      [=](void* const* ptr) { for_each_index(out.rank, out.shape, [&](const Ix& i) { copy_element(ptr[1], out.offset(i), ptr[0], in.offset(i), bytes); }); });
}

std::unique_ptr<Executable> prepare_pointwise(const CpuProblem& p) {
  const auto& op = attrs<Pointwise>(p);
  if (op.program.is_identity() && p.inputs() == 1 && p.outputs() == 1 && p.args.in[0].dtype == p.args.out[0].dtype) return prepare_copy(p);
  RefPrologue program(op.program, p);
  std::vector<View> out;
  for (const TensorView& t : p.args.out) out.emplace_back(t);
  const int inputs = p.inputs();
  return executable([program, out, inputs](void* const* ptr) mutable {
    for_each_index(out[0].rank, out[0].shape, [&](const Ix& i) {
      const double* values = program.at(ptr, i);
      for (size_t k = 0; k < out.size(); ++k) out[k].store(ptr[inputs + k], i, values[k]);
    });
  });
}

}  // namespace

void add_pointwise_references(CpuKernelTable& table) { table.push_back({"reference.pointwise", prepare_pointwise}); }

}  // namespace tuyere::cpu
