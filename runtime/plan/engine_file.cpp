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

constexpr const char* kFormat = "tuyere-engine";
constexpr const char *kConst = "const/", *kParam = "param/", *kBlob = "blob/";

Status damaged(const std::string& what) { return {Code::DataLoss, "engine file: " + what}; }

std::string file_name(const std::string& constant) { return constant.starts_with(kParam) ? constant : kConst + constant; }

void add_constants(const PlanConstants& constants, safetensors::File& file) {
  Json packed = Json::object();  // types below a byte travel as U8
  for (const auto& [name, constant] : constants) {
    safetensors::Tensor& tensor = file.tensors[file_name(name)];
    tensor.data = {static_cast<const std::byte*>(constant.data), static_cast<size_t>(constant.bytes)};
    tensor.dtype = constant.dtype;
    tensor.shape = constant.shape;
    if (bits(constant.dtype) >= 8) continue;
    packed[file_name(name)] = {{"dtype", std::string(tuyere::name(constant.dtype))}, {"shape", constant.shape}};
    tensor.dtype = DType::U8;
    tensor.shape = {constant.bytes};
  }
  if (!packed.empty()) file.metadata["packed"] = packed.dump();
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

Status unpack(PlanConstant& constant, const Json& entry) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape")) return damaged("bad entry in 'packed'");
  const Json &dtype = entry["dtype"], &shape = entry["shape"];
  const auto type = dtype.is_string() ? parse_dtype(dtype.get_ref<const std::string&>()) : std::nullopt;
  const auto is_size = [](const Json& v) { return v.is_number_unsigned() && v.get<uint64_t>() < uint64_t{1} << 48; };
  if (!type || bits(*type) >= 8 || !shape.is_array() || !std::all_of(shape.begin(), shape.end(), is_size)) return damaged("bad entry in 'packed'");
  constant.dtype = *type;
  constant.shape = shape.get<std::vector<int64_t>>();
  if (view_extent(constant.dtype, constant.shape, contiguous_strides(constant.shape)) != constant.bytes) return damaged("'packed' does not fit the data");
  return Status::ok();
}

Result<PlanConstants> read_constants(const safetensors::File& file, const std::shared_ptr<const void>& keep) {
  Json packed = Json::object();
  if (auto text = file.metadata.find("packed"); text != file.metadata.end()) packed = Json::parse(text->second, nullptr, false);
  if (!packed.is_object()) return damaged("'packed' is not a JSON object");
  PlanConstants constants;
  for (const auto& [name, tensor] : file.tensors) {
    const bool param = name.starts_with(kParam);
    if (!param && !name.starts_with(kConst)) continue;
    PlanConstant constant{tensor.dtype, tensor.shape, tensor.data.data(), static_cast<int64_t>(tensor.data.size()), keep};
    if (packed.contains(name)) TRY(unpack(constant, packed[name]));
    const std::string key = param ? name : name.substr(std::strlen(kConst));
    if (!constants.emplace(key, std::move(constant)).second) return damaged("constant '" + key + "' is there twice");
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
  return read_engine({static_cast<const std::byte*>(data), size}, keep);
}

Status check_engine(std::span<const std::byte> bytes) {
  return guarded([&]() -> Status {
    TRY_ASSIGN(const safetensors::File file, read_container(bytes, true));
    TRY_ASSIGN(const Plan plan, parse_plan(file.metadata.at("tuyere")));
    TRY(validate_plan(plan, nullptr));
    TRY(check_target(plan.target));
    for (const PlanBody& body : plan.bodies)
      for (const PlanStep& step : body.steps) {
        const Result<Executor*> executor = find_executor(step.spec.executor);
        if (!executor.is_ok()) return executor.status();
      }
    return Status::ok();
  });
}

}  // namespace tuyere
