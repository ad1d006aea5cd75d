// SPDX-License-Identifier: Apache-2.0
// Loops over short dense arrays, compiled for several instruction sets and picked at run time (Highway).
#pragma once
#include <cstdint>
#include <string_view>

#include "common/dtype.h"
#include "kernels/api/program.h"

namespace tuyere::cpu {

/// out[i] = f(a[i], b[i], c[i]) for i < n. The types are those of the instruction; unused arguments are null. out may equal an argument.
using TileFn = void (*)(const void* a, const void* b, const void* c, void* out, int64_t n);

/// Functions that exist for integers and booleans only.
constexpr bool is_bitwise(std::string_view name) { return name.starts_with("bitwise_"); }

/// The loop for f32 arguments (where: bool, f32, f32). Comparisons write bool. Transcendental functions are within 3 ulp of the exact value.
TileFn f32_function(Fn fn);
/// a * b + c, rounded once where the machine can.
TileFn f32_multiply_add();
/// The loop for arguments of another compute type: f64, i32, i64, bool.
TileFn generic_function(Fn fn, DType type);

/// Dense rows of n values: f32, f16, bf16, bool and i32 storage to f32, and f32 to f32, f16 and bf16. `in_row`, `out_row`: elements from one row to the next.
void to_f32(DType storage, const void* in, int64_t in_row, float* out, int64_t out_row, int64_t rows, int64_t n);
void from_f32(DType storage, const float* in, int64_t in_row, void* out, int64_t out_row, int64_t rows, int64_t n);

}  // namespace tuyere::cpu
