// SPDX-License-Identifier: Apache-2.0
// Transpositions of blocks of elements of 1, 2, 4 or 8 bytes, compiled for several instruction sets.
#pragma once
#include <cstdint>

namespace tuyere::cpu {

/// out[c, r] = in[r, c]; row strides in elements.
void transpose(const uint8_t* in, int64_t in_stride, uint8_t* out, int64_t out_stride, int64_t rows, int64_t cols);
void transpose(const uint16_t* in, int64_t in_stride, uint16_t* out, int64_t out_stride, int64_t rows, int64_t cols);
void transpose(const uint32_t* in, int64_t in_stride, uint32_t* out, int64_t out_stride, int64_t rows, int64_t cols);
void transpose(const uint64_t* in, int64_t in_stride, uint64_t* out, int64_t out_stride, int64_t rows, int64_t cols);
void transpose(const float* in, int64_t in_stride, float* out, int64_t out_stride, int64_t rows, int64_t cols);

}  // namespace tuyere::cpu
