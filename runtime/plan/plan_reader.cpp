// SPDX-License-Identifier: Apache-2.0
#include "runtime/plan/plan_reader.h"

#include <algorithm>
#include <limits>

#include "common/error.h"

namespace tuyere {
namespace {

constexpr size_t kMaxExpression = 1000;  // bounds the recursion of Dim::parse

int64_t to_int64(const PlanReader& reader, const char* key, const PlanReader::Json& value) {
  if (!value.is_number_integer()) reader.fail(key, "must be an integer");
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) reader.fail(key, "is too large");
  return value.get<int64_t>();
}

}  // namespace

PlanReader::PlanReader(const Json& json, std::string path) : json_(json), path_(std::move(path)) {
  if (!json_.is_object()) throw Malformed{path_ + " must be an object"};
}

void PlanReader::fail(const std::string& key, const std::string& what) const { throw Malformed{path_ + "." + key + ": " + what}; }

void PlanReader::keys(std::initializer_list<const char*> known) const {
  for (const auto& [key, value] : json_.items())
    if (std::find(known.begin(), known.end(), key) == known.end()) fail(key, "unknown key");
}

const PlanReader::Json* PlanReader::find(const char* key) const {
  auto found = json_.find(key);
  return found == json_.end() ? nullptr : &*found;
}

const PlanReader::Json& PlanReader::get(const char* key) const {
  const Json* value = find(key);
  if (!value) fail(key, "is missing");
  return *value;
}

const PlanReader::Json* PlanReader::list(const char* key) const {
  const Json* value = find(key);
  if (value && !value->is_array()) fail(key, "must be a list");
  return value;
}

int64_t PlanReader::integer64(const char* key) const { return to_int64(*this, key, get(key)); }

int PlanReader::to_int(const char* key, const Json& value) const {
  const int64_t v = to_int64(*this, key, value);
  if (v < std::numeric_limits<int>::min() || v > std::numeric_limits<int>::max()) fail(key, "is out of range");
  return static_cast<int>(v);
}

int PlanReader::integer(const char* key) const { return to_int(key, get(key)); }

bool PlanReader::boolean(const char* key) const {
  const Json* value = find(key);
  if (!value) return false;
  if (!value->is_boolean()) fail(key, "must be true or false");
  return value->get<bool>();
}

double PlanReader::real(const char* key, double unset) const {
  const Json* value = find(key);
  if (!value) return unset;
  if (!value->is_number()) fail(key, "must be a number");
  return value->get<double>();
}

std::string PlanReader::text(const char* key) const {
  const Json& value = get(key);
  if (!value.is_string()) fail(key, "must be a string");
  return value.get<std::string>();
}

std::string PlanReader::object_text(const char* key) const {
  const Json* value = find(key);
  if (!value) return "";
  if (value->is_string()) return value->get<std::string>();
  if (!value->is_object()) fail(key, "must be an object or a string");
  return value->dump();
}

Dim PlanReader::to_dim(const char* key, const Json& value) const {
  if (value.is_number_integer()) return Dim(to_int64(*this, key, value));
  if (!value.is_string()) fail(key, "must be an integer or an expression");
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > kMaxExpression) fail(key, "expression too long");
  try {
    return Dim::parse(text);
  } catch (const Error& error) {
    fail(key, error.message());
  }
}

Dim PlanReader::dim(const char* key) const { return to_dim(key, get(key)); }

DType PlanReader::dtype(const char* key) const {
  const std::string spelled = text(key);
  const std::optional<DType> type = parse_dtype(spelled);
  if (!type) fail(key, "unknown dtype '" + spelled + "'");
  return *type;
}

int PlanReader::choice(const char* key, std::span<const char* const> names) const {
  const std::string spelled = text(key);
  auto found = std::find(names.begin(), names.end(), spelled);
  if (found == names.end()) fail(key, "unknown value '" + spelled + "'");
  return static_cast<int>(found - names.begin());
}

std::vector<int> PlanReader::integers(const char* key) const {
  std::vector<int> out;
  if (const Json* values = list(key))
    for (const Json& value : *values) out.push_back(to_int(key, value));
  return out;
}

std::vector<Dim> PlanReader::dims(const char* key) const {
  std::vector<Dim> out;
  if (const Json* values = list(key))
    for (const Json& value : *values) out.push_back(to_dim(key, value));
  return out;
}

std::vector<std::string> PlanReader::texts(const char* key) const {
  std::vector<std::string> out;
  if (const Json* values = list(key))
    for (const Json& value : *values) {
      if (!value.is_string()) fail(key, "must be a list of strings");
      out.push_back(value.get<std::string>());
    }
  return out;
}

std::map<std::string, std::string> PlanReader::text_map(const char* key) const {
  std::map<std::string, std::string> out;
  const Json* map = find(key);
  if (!map) return out;
  if (!map->is_object()) fail(key, "must be an object");
  for (const auto& [name, value] : map->items()) {
    if (!value.is_string()) fail(key, "must hold strings");
    out[name] = value.get<std::string>();
  }
  return out;
}

void PlanReader::each(const char* key, const std::function<void(const PlanReader&)>& visit) const {
  get(key);
  size_t index = 0;
  for (const Json& value : *list(key)) visit(PlanReader(value, path_ + "." + key + "[" + std::to_string(index++) + "]"));
}

}  // namespace tuyere
