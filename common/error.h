// SPDX-License-Identifier: Apache-2.0
// Builder-side errors: an exception whose frames say which pass, layer, op and source line it happened in.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace tuyere {

enum class Fault { User, Internal };

/// Thrown by everything left of the runtime. what() reads
///   "error: <frames, innermost first>: <message>".
class Error : public std::runtime_error {
 public:
  Error(Fault fault, std::string message);
  Fault fault() const { return fault_; }
  const std::string& message() const { return message_; }

 private:
  Fault fault_;
  std::string message_;
};

/// While alive, adds one frame ("in pass fold_bn", "layer 'conv1' (aten::convolution, model.py:88)") to every Error
/// thrown on this thread.
class ErrorFrame {
 public:
  explicit ErrorFrame(std::string text);
  ~ErrorFrame();
  ErrorFrame(const ErrorFrame&) = delete;
  ErrorFrame& operator=(const ErrorFrame&) = delete;
};

[[noreturn]] void throw_error(Fault fault, const char* file, int line, const std::string& message);

}  // namespace tuyere

/// USER_CHECK(axis < rank, "axis " << axis << " out of range for rank " << rank): throws Error{User} when the condition does not hold.
#define USER_CHECK(cond, text)                                                             \
  do {                                                                                     \
    if (!(cond)) {                                                                         \
      std::ostringstream check_text_;                                                      \
      check_text_ << text;                                                                 \
      ::tuyere::throw_error(::tuyere::Fault::User, __FILE__, __LINE__, check_text_.str()); \
    }                                                                                      \
  } while (0)
/// The same for what can only be our own mistake.
#define INTERNAL_CHECK(cond, text)                                                             \
  do {                                                                                         \
    if (!(cond)) {                                                                             \
      std::ostringstream check_text_;                                                          \
      check_text_ << text << " [" #cond "]";                                                   \
      ::tuyere::throw_error(::tuyere::Fault::Internal, __FILE__, __LINE__, check_text_.str()); \
    }                                                                                          \
  } while (0)
