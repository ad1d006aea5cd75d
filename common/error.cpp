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
  constexpr std::string_view kHere = __FILE__, kName = "common/error.cpp";
  constexpr std::string_view kRoot = kHere.substr(0, kHere.size() - kName.size());
  return file.substr(0, kRoot.size()) == kRoot ? file.substr(kRoot.size()) : file;
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
