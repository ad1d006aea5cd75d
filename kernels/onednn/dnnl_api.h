// SPDX-License-Identifier: Apache-2.0
// The functions of oneDNN's C API that we call, looked up at run time, and owners of its objects.
#pragma once
#ifdef TUYERE_WITH_ONEDNN
#include <oneapi/dnnl/dnnl.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/dtype.h"
#include "common/error.h"

namespace tuyere::cpu {

// clang-format off
#define TUYERE_DNNL_FUNCTIONS(X)                                                                                                                      \
  X(engine_create) X(stream_create) X(stream_destroy)                                                                                                 \
  X(memory_desc_create_with_strides) X(memory_desc_create_with_tag) X(memory_desc_create_submemory) X(memory_desc_destroy) X(memory_desc_clone)       \
  X(memory_desc_get_size) X(memory_desc_equal) X(memory_desc_query) X(memory_create) X(memory_set_data_handle) X(memory_destroy)                      \
  X(primitive_attr_create) X(primitive_attr_destroy) X(primitive_attr_set_post_ops) X(primitive_attr_set_scratchpad_mode)                             \
  X(post_ops_create) X(post_ops_destroy) X(post_ops_append_eltwise) X(post_ops_append_binary) X(post_ops_append_sum)                                  \
  X(primitive_desc_destroy) X(primitive_desc_query) X(primitive_desc_query_md) X(primitive_desc_next_impl)                                            \
  X(primitive_create) X(primitive_destroy) X(primitive_execute) X(reorder_primitive_desc_create) X(matmul_primitive_desc_create)                      \
  X(convolution_forward_primitive_desc_create) X(deconvolution_forward_primitive_desc_create) X(pooling_forward_primitive_desc_create)       \
  X(convolution_backward_weights_primitive_desc_create)
// clang-format on

struct DnnlApi {
#define TUYERE_MEMBER(f) decltype(&dnnl_##f) f = nullptr;
  TUYERE_DNNL_FUNCTIONS(TUYERE_MEMBER)
#undef TUYERE_MEMBER
  dnnl_engine_t cpu = nullptr;  // lives as long as the process
};
/// Throws Error{User} when the library is missing or too old.
const DnnlApi& dnnl();

/// Throws Error{Internal} with the call's name on failure.
void dnnl_check(dnnl_status_t status, const char* what);

#define TUYERE_DNNL_HANDLE(Name, type, destroy_function)           \
  struct Name##Deleter {                                           \
    void operator()(type* p) const { dnnl().destroy_function(p); } \
  };                                                               \
  using Name = std::unique_ptr<type, Name##Deleter>;
TUYERE_DNNL_HANDLE(DnnlDesc, dnnl_memory_desc, memory_desc_destroy)
TUYERE_DNNL_HANDLE(DnnlMemory, dnnl_memory, memory_destroy)
TUYERE_DNNL_HANDLE(DnnlAttr, dnnl_primitive_attr, primitive_attr_destroy)
TUYERE_DNNL_HANDLE(DnnlPostOps, dnnl_post_ops, post_ops_destroy)
TUYERE_DNNL_HANDLE(DnnlPrimitiveDesc, dnnl_primitive_desc, primitive_desc_destroy)
TUYERE_DNNL_HANDLE(DnnlPrimitive, dnnl_primitive, primitive_destroy)
TUYERE_DNNL_HANDLE(DnnlStream, dnnl_stream, stream_destroy)
#undef TUYERE_DNNL_HANDLE

/// oneDNN's name of an element type; dnnl_data_type_undef when it has none.
dnnl_data_type_t dnnl_type(DType type);
/// Strided descriptor; no strides: the library's choice ("any").
DnnlDesc make_desc(DType type, const std::vector<int64_t>& dims, const std::vector<int64_t>& strides);
/// Gives dims of size 1 of an image [N, C, spatial...] the strides of a dense one in its memory order. They do not matter to us, but kernels of the
/// library take them for distances between pixels, and read and write past their place. A single channel lies innermost or not, as the caller says. The
/// library's cache takes descriptors that differ in such strides only for equal: all operands of a call must be tidied alike.
void tidy_image(std::span<const int64_t> dims, std::span<int64_t> strides, bool single_inside = false);
/// Whether the channels of an image lie within its pixels; nothing when there is one channel.
std::optional<bool> channels_inside(std::span<const int64_t> dims, std::span<const int64_t> strides);
/// make_desc of tidy strides.
DnnlDesc make_image_desc(DType type, const std::vector<int64_t>& dims, std::vector<int64_t> strides);
/// An image of sizes [N, C/b, spatial..., b] whose channels lie in blocks of b. Null when the library has no name for these strides.
DnnlDesc make_blocked_desc(DType type, const std::vector<int64_t>& dims, const std::vector<int64_t>& strides);
DnnlDesc clone(const_dnnl_memory_desc_t desc);
/// Sizes, strides and blocks as text: packs with the same text hold the same bytes.
std::string describe(const_dnnl_memory_desc_t desc);
DnnlMemory make_memory(const_dnnl_memory_desc_t desc, void* data = DNNL_MEMORY_NONE);
DnnlStream make_stream();
/// Converts `from` (described by `from_desc`) into fresh memory of `to_desc`.
std::shared_ptr<void> reorder(const_dnnl_memory_desc_t from_desc, const void* from, const_dnnl_memory_desc_t to_desc);
std::string implementation(const_dnnl_primitive_desc_t desc);

}  // namespace tuyere::cpu
#endif
