// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul/matmul_view.h"

#include <algorithm>

namespace tuyere::matmul {
namespace {

/// Strides of the batch dims of `t` over the output's batch shape.
std::vector<Dim> batch_strides(const TensorDesc& t, const Shape& batch) {
  TensorDesc outer = t;
  outer.shape.resize(t.rank() - 2);
  outer.strides.resize(t.rank() - 2);
  return codegen::broadcast_strides(outer, batch);
}

mma::EpilogueTensor tensor(const TensorDesc& t, int position, const Shape& shape) {
  return {position, t.dtype, codegen::broadcast_strides(t, shape), t.alignment};
}

}  // namespace

Dim View::batch_count() const {
  Dim count = 1;
  for (const Dim& b : batch) count *= b;
  return count;
}

int View::workspace() const { return outs.back().position + 1; }

View view(const Problem& problem) {
  const auto* gated = std::get_if<GatedMatMul>(&problem.op);
  const MatMul op = gated ? MatMul{.trans_b = gated->trans_b, .epilogue = gated->epilogue} : std::get<MatMul>(problem.op);
  const int first_extra = gated ? 3 : 2;
  const TensorDesc &a = problem.in[0], &b = problem.in[1];
  const Shape& shape = problem.out[0].shape;
  const int rank = static_cast<int>(shape.size());
  View v;
  v.batch.assign(shape.begin(), shape.end() - 2);
  v.m = shape[rank - 2], v.n = shape[rank - 1];
  const int am = a.rank() - (op.trans_a ? 1 : 2), ak = a.rank() - (op.trans_a ? 2 : 1);
  const int bn = b.rank() - (op.trans_b ? 2 : 1), bk = b.rank() - (op.trans_b ? 1 : 2);
  v.k = a.shape[ak];
  v.a = {0, a.dtype, a.strides[am], a.strides[ak], {}, a.alignment};
  v.b = {1, b.dtype, b.strides[bn], b.strides[bk], {}, b.alignment};
  if (gated) {
    const TensorDesc& second = problem.in[2];
    v.b2 = {2, second.dtype, second.strides[bn], second.strides[bk], {}, second.alignment};
  }
  v.epilogue = op.epilogue;
  v.accumulator = a.dtype == DType::F64 ? DType::F64 : is_float(a.dtype) ? DType::F32 : DType::I64;
  const int inputs = static_cast<int>(problem.in.size());
  for (int i = first_extra; i < inputs; ++i) v.extras.push_back(tensor(problem.in[i], i, shape));
  for (size_t i = 0; i < problem.out.size(); ++i) v.outs.push_back(tensor(problem.out[i], inputs + static_cast<int>(i), shape));

  std::vector<Dim> sizes = shape;
  std::vector<Dim> ca = batch_strides(a, v.batch), cb = batch_strides(b, v.batch);
  ca.push_back(v.a.row), ca.push_back(0);
  cb.push_back(0), cb.push_back(v.b.row);
  std::vector<std::vector<Dim>*> sets{&ca, &cb};
  for (auto* list : {&v.extras, &v.outs})
    for (mma::EpilogueTensor& t : *list) sets.push_back(&t.strides);
  for (int i = rank - 4; i >= 0; --i) mma::merge_coordinates(sizes, sets, i);
  // Rows of several batches are rows of one matrix when b is the same for them.
  while (sizes.size() > 2 && (cb[sizes.size() - 3].is_const(0) || sizes[sizes.size() - 3].is_const(1)))
    if (!mma::merge_coordinates(sizes, sets, static_cast<int>(sizes.size()) - 3)) break;
  v.batch.assign(sizes.begin(), sizes.end() - 2);
  v.m = sizes[sizes.size() - 2];
  v.a.row = ca[sizes.size() - 2];
  v.a.batch.assign(ca.begin(), ca.end() - 2);
  v.b.batch.assign(cb.begin(), cb.end() - 2);
  if (v.b2) v.b2->batch = v.b.batch;
  return v;
}

mma::Epilogue epilogue(const View& view, int vec, int width) {
  mma::Epilogue e;
  e.program = view.epilogue;
  e.acc = view.accumulator;
  e.mains = view.b2 ? 2 : 1;
  e.extras = view.extras, e.outs = view.outs;
  e.coords = view.coords();
  e.vec = vec;
  e.width = width;
  return e;
}

std::string batch_names(const View& view) {
  std::string text;
  for (size_t i = 0; i < view.batch.size(); ++i) text += "b" + std::to_string(i) + ", ";
  return text;
}

std::string base(const View& view, const mma::Matrix& matrix, mma::KernelParams& params) {
  std::string text = params.pointer(matrix.position, matrix.dtype, false);
  for (size_t i = 0; i < view.batch.size(); ++i)
    if (!matrix.batch[i].is_const(0)) text += " + (TGM_IDX)b" + std::to_string(i) + " * (TGM_IDX)" + params.offset(matrix.batch[i]);
  return text;
}

mma::GemmSize gemm_size(const Problem& problem, const View& view) {
  mma::GemmSize size;
  size.m = mma::hint(view.m, problem.hints);
  size.n = mma::hint(view.n, problem.hints) * (view.b2 ? 2 : 1);
  size.k = mma::hint(view.k, problem.hints);
  size.batch = mma::hint(view.batch_count(), problem.hints);
  size.element = mma::size_of(view.a.dtype);
  size.bytes = static_cast<double>(size.batch) * (size.m * size.k + size.n * size.k) * size.element;
  for (const mma::EpilogueTensor& t : view.outs) size.bytes += static_cast<double>(size.batch) * size.m * size.n * mma::size_of(t.dtype);
  return size;
}

}  // namespace tuyere::matmul
