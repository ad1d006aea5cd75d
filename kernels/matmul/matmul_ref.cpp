// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/reference.h"
#include "kernels/matmul/matmul_kernels.h"

namespace tuyere::cpu {

View matmul_operand(const TensorView& t, bool transpose, const View& out) {
  View v(t);
  INTERNAL_CHECK(v.rank >= 2 && out.rank >= v.rank, "matmul operand of rank " << v.rank);
  if (transpose) v = v.transposed();
  Ix target = out.shape;
  target[out.rank - 2] = v.shape[v.rank - 2];
  target[out.rank - 1] = v.shape[v.rank - 1];
  const int64_t row = v.strides[v.rank - 2], column = v.strides[v.rank - 1];
  v = v.broadcast_to(out.rank, target);
  v.strides[out.rank - 2] = row;
  v.strides[out.rank - 1] = column;
  return v;
}

namespace {

std::unique_ptr<Executable> prepare_matmul(const CpuProblem& p) {
  const auto& op = attrs<MatMul>(p);
  const View out(p.args.out[0]), a = matmul_operand(p.args.in[0], op.trans_a, out), b = matmul_operand(p.args.in[1], op.trans_b, out);
  RefEpilogue epilogue(op.epilogue, p, 2);
  const int m = out.rank - 2, n = out.rank - 1;
  const int64_t depth = a.shape[n];
  INTERNAL_CHECK(b.shape[m] == depth, "matmul depths " << depth << " and " << b.shape[m]);
  return executable([=](void* const* ptr) mutable {
    for_each_index(out.rank, out.shape, [&](const Ix& o) {
      Ix i = o, j = o;
      double sum = 0;
      for (int64_t k = 0; k < depth; ++k) {
        i[n] = k;
        j[m] = k;
        sum += a.load(ptr[0], i) * b.load(ptr[1], j);
      }
      epilogue.store(ptr, o, sum);
    });
  });
}

std::unique_ptr<Executable> prepare_gated_matmul(const CpuProblem& p) {
  const auto& op = attrs<GatedMatMul>(p);
  const View out(p.args.out[0]), a = matmul_operand(p.args.in[0], false, out);
  const View b[] = {matmul_operand(p.args.in[1], op.trans_b, out), matmul_operand(p.args.in[2], op.trans_b, out)};
  RefEpilogue epilogue(op.epilogue, p, 3, 0, 2);
  const int m = out.rank - 2, n = out.rank - 1;
  const int64_t depth = a.shape[n];
  return executable([=](void* const* ptr) mutable {
    for_each_index(out.rank, out.shape, [&](const Ix& o) {
      Ix i = o, j = o;
      double sums[2] = {0, 0};
      for (int64_t k = 0; k < depth; ++k) {
        i[n] = k, j[m] = k;
        for (int q = 0; q < 2; ++q) sums[q] += a.load(ptr[0], i) * b[q].load(ptr[1 + q], j);
      }
      epilogue.store_all(ptr, o, sums);
    });
  });
}

}  // namespace

void add_matmul_references(CpuKernelTable& table) {
  table.push_back({"reference.matmul", prepare_matmul});
  table.push_back({"reference.gated_matmul", prepare_gated_matmul});
}

}  // namespace tuyere::cpu
