// SPDX-License-Identifier: Apache-2.0
// How element types are spelled in generated CUDA source, and the source text that defines them. No header of the CUDA toolkit is needed.
#pragma once
#include <string>

#include "common/dtype.h"
#include "kernels/api/tactic.h"

namespace tuyere::codegen {

/// The storage type of one element: "float", "tg_half", "unsigned char", "bool", ...
std::string storage_ctype(DType type);
/// The type arithmetic on it is done in: "float", "double", "int", "long long", "bool".
std::string compute_ctype(DType type);
/// The type sums are kept in: "float", "double" or "long long".
std::string accumulator_ctype(DType type);
/// Bytes of one element; INTERNAL_CHECKs that it is a whole number.
int size_of(DType type);
/// No when a tensor's elements are smaller than a byte: those are read by the matrix multiplications only.
Support whole_byte_types(const Problem& problem);

/// Definitions of tg_half, tg_bf16, tg_f8e4m3, tg_f8e5m2, tg_cvt<To>(value), vector loads and stores, integer division.
const char* types_prelude();
/// "#define TG_ROUGH" when every output is a float of at most 16 bits, so that the prelude of programs may leave out what rounding hides; else "".
const char* rough_text(const Problem& problem);
/// `unsigned tg_pair_max(unsigned, unsigned)` of two f16 or bf16 at a time: NaN where either is, or the other where one is. tg_pair_least: what it starts from.
std::string pair_maximum(DType type, bool keeps_nan);
/// Warp and block level helpers: shuffles of structs, block-wide exchange.
const char* warp_prelude();

}  // namespace tuyere::codegen
