// SPDX-License-Identifier: Apache-2.0
// What a reduction keeps while it goes through its elements, as CUDA text.
#pragma once
#include <string>

#include "kernels/reduce/reduce_gen.h"

namespace tuyere::codegen {

bool is_arg(const ReduceForm& form);
/// One of the elements, or its place, is the result.
bool is_extreme(const ReduceForm& form);
bool seeks_largest(const ReduceForm& form);

/// A: type of sums, X: type of values, F: type of means, and the struct Acc: add(x, position), merge(part), get(count). Acc is whole words.
std::string reduce_definitions(const ReduceForm& form);
/// The type of Acc::get.
std::string reduce_result_type(const ReduceForm& form);

}  // namespace tuyere::codegen
