// SPDX-License-Identifier: Apache-2.0
// Moves between strided memory of any storage type and dense tiles of a compute type (f32, f64, i32, i64, bool as bytes).
#pragma once
#include <cstdint>

#include "common/dtype.h"

namespace tuyere::cpu {

/// A rows x cols piece of memory; strides in elements, 0 repeats. Without initializers: kernels keep arrays of patches on the stack.
struct Patch {
  const void* data;
  int64_t row_stride, col_stride;
};

/// tile[r * cols + c] = convert(patch[r, c])
using LoadFn = void (*)(const Patch& patch, void* tile, int64_t rows, int64_t cols);
/// patch[r, c] = convert(tile[r * cols + c]); the patch is written.
using StoreFn = void (*)(const void* tile, const Patch& patch, int64_t rows, int64_t cols);
/// out[i] = convert(in[i]), dense; in and out may be the same when the sizes are.
using ConvertFn = void (*)(const void* in, void* out, int64_t n);

/// Whether tiles can hold values of this storage type (all but those packed below a byte).
bool tile_storage(DType storage);
LoadFn tile_load(DType storage, DType compute);
StoreFn tile_store(DType compute, DType storage);
ConvertFn tile_convert(DType from, DType to);        // both compute types
ConvertFn tile_round(DType compute, DType storage);  // through storage to compute_type(storage)
inline int64_t tile_bytes(DType compute) { return compute == DType::Bool ? 1 : bits(compute) / 8; }

}  // namespace tuyere::cpu
