// SPDX-License-Identifier: Apache-2.0
#include "common/error.h"

#include <string_view>
#include <utility>

namespace tuyere {
namespace {

thread_local std::vector<std::string> error_frames;

std::string describe(const std::string& message) {
  std::string text = "error: ";
  for (auto frame = error_frames.rbegin(); frame != error_frames.rend(); ++frame) text += *frame + ": ";
  return text + message;
}

/// The path from the repository root on: messages must not depend on where the sources were built.
std::string_view short_path(std::string_view file) {
  for (std::string_view root : {"/common/", "/kernels/", "/runtime/", "/core/", "/converters/", "/partitioning/", "/py/", "/tests/"})
    if (size_t at = file.find(root); at != std::string_view::npos) return file.substr(at + 1);
  size_t slash = file.rfind('/');
  return slash == std::string_view::npos ? file : file.substr(slash + 1);
}

}  // namespace

Error::Error(Fault fault, std::string message) : std::runtime_error(describe(message)), fault_(fault), message_(std::move(message)) {}

ErrorFrame::ErrorFrame(std::string text) { error_frames.push_back(std::move(text)); }
ErrorFrame::~ErrorFrame() { error_frames.pop_back(); }

void throw_error(Fault fault, const char* file, int line, const std::string& message) {
  if (fault == Fault::User) throw Error(fault, message);
  throw Error(fault, message + " (" + std::string(short_path(file)) + ":" + std::to_string(line) + ")");
}

}  // namespace tuyere
