// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace tuyere {

/// The bytes of a file, or none when it cannot be opened.
std::optional<std::string> read_file(const std::string& path);
/// Writes a temporary file beside `path` and renames it: readers see the old file or the new one. Makes the folder. Error{User} when it cannot.
void write_file(const std::string& path, std::string_view bytes);

}  // namespace tuyere
