// SPDX-License-Identifier: Apache-2.0
#include "kernels/onednn/dnnl_api.h"

#ifdef TUYERE_WITH_ONEDNN
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/cpu/cpu_kernel.h"
#include "kernels/onednn/dnnl_library.h"

namespace tuyere::cpu {
namespace {

DnnlApi load_api() {
  void* library = open_dnnl();
  USER_CHECK(library != nullptr, "libdnnl.so.3 (oneDNN) cannot be opened: install onednn-cpu-gomp or set TUYERE_LIBRARY_PATH");
  DnnlApi api;
#define TUYERE_LOOKUP(f)                                                 \
  api.f = reinterpret_cast<decltype(api.f)>(dlsym(library, "dnnl_" #f)); \
  USER_CHECK(api.f != nullptr, "libdnnl.so.3 has no function dnnl_" #f);
  TUYERE_DNNL_FUNCTIONS(TUYERE_LOOKUP)
#undef TUYERE_LOOKUP
  dnnl_check(api.engine_create(&api.cpu, dnnl_cpu, 0), "engine_create");
  return api;
}

}  // namespace

const DnnlApi& dnnl() {
  static const DnnlApi api = load_api();
  return api;
}

void dnnl_check(dnnl_status_t status, const char* what) { INTERNAL_CHECK(status == dnnl_success, "oneDNN: " << what << " failed with status " << int{status}); }

dnnl_data_type_t dnnl_type(DType type) {
  switch (type) {
    case DType::F32:
      return dnnl_f32;
    case DType::F16:
      return dnnl_f16;
    case DType::BF16:
      return dnnl_bf16;
    case DType::I32:
      return dnnl_s32;
    case DType::I8:
      return dnnl_s8;
    case DType::U8:
      return dnnl_u8;
    default:
      return dnnl_data_type_undef;
  }
}

DnnlDesc make_desc(DType type, const std::vector<int64_t>& dims, const std::vector<int64_t>& given) {
  // The stride of a single image does not matter to us, but the library's kernels take it for the size of an image and write past a smaller one.
  std::vector<int64_t> strides = given;
  if (!strides.empty() && dims[0] == 1) {
    for (size_t d = 1; d < dims.size(); ++d) strides[0] = std::max({int64_t{1}, strides[0], dims[d] * strides[d]});
  }
  dnnl_memory_desc_t desc = nullptr;
  const int rank = static_cast<int>(dims.size());
  const dnnl_status_t status = strides.empty() ? dnnl().memory_desc_create_with_tag(&desc, rank, dims.data(), dnnl_type(type), dnnl_format_tag_any)
                                               : dnnl().memory_desc_create_with_strides(&desc, rank, dims.data(), dnnl_type(type), strides.data());
  dnnl_check(status, "memory_desc_create");
  return DnnlDesc(desc);
}

namespace {

// nCw16c, nChw16c, nCdhw16c and those of 8.
std::optional<dnnl_format_tag_t> blocked_tag(int64_t block, size_t spatial) {
  constexpr dnnl_format_tag_t kTags[2][3] = {{dnnl_nCw8c, dnnl_nChw8c, dnnl_nCdhw8c}, {dnnl_nCw16c, dnnl_nChw16c, dnnl_nCdhw16c}};
  if ((block != 8 && block != 16) || spatial < 1 || spatial > 3) return std::nullopt;
  return kTags[block == 16][spatial - 1];
}

}  // namespace

std::optional<bool> channels_inside(std::span<const int64_t> dims, std::span<const int64_t> strides) {
  if (dims[1] == 1) return std::nullopt;
  for (size_t d = 2; d < dims.size(); ++d) {
    if (dims[d] != 1 && strides[d] < dims[1] * strides[1]) return false;
  }
  return true;
}

void tidy_image(std::span<const int64_t> dims, std::span<int64_t> strides, bool single_inside) {
  const size_t rank = dims.size();
  const bool inside = channels_inside(dims, strides).value_or(single_inside);
  int64_t reach = 1;
  const auto take = [&](size_t d) {
    if (dims[d] == 1) strides[d] = reach;
    reach = std::max(reach, dims[d] * strides[d]);
  };
  if (inside) take(1);
  for (size_t d = rank - 1; d > 1; --d) take(d);
  if (!inside) take(1);
  take(0);
}

DnnlDesc make_image_desc(DType type, const std::vector<int64_t>& dims, std::vector<int64_t> strides) {
  tidy_image(dims, strides);
  return make_desc(type, dims, strides);
}

DnnlDesc make_blocked_desc(DType type, const std::vector<int64_t>& dims, const std::vector<int64_t>& strides) {
  const size_t last = dims.size() - 1;
  const int64_t block = dims[last];
  std::vector<int64_t> sizes(dims.begin(), dims.end() - 1), steps(strides.begin(), strides.end() - 1);
  sizes[1] *= block;
  if (dims[1] == 1 || strides[1] == block * strides[last]) {  // one run of channels after all
    steps[1] = strides[last];
    return make_image_desc(type, sizes, std::move(steps));
  }
  const auto tag = blocked_tag(block, dims.size() - 3);
  int64_t dense = 1;
  for (size_t d = last; tag && d > 0; --d) {
    if (dims[d] != 1 && strides[d] != dense) return nullptr;
    dense *= dims[d];
  }
  const int64_t image = dense / dims[1];  // one block of channels
  const int64_t pitch = dims[0] == 1 ? dense : strides[0];
  if (!tag || pitch < dense || pitch % image != 0) return nullptr;
  std::vector<int64_t> whole = sizes;
  whole[1] = pitch / image * block;
  dnnl_memory_desc_t desc = nullptr;
  const int rank = static_cast<int>(sizes.size());
  dnnl_check(dnnl().memory_desc_create_with_tag(&desc, rank, whole.data(), dnnl_type(type), *tag), "memory_desc_create_with_tag");
  DnnlDesc owner(desc);
  if (pitch == dense) return owner;
  const std::vector<int64_t> zeros(sizes.size(), 0);
  dnnl_memory_desc_t part = nullptr;
  return dnnl().memory_desc_create_submemory(&part, owner.get(), sizes.data(), zeros.data()) == dnnl_success ? DnnlDesc(part) : nullptr;
}

DnnlDesc clone(const_dnnl_memory_desc_t desc) {
  dnnl_memory_desc_t copy = nullptr;
  dnnl_check(dnnl().memory_desc_clone(&copy, desc), "memory_desc_clone");
  return DnnlDesc(copy);
}

std::string describe(const_dnnl_memory_desc_t desc) {
  const auto query = [&](dnnl_query_t what, void* result) { dnnl_check(dnnl().memory_desc_query(desc, what, result), "memory_desc_query"); };
  int rank = 0, blocks = 0;
  dnnl_data_type_t type = dnnl_data_type_undef;
  query(dnnl_query_ndims_s32, &rank);
  query(dnnl_query_data_type, &type);
  query(dnnl_query_inner_nblks_s32, &blocks);
  std::string text = std::to_string(int{type});
  const auto append = [&](dnnl_query_t what, int count) {
    const dnnl_dims_t* values = nullptr;
    query(what, static_cast<void*>(&values));
    text += '|';
    for (int i = 0; i < count; ++i) text += std::to_string((*values)[i]) + ",";
  };
  append(dnnl_query_dims, rank);
  append(dnnl_query_padded_dims, rank);
  append(dnnl_query_strides, rank);
  append(dnnl_query_inner_blks, blocks);
  append(dnnl_query_inner_idxs, blocks);
  return text;
}

DnnlMemory make_memory(const_dnnl_memory_desc_t desc, void* data) {
  dnnl_memory_t memory = nullptr;
  dnnl_check(dnnl().memory_create(&memory, desc, dnnl().cpu, data), "memory_create");
  return DnnlMemory(memory);
}

DnnlStream make_stream() {
  dnnl_stream_t stream = nullptr;
  dnnl_check(dnnl().stream_create(&stream, dnnl().cpu, dnnl_stream_default_flags), "stream_create");
  return DnnlStream(stream);
}

std::shared_ptr<void> reorder(const_dnnl_memory_desc_t from_desc, const void* from, const_dnnl_memory_desc_t to_desc) {
  dnnl_primitive_desc_t raw = nullptr;
  dnnl_check(dnnl().reorder_primitive_desc_create(&raw, from_desc, dnnl().cpu, to_desc, dnnl().cpu, nullptr), "reorder_primitive_desc_create");
  const DnnlPrimitiveDesc desc(raw);
  dnnl_primitive_t primitive = nullptr;
  dnnl_check(dnnl().primitive_create(&primitive, raw), "primitive_create");
  const DnnlPrimitive owner(primitive);
  std::shared_ptr<void> result = host_memory(dnnl().memory_desc_get_size(to_desc));
  const DnnlMemory source = make_memory(from_desc, const_cast<void*>(from)), target = make_memory(to_desc, result.get());
  const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, source.get()}, {DNNL_ARG_TO, target.get()}};
  const DnnlStream stream = make_stream();
  dnnl_check(dnnl().primitive_execute(primitive, stream.get(), 2, args), "reorder");
  return result;
}

std::string implementation(const_dnnl_primitive_desc_t desc) {
  const char* text = "";
  dnnl_check(dnnl().primitive_desc_query(desc, dnnl_query_impl_info_str, 0, static_cast<void*>(&text)), "primitive_desc_query");
  return text;
}

}  // namespace tuyere::cpu
#endif
