// SPDX-License-Identifier: Apache-2.0
// Matrix products. Weights stay as they are: a transposed operand is an attribute of MatMul, a bias an input of its epilogue.
#include "common/error.h"
#include "converters/aten/rows.h"

namespace tuyere {
namespace {

/// out = add * beta + alpha * (a @ b) as an epilogue over the products (input 0) and the addend (input 1).
Program scaled_sum(DType compute, DType addend, double alpha, double beta) {
  Program p{.inputs = {compute, compute_type(addend)}};
  int product = 0, other = compute_type(addend) == compute ? 1 : p.cast(1, compute);
  if (alpha != 1) product = p.add(Fn::mul, {product, p.constant(alpha, compute)});
  if (beta != 1) other = p.add(Fn::mul, {other, p.constant(beta, compute)});
  p.outputs = {static_cast<int16_t>(p.add(Fn::add, {product, other}))};
  return p;
}

/// The type products are accumulated and finished in.
DType product_type(DType type) { return is_float(type) ? compute_type(type) : type == DType::I64 ? DType::I64 : DType::I32; }

Program scaled(DType compute, double alpha) {
  Program p{.inputs = {compute}};
  if (alpha == 1) return {};
  p.outputs = {static_cast<int16_t>(p.add(Fn::mul, {0, p.constant(alpha, compute)}))};
  return p;
}

/// beta * addend + alpha * a @ b. beta 0 ignores the addend, even its NaNs.
TensorId add_product(Convert& c, TensorId addend, TensorId a, TensorId b, bool trans_b, double alpha, double beta) {
  DType type = c.out_type().dtype, compute = product_type(type);
  MatMul op{.trans_b = trans_b, .type = type};
  if (beta == 0) {
    op.epilogue = scaled(compute, alpha);
    return c.add(op, {a, b});
  }
  op.epilogue = scaled_sum(compute, c.type(addend).dtype, alpha, beta);
  return c.add(op, {a, b, addend});
}

void product(Convert& c, std::string_view a, std::string_view b) { c.out(c.add(MatMul{.type = c.out_type().dtype}, {c.tensor(a), c.tensor(b)})); }

double factor(const Convert& c, std::string_view name) { return c.has(name) ? c.number(name) : 1; }

/// addmm, baddbmm: the addend broadcasts.
template <int left>
void addmm(Convert& c) {
  static constexpr const char* kNames[][2] = {{"mat1", "mat2"}, {"batch1", "batch2"}};
  c.out(add_product(c, c.tensor("self"), c.tensor(kNames[left][0]), c.tensor(kNames[left][1]), false, factor(c, "alpha"), factor(c, "beta")));
}

/// beta * self + alpha * sum over the batch of batch1 @ batch2: the batch moves into the inner size.
void addbmm(Convert& c) {
  TensorId a = c.tensor("batch1"), b = c.tensor("batch2");
  Shape as = c.type(a).shape, bs = c.type(b).shape;
  a = c.reshape(c.permute(a, {1, 0, 2}), {as[1], as[0] * as[2]});
  b = c.reshape(b, {bs[0] * bs[1], bs[2]});
  c.out(add_product(c, c.tensor("self"), a, b, false, factor(c, "alpha"), factor(c, "beta")));
}

/// beta * self + alpha * mat @ vec
void addmv(Convert& c) {
  TensorId vec = c.tensor("vec"), self = c.tensor("self");
  Shape rows = c.out_type().shape;
  TensorId column = c.reshape(vec, {c.type(vec).shape[0], 1});
  if (rank_of(c, self) == 1) self = c.reshape(self, {c.type(self).shape[0], 1});
  c.out(c.reshape(add_product(c, self, c.tensor("mat"), column, false, factor(c, "alpha"), factor(c, "beta")), rows));
}

/// x @ w^T + b over the last dimension, any number of dimensions before it.
void linear(Convert& c) {
  TensorId x = c.tensor("input"), w = c.tensor("weight");
  int64_t rank = rank_of(c, x);
  if (rank == 1) x = c.reshape(x, {1, c.type(x).shape[0]});
  bool vector_weight = rank_of(c, w) == 1;
  if (vector_weight) w = c.reshape(w, {1, c.type(w).shape[0]});
  TensorId y;
  if (std::optional<TensorId> bias = c.maybe_tensor("bias")) {
    y = add_product(c, *bias, x, w, true, 1, 1);
  } else {
    y = c.add(MatMul{.trans_b = true, .type = c.out_type().dtype}, {x, w});
  }
  c.out(rank == 1 || vector_weight ? c.reshape(y, c.out_type().shape) : y);
}

/// torch.matmul: a vector is a row on the left and a column on the right; batch dimensions broadcast.
void matmul(Convert& c) {
  TensorId a = c.tensor("self"), b = c.tensor("other");
  if (rank_of(c, a) == 1) a = c.reshape(a, {1, c.type(a).shape[0]});
  if (rank_of(c, b) == 1) b = c.reshape(b, {c.type(b).shape[0], 1});
  c.out(c.reshape(c.add(MatMul{.type = c.out_type().dtype}, {a, b}), c.out_type().shape));
}

void vector_product(Convert& c) {
  TensorId a = c.tensor("self"), b = c.has("vec") ? c.tensor("vec") : c.tensor("tensor");
  if (rank_of(c, a) == 1) a = c.reshape(a, {1, c.type(a).shape[0]});
  b = c.reshape(b, {c.type(b).shape[0], 1});
  c.out(c.reshape(c.add(MatMul{.type = c.out_type().dtype}, {a, b}), c.out_type().shape));
}

}  // namespace

void add_matmul(ConverterTable& t) {
  t.add("aten::mm", [](Convert& c) { product(c, "self", "mat2"); });
  t.add("aten::bmm", [](Convert& c) { product(c, "self", "mat2"); });
  add_each(t, {"aten::matmul", "aten::linalg_matmul"}, matmul);
  t.add("aten::addmm", addmm<0>);
  t.add("aten::baddbmm", addmm<1>);
  t.add("aten::addbmm", addbmm);
  t.add("aten::addmv", addmv);
  t.add("aten::linear", linear);
  add_each(t, {"aten::mv", "aten::dot"}, vector_product);
}

}  // namespace tuyere
