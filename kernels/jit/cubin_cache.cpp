// SPDX-License-Identifier: Apache-2.0
#include "kernels/jit/cubin_cache.h"

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "common/env.h"

namespace tuyere {
namespace {

constexpr char kMagic[8] = {'T', 'Y', 'C', 'U', 'B', 'I', 'N', '1'};

uint64_t fnv1a(const std::string& text, uint64_t seed) {
  uint64_t h = 14695981039346656037ull ^ seed;
  for (unsigned char c : text) h = (h ^ c) * 1099511628211ull;
  return h;
}

std::filesystem::path file_of(const std::string& key) {
  char name[48];
  std::snprintf(name, sizeof name, "%016llx%016llx.cubin", static_cast<unsigned long long>(fnv1a(key, 0)),
                static_cast<unsigned long long>(fnv1a(key, 0x9e3779b97f4a7c15ull)));
  return std::filesystem::path(cache_dir()) / "kernels" / name;
}

/// File: magic, u64 key length, key, u64 length and FNV hash of the code, the code.
std::optional<std::vector<std::byte>> read_file(const std::filesystem::path& path, const std::string& key) {
  std::ifstream in(path, std::ios::binary);
  char magic[8];
  uint64_t length = 0, hash = 0;
  if (!in.read(magic, 8) || std::memcmp(magic, kMagic, 8) != 0) return std::nullopt;
  if (!in.read(reinterpret_cast<char*>(&length), 8) || length != key.size()) return std::nullopt;
  std::string stored(length, '\0');
  if (!in.read(stored.data(), static_cast<std::streamsize>(length)) || stored != key) return std::nullopt;
  if (!in.read(reinterpret_cast<char*>(&length), 8) || !in.read(reinterpret_cast<char*>(&hash), 8) || length > (1ull << 32)) return std::nullopt;
  std::string code(length, '\0');
  if (!in.read(code.data(), static_cast<std::streamsize>(length)) || fnv1a(code, 0) != hash) return std::nullopt;
  const auto* data = reinterpret_cast<const std::byte*>(code.data());
  return std::vector<std::byte>(data, data + length);
}

void write_file(const std::filesystem::path& path, const std::string& key, const std::vector<std::byte>& code) {
  static std::atomic<int> counter{0};
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) return;
  std::filesystem::path temporary = path;
  temporary += "." + std::to_string(getpid()) + "." + std::to_string(counter++);
  {
    std::ofstream out(temporary, std::ios::binary);
    const std::string text(reinterpret_cast<const char*>(code.data()), code.size());
    const uint64_t key_length = key.size(), length = code.size(), hash = fnv1a(text, 0);
    out.write(kMagic, 8).write(reinterpret_cast<const char*>(&key_length), 8).write(key.data(), static_cast<std::streamsize>(key.size()));
    out.write(reinterpret_cast<const char*>(&length), 8)
        .write(reinterpret_cast<const char*>(&hash), 8)
        .write(text.data(), static_cast<std::streamsize>(length));
    out.close();
    if (!out) {
      std::filesystem::remove(temporary, error);
      return;
    }
  }
  std::filesystem::rename(temporary, path, error);
  if (error) std::filesystem::remove(temporary, error);
}

/// One kernel: threads that want it while one of them makes it wait for that one.
struct Entry {
  std::mutex mutex;
  Bytes code;
};

std::shared_ptr<Entry> entry_of(const std::string& key) {
  static std::mutex mutex;
  static std::unordered_map<std::string, std::shared_ptr<Entry>> map;
  std::lock_guard lock(mutex);
  std::shared_ptr<Entry>& entry = map[key];
  if (!entry) entry = std::make_shared<Entry>();
  return entry;
}

}  // namespace

Bytes cached_cubin(const std::string& key, const std::function<std::vector<std::byte>()>& make) {
  const std::shared_ptr<Entry> entry = entry_of(key);
  std::lock_guard lock(entry->mutex);
  if (entry->code) return entry->code;
  const auto path = file_of(key);
  std::optional<std::vector<std::byte>> code = read_file(path, key);
  if (!code) {
    code = make();  // when it throws, the next one tries again
    write_file(path, key, *code);
  }
  entry->code = std::make_shared<const std::vector<std::byte>>(std::move(*code));
  return entry->code;
}

}  // namespace tuyere
