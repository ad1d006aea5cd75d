// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

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

/// 1 / deviation of the row whose parts begin at `first`.
double row_factor(const NormMatMul& op, const View& parts, const void* data, const Ix& first) {
  const int part = parts.rank - 2, value = parts.rank - 1;
  const double count = static_cast<double>(parts.shape[part]) * kNormPart;
  Ix at = first;
  double total = 0, squares = 0;
  const auto each = [&](auto f) {
    for (int64_t p = 0; p < parts.shape[part]; ++p) {
      at[part] = p, at[value] = 0;
      const double sum = parts.load(data, at);
      at[value] = 1;
      f(sum, parts.load(data, at));
    }
  };
  each([&](double sum, double) { total += sum; });
  const double mean = op.kind == NormKind::layer ? total / count : 0;
  each([&](double sum, double deviations) { squares += deviations + kNormPart * (sum / kNormPart - mean) * (sum / kNormPart - mean); });
  return 1 / std::sqrt(std::max(0.0, squares / count) + op.eps);
}

/// Sums and squared deviations of the parts of rows that were stored.
void store_parts(const View& x, const void* data, const View& parts, void* to) {
  Ix sizes = parts.shape;
  sizes[parts.rank - 1] = 1;
  for_each_index(parts.rank, sizes, [&](const Ix& at) {
    Ix from = at;
    double sum = 0, squares = 0;
    for (int round = 0; round < 2; ++round)
      for (int64_t j = 0; j < kNormPart; ++j) {
        from[x.rank - 1] = at[x.rank - 1] * kNormPart + j;
        const double value = x.load(data, from), apart = value - sum / kNormPart;
        (round == 0 ? sum : squares) += round == 0 ? value : apart * apart;
      }
    Ix place = at;
    parts.store(to, place, sum);
    place[parts.rank - 1] = 1;
    parts.store(to, place, squares);
  });
}

std::unique_ptr<Executable> prepare_norm_matmul(const CpuProblem& p) {
  const auto& op = attrs<NormMatMul>(p);
  const View out(p.args.out[0]), a = matmul_operand(p.args.in[0], false, out), b = matmul_operand(p.args.in[1], op.trans_b, out);
  const View b2 = op.gated ? matmul_operand(p.args.in[2], op.trans_b, out) : b;
  const int parts_in = p.inputs() - 1, parts_out = static_cast<int>(p.args.out.size()) - 1, inputs = p.inputs();
  const View in(p.args.in[parts_in]), sums(p.args.out[parts_out]);
  RefEpilogue epilogue(op.epilogue, p, op.matrices(), 0, op.mains());
  const int m = out.rank - 2, n = out.rank - 1;
  const int64_t depth = a.shape[n];
  return executable([=](void* const* ptr) mutable {
    for_each_index(out.rank, out.shape, [&](const Ix& o) {
      Ix i = o, j = o;
      double mains[3] = {0, 0, 0};
      const int products = op.gated ? 2 : 1;
      for (int64_t k = 0; k < depth; ++k) {
        i[n] = k, j[m] = k;
        for (int q = 0; q < products; ++q) mains[q] += a.load(ptr[0], i) * (q ? b2 : b).load(ptr[1 + q], j);
      }
      if (op.normalizes) mains[products] = row_factor(op, in, ptr[parts_in], o);
      epilogue.store_all(ptr, o, std::span<const double>(mains, static_cast<size_t>(op.mains())));
    });
    if (op.sums) store_parts(out, ptr[inputs], sums, ptr[inputs + parts_out]);
  });
}

}  // namespace

void add_matmul_references(CpuKernelTable& table) {
  table.push_back({"reference.matmul", prepare_matmul});
  table.push_back({"reference.gated_matmul", prepare_gated_matmul});
  table.push_back({"reference.norm_matmul", prepare_norm_matmul});
}

}  // namespace tuyere::cpu
