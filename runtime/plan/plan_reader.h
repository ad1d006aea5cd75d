// SPDX-License-Identifier: Apache-2.0
// A typed view of a JSON object that knows its path, so that every complaint names the place.
#pragma once
#include <functional>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "common/dim.h"
#include "common/dtype.h"

namespace tuyere {

inline constexpr int kPlanVersion = 1;

/// All accessors throw Malformed; a key without a default must be there.
class PlanReader {
 public:
  using Json = nlohmann::ordered_json;
  struct Malformed {
    std::string text;
  };

  PlanReader(const Json& json, std::string path);
  [[noreturn]] void fail(const std::string& key, const std::string& what) const;
  /// Refuses keys that this version does not know: they would change the meaning.
  void keys(std::initializer_list<const char*> known) const;

  int64_t integer64(const char* key) const;
  int64_t integer64(const char* key, int64_t unset) const { return find(key) ? integer64(key) : unset; }
  int integer(const char* key) const;
  int integer(const char* key, int unset) const { return find(key) ? integer(key) : unset; }
  bool boolean(const char* key) const;  // false when missing
  double real(const char* key, double unset) const;
  std::string text(const char* key) const;
  std::string text(const char* key, const char* unset) const { return find(key) ? text(key) : unset; }
  /// An object's text, or the string itself; "" when missing.
  std::string object_text(const char* key) const;
  Dim dim(const char* key) const;
  Dim dim(const char* key, int64_t unset) const { return find(key) ? dim(key) : Dim(unset); }
  DType dtype(const char* key) const;
  int choice(const char* key, std::span<const char* const> names) const;

  std::vector<int> integers(const char* key) const;  // empty when missing
  std::vector<Dim> dims(const char* key) const;
  std::vector<std::string> texts(const char* key) const;
  std::map<std::string, std::string> text_map(const char* key) const;
  void each(const char* key, const std::function<void(const PlanReader&)>& visit) const;

 private:
  const Json* find(const char* key) const;
  const Json& get(const char* key) const;
  const Json* list(const char* key) const;
  Dim to_dim(const char* key, const Json& value) const;
  int to_int(const char* key, const Json& value) const;

  const Json& json_;
  std::string path_;
};

}  // namespace tuyere
