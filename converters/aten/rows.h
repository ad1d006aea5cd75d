// SPDX-License-Identifier: Apache-2.0
// The families of ATen rows, one file each, and the helpers they share. table.cpp calls them in order.
#pragma once
#include "converters/convert.h"

namespace tuyere {

void add_unary(ConverterTable& t);
void add_binary(ConverterTable& t);
void add_compare(ConverterTable& t);
void add_activations(ConverterTable& t);
void add_select(ConverterTable& t);
void add_reductions(ConverterTable& t);
void add_softmax(ConverterTable& t);
void add_norms(ConverterTable& t);
void add_matmul(ConverterTable& t);
void add_recurrent(ConverterTable& t);
void add_attention(ConverterTable& t);
void add_conv(ConverterTable& t);
void add_pool(ConverterTable& t);
void add_views(ConverterTable& t);
void add_slices(ConverterTable& t);
void add_join(ConverterTable& t);
void add_pad(ConverterTable& t);
void add_index(ConverterTable& t);
void add_scatter(ConverterTable& t);
void add_create(ConverterTable& t);
void add_order(ConverterTable& t);
void add_resize(ConverterTable& t);
void add_copy(ConverterTable& t);
void add_control(ConverterTable& t);

using ConvertFn = void (*)(Convert&);
/// The same row under several names.
void add_each(ConverterTable& t, std::initializer_list<const char*> ops, ConvertFn convert);

int64_t rank_of(const Convert& c, TensorId x);
/// A list argument of `count` ints; one int stands for all, an empty or missing list for `fallback` each.
std::vector<int64_t> spread(const Convert& c, std::string_view arg, size_t count, int64_t fallback);
/// Adds a layer that not every device and type has kernels for: refuses it where no candidate takes it, and PyTorch computes the node.
std::vector<TensorId> add_native(Convert& c, Op op, std::vector<TensorId> inputs);
/// A tensor of one value in the recorded type of output 0.
TensorId filled(Convert& c, double value);
/// A vector as [C,1,...]: broadcasts along dim 1 of a tensor of rank `rank`.
TensorId per_channel(Convert& c, TensorId x, int64_t rank);

}  // namespace tuyere
