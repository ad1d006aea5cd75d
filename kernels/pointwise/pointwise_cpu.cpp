// SPDX-License-Identifier: Apache-2.0
// own.pointwise.tile: programs over tiles of strided tensors of any broadcast pattern.
#include "kernels/cpu/cpu_kernel.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/strided_copy.h"
#include "kernels/cpu/views.h"
#include "kernels/pointwise/short_loop.h"
#include "kernels/pointwise/tile_cpu.h"
#include "kernels/pointwise/tile_loop.h"

namespace tuyere::cpu {
namespace {

int64_t element_cost(const Program& program) { return 1 + static_cast<int64_t>(program.body.size()); }

std::unique_ptr<Executable> prepare_pointwise(const CpuProblem& p) {
  const auto& op = attrs<Pointwise>(p);
  const View out(p.args.out[0]);
  if (op.program.is_identity() && p.inputs() == 1 && p.outputs() == 1 && p.args.in[0].dtype == out.dtype) {
    return executable([copy = StridedCopy(out, View(p.args.in[0]).broadcast_to(out), bits(out.dtype) / 8)](void* const* ptr) { copy.run(ptr[1], ptr[0]); });
  }
  std::vector<View> operands;
  std::vector<DType> in_types, out_types;
  for (const TensorView& t : p.args.out) {
    operands.emplace_back(t);
    out_types.push_back(t.dtype);
  }
  for (const TensorView& t : p.args.in) {
    operands.push_back(View(t).broadcast_to(out));
    in_types.push_back(t.dtype);
  }
  const int inputs = p.inputs(), outputs = p.outputs();
  const auto arrange = [inputs, outputs](void* const* ptr) {
    std::array<void*, TileLoop::kMaxOperands> data{};
    for (int k = 0; k < outputs; ++k) data[k] = ptr[inputs + k];
    for (int k = 0; k < inputs; ++k) data[outputs + k] = ptr[k];
    return data;
  };
  if (auto shorts = ShortLoop::of(op.program, out, operands)) {
    return executable([loop = std::move(*shorts), arrange](void* const* ptr) { loop.run(arrange(ptr).data()); });
  }
  auto loop = std::make_shared<TileLoop>(TileProgram(op.program, in_types, out_types), out, operands, p.outputs(), element_cost(op.program));
  return executable([loop, arrange](void* const* ptr) { loop->run(arrange(ptr).data()); });
}

}  // namespace

void add_pointwise_kernels(CpuKernelTable& table) { table.push_back({"own.pointwise.tile", prepare_pointwise}); }

}  // namespace tuyere::cpu
