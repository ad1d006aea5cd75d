// SPDX-License-Identifier: Apache-2.0
// The table of all ATen rows, and the helpers the families share.
#include "common/error.h"
#include "converters/aten/rows.h"

namespace tuyere {

void add_each(ConverterTable& t, std::initializer_list<const char*> ops, ConvertFn convert) {
  for (const char* op : ops) t.add(op, convert);
}

int64_t rank_of(const Convert& c, TensorId x) { return static_cast<int64_t>(c.type(x).shape.size()); }

std::vector<int64_t> spread(const Convert& c, std::string_view arg, size_t count, int64_t fallback) {
  std::vector<int64_t> out = c.has(arg) ? c.integers(arg) : std::vector<int64_t>{};
  if (out.empty()) out.assign(1, fallback);
  if (out.size() == 1) out.assign(count, out[0]);
  USER_CHECK(out.size() == count, "argument '" << arg << "' has " << out.size() << " entries for " << count << " dimensions");
  return out;
}

TensorId filled(Convert& c, double value) { return c.add(Fill{.type = c.out_type().dtype, .shape = c.out_type().shape, .value = value}, {}); }

TensorId per_channel(Convert& c, TensorId x, int64_t rank) {
  Shape shape = c.type(x).shape;
  USER_CHECK(shape.size() == 1, "a vector with one entry per channel is needed, got " << str(shape));
  shape.insert(shape.end(), rank - 2, Dim(1));
  return c.reshape(x, shape);
}

namespace {

ConverterTable make_table() {
  ConverterTable t;
  add_unary(t);
  add_binary(t);
  add_compare(t);
  add_activations(t);
  add_select(t);
  add_reductions(t);
  add_softmax(t);
  add_norms(t);
  add_matmul(t);
  add_recurrent(t);
  add_attention(t);
  add_conv(t);
  add_pool(t);
  add_views(t);
  add_slices(t);
  add_join(t);
  add_pad(t);
  add_index(t);
  add_scatter(t);
  add_create(t);
  add_order(t);
  add_resize(t);
  add_copy(t);
  add_control(t);
  return t;
}

}  // namespace

const ConverterTable& aten_table() {
  static const ConverterTable table = make_table();
  return table;
}

}  // namespace tuyere
