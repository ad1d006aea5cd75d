// SPDX-License-Identifier: Apache-2.0
// Plan and constants <-> the container. See FORMAT.md.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>

#include "common/error.h"
#include "kernels/run/device_api.h"
#include "kernels/run/executors.h"
#include "runtime/plan/plan_json.h"
#include "runtime/plan/safetensors.h"
#include "runtime/plan/validate.h"

namespace tuyere {
namespace {

using Json = nlohmann::json;

constexpr const char *kFormat = "tuyere-engine", *kWeightsFormat = "tuyere-weights";
constexpr const char *kConst = "const/", *kParam = "param/", *kBlob = "blob/";

Status damaged(const std::string& what) { return {Code::DataLoss, "engine file: " + what}; }

std::string file_name(const std::string& constant) { return constant.starts_with(kParam) ? constant : kConst + constant; }

Json type_json(const PlanConstant& constant) { return {{"dtype", std::string(tuyere::name(constant.dtype))}, {"shape", constant.shape}}; }

void add_constants(const PlanConstants& constants, safetensors::File& file) {
  Json packed = Json::object();  // types below a byte travel as U8
  Json elsewhere = Json::object();
  for (const auto& [name, constant] : constants) {
    if (constant.is_elsewhere()) {
      elsewhere[file_name(name)] = type_json(constant);
      continue;
    }
    safetensors::Tensor& tensor = file.tensors[file_name(name)];
    tensor.data = {static_cast<const std::byte*>(constant.data), static_cast<size_t>(constant.bytes)};
    tensor.dtype = constant.dtype;
    tensor.shape = constant.shape;
    if (bits(constant.dtype) >= 8) continue;
    packed[file_name(name)] = type_json(constant);
    tensor.dtype = DType::U8;
    tensor.shape = {constant.bytes};
  }
  if (!packed.empty()) file.metadata["packed"] = packed.dump();
  if (!elsewhere.empty()) file.metadata["elsewhere"] = elsewhere.dump();
}

Status verify(const safetensors::File& file) {
  const auto written = file.metadata.find(safetensors::kChecksum);
  if (written == file.metadata.end()) return damaged("it has no checksum");
  if (written->second != safetensors::checksum(file)) return damaged("damaged: its checksum does not fit its content; copy or build it again");
  return Status::ok();
}

Result<safetensors::File> read_container(std::span<const std::byte> bytes, bool header_only) {
  TRY_ASSIGN(safetensors::File file, safetensors::read(bytes, header_only));
  auto format = file.metadata.find("format");
  if (format == file.metadata.end() || format->second != kFormat || !file.metadata.count("tuyere"))
    return damaged("a safetensors file, but not a tuyere engine");
  return file;
}

/// {"dtype", "shape"} -> the constant's type and bytes.
Status read_type(PlanConstant& constant, const Json& entry, const std::string& where) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape")) return damaged("bad entry in '" + where + "'");
  const Json &dtype = entry["dtype"], &shape = entry["shape"];
  const auto type = dtype.is_string() ? parse_dtype(dtype.get_ref<const std::string&>()) : std::nullopt;
  const auto is_size = [](const Json& v) { return v.is_number_unsigned() && v.get<uint64_t>() < uint64_t{1} << 48; };
  if (!type || !shape.is_array() || !std::all_of(shape.begin(), shape.end(), is_size)) return damaged("bad entry in '" + where + "'");
  constant.dtype = *type;
  constant.shape = shape.get<std::vector<int64_t>>();
  constant.bytes = view_extent(constant.dtype, constant.shape, contiguous_strides(constant.shape));
  return constant.bytes < 0 ? damaged("'" + where + "': a size out of range") : Status::ok();
}

Result<Json> read_table(const safetensors::File& file, const std::string& key) {
  auto text = file.metadata.find(key);
  if (text == file.metadata.end()) return Json::object();
  Json table = Json::parse(text->second, nullptr, false);
  if (!table.is_object()) return damaged("'" + key + "' is not a JSON object");
  return table;
}

bool is_constant(const std::string& tensor) { return tensor.starts_with(kParam) || tensor.starts_with(kConst); }

Status add(PlanConstants& constants, const std::string& tensor, PlanConstant constant) {
  const std::string key = tensor.starts_with(kParam) ? tensor : tensor.substr(std::strlen(kConst));
  return constants.emplace(key, std::move(constant)).second ? Status::ok() : damaged("constant '" + key + "' is there twice");
}

Result<PlanConstants> read_constants(const safetensors::File& file, const std::shared_ptr<const void>& keep) {
  TRY_ASSIGN(const Json packed, read_table(file, "packed"));
  TRY_ASSIGN(const Json elsewhere, read_table(file, "elsewhere"));
  PlanConstants constants;
  for (const auto& [name, tensor] : file.tensors) {
    if (!is_constant(name)) continue;
    PlanConstant constant{tensor.dtype, tensor.shape, tensor.data.data(), static_cast<int64_t>(tensor.data.size()), keep};
    if (packed.contains(name)) {
      TRY(read_type(constant, packed[name], "packed"));
      if (bits(constant.dtype) >= 8 || constant.bytes != static_cast<int64_t>(tensor.data.size())) return damaged("'packed' does not fit the data");
    }
    TRY(add(constants, name, std::move(constant)));
  }
  for (const auto& [name, entry] : elsewhere.items()) {
    if (!is_constant(name)) return damaged("bad name in 'elsewhere'");
    PlanConstant constant;
    TRY(read_type(constant, entry, "elsewhere"));
    TRY(add(constants, name, std::move(constant)));
  }
  return constants;
}

/// Blobs are copied once each: executables outlive the file.
FindBlob blob_finder(const safetensors::File& file) {
  auto cache = std::make_shared<std::map<std::string, Bytes>>();
  return [&file, cache](const std::string& hash) -> Bytes {
    Bytes& blob = (*cache)[hash];
    if (blob) return blob;
    auto found = file.tensors.find(kBlob + hash);
    if (found == file.tensors.end()) return nullptr;
    const auto data = found->second.data;
    auto copy = std::make_shared<const std::vector<std::byte>>(data.begin(), data.end());
    if (blob_hash(*copy) != hash) return nullptr;
    return blob = copy;
  };
}

struct MappedFile {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> keep;
};

Result<MappedFile> map_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Status(Code::InvalidArgument, "cannot open '" + path + "': " + std::strerror(errno));
  struct stat info = {};
  const bool known = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  const auto size = static_cast<size_t>(info.st_size);
  void* data = known && size ? ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
  ::close(fd);
  if (data == MAP_FAILED)
    return Status(known && !size ? Code::DataLoss : Code::InvalidArgument, "cannot read '" + path + "'" + (known && !size ? ": it is empty" : ""));
  std::shared_ptr<const void> keep(data, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  return MappedFile{{static_cast<const std::byte*>(data), size}, std::move(keep)};
}

/// Exceptions stop here: memory, and what the builder-side helpers throw.
template <class F>
auto guarded(F body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Status(Code::OutOfMemory, "out of memory while reading an engine file");
  } catch (const Error& error) {
    return damaged(error.message());
  } catch (const std::exception& error) {
    return damaged(error.what());
  }
}

Status check_target(const std::string& target) {
  if (target == "cpu") return Status::ok();
  if (!target.starts_with("sm_")) return {Code::FailedPrecondition, "this engine is for '" + target + "', which this runtime does not know"};
  TRY_ASSIGN(DeviceApi * api, cuda_device());
  std::string seen;
  for (int device = 0; device < api->count(); ++device) {
    TRY_ASSIGN(const DeviceInfo info, api->info(device));
    if (target_runs_on(target, info.major, info.minor)) return Status::ok();
    seen += (seen.empty() ? "" : ", ") + info.name + " (sm_" + std::to_string(info.major * 10 + info.minor) + ")";
  }
  return {Code::FailedPrecondition, "this engine is for " + target + ", but here is " + (seen.empty() ? "no GPU" : seen)};
}

}  // namespace

bool target_runs_on(const std::string& target, int major, int minor) {
  if (!target.starts_with("sm_")) return false;
  const std::string digits = target.substr(3);
  const bool exact = !digits.empty() && digits.back() == 'a';
  const int built = std::atoi(digits.c_str());
  return exact ? built == major * 10 + minor : built / 10 == major && built % 10 <= minor;
}

std::vector<std::byte> write_engine(const EngineFile& engine) {
  safetensors::File file;
  file.metadata = {{"format", kFormat}, {"version", std::to_string(engine.plan.version)}, {"tuyere", to_json(engine.plan)}};
  add_constants(engine.constants, file);
  for (const PlanBody& body : engine.plan.bodies)
    for (const PlanStep& step : body.steps)
      for (const Bytes& blob : step.spec.blobs)
        if (blob) file.tensors[kBlob + blob_hash(*blob)] = {DType::U8, {static_cast<int64_t>(blob->size())}, *blob};
  file.metadata[safetensors::kChecksum] = safetensors::checksum(file);
  return safetensors::write(file);
}

Result<EngineFile> read_engine(std::span<const std::byte> bytes, std::shared_ptr<const void> keep) {
  return guarded([&]() -> Result<EngineFile> {
    TRY_ASSIGN(const safetensors::File file, read_container(bytes, false));
    EngineFile engine;
    TRY_ASSIGN(engine.plan, parse_plan(file.metadata.at("tuyere"), blob_finder(file)));  // refuses newer versions, whose checksum may differ
    TRY(verify(file));
    TRY_ASSIGN(engine.constants, read_constants(file, keep));
    TRY(validate_plan(engine.plan, &engine.constants));
    return engine;
  });
}

Result<EngineFile> open_engine(const std::string& path) {
  TRY_ASSIGN(const MappedFile file, map_file(path));
  return read_engine(file.bytes, file.keep);
}

std::vector<std::byte> write_weights(const PlanConstants& constants, const std::string& id) {
  safetensors::File file;
  file.metadata = {{"format", kWeightsFormat}, {"id", id}};
  add_constants(constants, file);
  file.metadata[safetensors::kChecksum] = safetensors::checksum(file);
  return safetensors::write(file);
}

Status open_weights(const std::string& path, const std::string& id, PlanConstants& constants) {
  return guarded([&]() -> Status {
    TRY_ASSIGN(const MappedFile mapped, map_file(path));
    TRY_ASSIGN(const safetensors::File file, safetensors::read(mapped.bytes, false));
    auto format = file.metadata.find("format"), found_id = file.metadata.find("id");
    if (format == file.metadata.end() || format->second != kWeightsFormat) return damaged("'" + path + "' is no weights file of tuyere");
    if (found_id == file.metadata.end() || found_id->second != id)
      return {Code::FailedPrecondition, "the weights file '" + path + "' belongs to another engine: use the one that was saved with this engine"};
    TRY(verify(file));
    TRY_ASSIGN(PlanConstants values, read_constants(file, mapped.keep));
    for (auto& [name, constant] : constants) {
      if (!constant.is_elsewhere()) continue;
      auto value = values.find(name);
      if (value == values.end() || value->second.is_elsewhere()) continue;
      if (value->second.dtype != constant.dtype || value->second.shape != constant.shape) return damaged("'" + path + "': '" + name + "' has another type");
      constant = std::move(value->second);
    }
    return Status::ok();
  });
}

std::string weights_id(const PlanConstants& constants) {
  std::string text;
  for (const auto& [name, constant] : constants) {
    if (!constant.data) continue;
    text += name + " " + type_json(constant).dump() + " ";
    text += content_id({static_cast<const std::byte*>(constant.data), static_cast<size_t>(constant.bytes)}) + "\n";
  }
  return content_id(std::as_bytes(std::span(text)));
}

std::string weights_path(const std::string& path) { return path + ".weights"; }

Status check_engine(std::span<const std::byte> bytes) {
  return guarded([&]() -> Status {
    TRY_ASSIGN(const safetensors::File file, read_container(bytes, true));
    TRY_ASSIGN(const Plan plan, parse_plan(file.metadata.at("tuyere")));
    TRY(validate_plan(plan, nullptr));
    TRY(check_target(plan.target));
    for (const PlanBody& body : plan.bodies)
      for (const PlanStep& step : body.steps) {
        if (is_control(step)) continue;
        const Result<Executor*> executor = find_executor(step.spec.executor);
        if (!executor.is_ok()) return executor.status();
      }
    return Status::ok();
  });
}

}  // namespace tuyere
