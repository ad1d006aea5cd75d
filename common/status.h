// SPDX-License-Identifier: Apache-2.0
// Runtime-side errors: values, never exceptions. The builder side throws Error (common/error.h) instead.
#pragma once
#include <optional>
#include <string>
#include <utility>

namespace tuyere {

enum class Code : int {
  Ok = 0,
  InvalidArgument,     // the caller's fault: wrong dtype, shape, device, file
  FailedPrecondition,  // the engine cannot run here: wrong GPU, missing library, wrong version
  DataLoss,            // a truncated or corrupted file
  OutOfMemory,
  Unsupported,
  Internal,  // our fault
};

/// Outcome of a runtime call. `Status::ok()` holds no memory; an error carries one message that says what to do.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  static Status ok() { return {}; }
  bool is_ok() const { return code_ == Code::Ok; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Code code_ = Code::Ok;
  std::string message_;
};

/// The caller's fault, in words that say what to do.
inline Status invalid(std::string message) { return {Code::InvalidArgument, std::move(message)}; }

/// A value or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {}
  bool is_ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() { return *value_; }
  const T& value() const { return *value_; }
  T& operator*() { return *value_; }
  T* operator->() { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace tuyere

#define TUYERE_CONCAT_(a, b) a##b
#define TUYERE_CONCAT(a, b) TUYERE_CONCAT_(a, b)
/// Returns the Status of `expr` from the enclosing function unless it is ok.
#define TRY(expr)                                 \
  do {                                            \
    ::tuyere::Status try_status_ = (expr);        \
    if (!try_status_.is_ok()) return try_status_; \
  } while (0)
/// Declares `decl` from a Result, or returns its Status.
#define TRY_ASSIGN(decl, expr)                                                                             \
  auto TUYERE_CONCAT(try_result_, __LINE__) = (expr);                                                      \
  if (!TUYERE_CONCAT(try_result_, __LINE__).is_ok()) return TUYERE_CONCAT(try_result_, __LINE__).status(); \
  decl = std::move(*TUYERE_CONCAT(try_result_, __LINE__))
