// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>

#include "common/error.h"
#include "runtime/plan/plan.h"

namespace tuyere::safetensors {
namespace {

using Json = nlohmann::json;

constexpr const char* kPad = "pad/";
constexpr int64_t kLengthBytes = 8;

int64_t align(int64_t value) { return (value + kAlignment - 1) / kAlignment * kAlignment; }

/// Bytes of a tensor, or -1 when they do not fit 62 bits or end inside a byte.
int64_t tensor_bytes(DType type, const std::vector<int64_t>& shape) {
  int64_t total_bits = bits(type);
  for (int64_t dim : shape)
    if (dim < 0 || __builtin_mul_overflow(total_bits, dim, &total_bits)) return -1;
  return total_bits % 8 ? -1 : total_bits / 8;
}

void add_entry(std::string& header, const std::string& name, DType type, const std::vector<int64_t>& shape, int64_t begin, int64_t end) {
  if (header.size() > 1) header += ',';
  header += Json(name).dump() + ":{\"dtype\":\"" + std::string(safetensors_name(type)) + "\",\"shape\":" + Json(shape).dump() + ",\"data_offsets\":[" +
            std::to_string(begin) + "," + std::to_string(end) + "]}";
}

Status damaged_file(const std::string& what) { return {Code::DataLoss, "engine file: " + what}; }

struct Entry {
  int64_t begin = 0, end = 0;
  const std::string* name = nullptr;
};

Status read_metadata(const Json& json, std::map<std::string, std::string>& metadata) {
  if (!json.is_object()) return damaged_file("__metadata__ is not an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) return damaged_file("metadata '" + key + "' is not a string");
    metadata[key] = value.get<std::string>();
  }
  return Status::ok();
}

bool is_byte_count(const Json& value) { return value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX); }

Status read_entry(const std::string& name, const Json& json, Tensor& tensor, Entry& entry) {
  const std::string where = "tensor '" + name + "': ";
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") || !json.contains("data_offsets"))
    return damaged_file(where + "needs dtype, shape and data_offsets");
  const Json &dtype = json["dtype"], &shape = json["shape"], &offsets = json["data_offsets"];
  const std::optional<DType> type = dtype.is_string() ? parse_safetensors_dtype(dtype.get_ref<const std::string&>()) : std::nullopt;
  if (!type) return damaged_file(where + "unknown dtype " + dtype.dump());
  tensor.dtype = *type;
  if (!shape.is_array() || !std::all_of(shape.begin(), shape.end(), is_byte_count)) return damaged_file(where + "bad shape");
  tensor.shape = shape.get<std::vector<int64_t>>();
  if (!offsets.is_array() || offsets.size() != 2 || !is_byte_count(offsets[0]) || !is_byte_count(offsets[1])) return damaged_file(where + "bad data_offsets");
  entry.begin = offsets[0].get<int64_t>();
  entry.end = offsets[1].get<int64_t>();
  const int64_t bytes = tensor_bytes(tensor.dtype, tensor.shape);
  if (bytes < 0 || entry.end < entry.begin || entry.end - entry.begin != bytes) return damaged_file(where + "its data_offsets do not fit its shape");
  return Status::ok();
}

/// Entries in order of offset must follow each other without hole or overlap up to `size`.
Status check_cover(std::vector<Entry>& entries, int64_t size) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  int64_t at = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != at) return damaged_file("tensor '" + *entry.name + "': its data overlaps another tensor or follows a hole");
    at = entry.end;
  }
  if (size >= 0 && at > size)
    return damaged_file("truncated: " + std::to_string(at) + " bytes of tensors are announced, " + std::to_string(size) + " are there");
  if (size >= 0 && at < size) return damaged_file(std::to_string(size - at) + " bytes at the end belong to no tensor");
  return Status::ok();
}

Result<Json> read_header(std::span<const std::byte> bytes, int64_t* length) {
  if (bytes.size() < kLengthBytes) return damaged_file("truncated: shorter than its 8-byte length");
  uint64_t announced = 0;
  for (int i = 0; i < kLengthBytes; ++i) announced |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  if (announced > static_cast<uint64_t>(kMaxHeader))
    return damaged_file("not an engine file, or a damaged one (header length " + std::to_string(announced) + ")");
  if (announced > bytes.size() - kLengthBytes) return damaged_file("truncated: the header has " + std::to_string(announced) + " bytes");
  *length = static_cast<int64_t>(announced);
  const char* text = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  Json header = Json::parse(text, text + announced, nullptr, false);
  if (!header.is_object()) return damaged_file("the header is not a JSON object");
  return header;
}

}  // namespace

std::vector<std::byte> write(const File& file) {
  std::string header = "{\"__metadata__\":{";
  const char* comma = "";
  for (const auto& [key, value] : file.metadata) {
    header += comma + Json(key).dump() + ":" + Json(value).dump();
    comma = ",";
  }
  header += '}';
  int64_t size = 0, pads = 0;
  std::vector<std::pair<int64_t, const Tensor*>> places;
  for (const auto& [name, tensor] : file.tensors) {
    const int64_t begin = align(size), bytes = static_cast<int64_t>(tensor.data.size());
    INTERNAL_CHECK(tensor_bytes(tensor.dtype, tensor.shape) == bytes, "tensor '" << name << "': data and shape disagree");
    if (begin != size) add_entry(header, kPad + std::to_string(pads++), DType::U8, {begin - size}, size, begin);
    add_entry(header, name, tensor.dtype, tensor.shape, begin, begin + bytes);
    places.push_back({begin, &tensor});
    size = begin + bytes;
  }
  header += '}';
  header.resize(align(kLengthBytes + static_cast<int64_t>(header.size())) - kLengthBytes, ' ');
  INTERNAL_CHECK(static_cast<int64_t>(header.size()) <= kMaxHeader, "the plan is too large for an engine file");

  const int64_t data = kLengthBytes + static_cast<int64_t>(header.size());
  std::vector<std::byte> out(data + size);
  for (int i = 0; i < kLengthBytes; ++i) out[i] = static_cast<std::byte>(static_cast<uint64_t>(header.size()) >> (8 * i));
  std::memcpy(out.data() + kLengthBytes, header.data(), header.size());
  for (const auto& [begin, tensor] : places)
    if (!tensor->data.empty()) std::memcpy(out.data() + data + begin, tensor->data.data(), tensor->data.size());
  return out;
}

std::string checksum(const File& file) {
  std::string text;
  const auto add = [&](std::string_view part) { (text += std::to_string(part.size()) + ":") += part; };
  for (const auto& [key, value] : file.metadata)
    if (key != kChecksum) add(key), add(value);
  for (const auto& [name, tensor] : file.tensors) {
    add(name), add(safetensors_name(tensor.dtype));
    for (int64_t dim : tensor.shape) add(std::to_string(dim));
    add(content_id(tensor.data));
  }
  return content_id(std::as_bytes(std::span(text)));
}

Result<File> read(std::span<const std::byte> bytes, bool header_only) {
  int64_t length = 0;
  TRY_ASSIGN(const Json header, read_header(bytes, &length));
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + length);
  File file;
  std::vector<Entry> entries;
  for (const auto& [name, json] : header.items()) {
    if (name == "__metadata__") {
      TRY(read_metadata(json, file.metadata));
      continue;
    }
    auto [place, inserted] = file.tensors.try_emplace(name);
    Entry entry;
    entry.name = &place->first;
    TRY(read_entry(name, json, place->second, entry));
    entries.push_back(entry);
  }
  TRY(check_cover(entries, header_only ? -1 : static_cast<int64_t>(data.size())));
  for (const Entry& entry : entries) {
    if (header_only) break;
    const std::span<const std::byte> content = data.subspan(entry.begin, entry.end - entry.begin);
    if (entry.name->starts_with(kPad) && std::any_of(content.begin(), content.end(), [](std::byte b) { return b != std::byte{}; }))
      return damaged_file("the padding '" + *entry.name + "' is not zero");
    file.tensors[*entry.name].data = content;
  }
  std::erase_if(file.tensors, [](const auto& item) { return item.first.starts_with(kPad); });
  return file;
}

}  // namespace tuyere::safetensors
