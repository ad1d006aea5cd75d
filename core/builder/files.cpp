// SPDX-License-Identifier: Apache-2.0
#include "core/builder/files.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/error.h"

namespace tuyere {

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, std::string_view bytes) {
  namespace fs = std::filesystem;
  static std::atomic<int> number{0};
  std::error_code error;
  if (fs::path(path).has_parent_path()) fs::create_directories(fs::path(path).parent_path(), error);
  std::string temporary = path + ".tmp" + std::to_string(getpid()) + "." + std::to_string(number++);
  {
    std::ofstream file(temporary, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.flush();
    USER_CHECK(file.good(), "cannot write '" << temporary << "'");
  }
  fs::rename(temporary, path, error);
  if (error) fs::remove(temporary);
  USER_CHECK(!error, "cannot write '" << path << "': " << error.message());
}

}  // namespace tuyere
