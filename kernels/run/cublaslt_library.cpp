// SPDX-License-Identifier: Apache-2.0
#ifdef TUYERE_WITH_CUDA
#include "kernels/run/cublaslt_library.h"

#include <dlfcn.h>

#include <map>
#include <mutex>

#include "kernels/run/dynamic_library.h"

namespace tuyere {
namespace {

Status open(CublasLt& lt) {
  TRY_ASSIGN(void* library, open_library("cuBLASLt", {"libcublasLt.so.13", "libcublasLt.so.12"}));
#define TUYERE_RESOLVE(member, function)                                        \
  lt.member = reinterpret_cast<decltype(lt.member)>(dlsym(library, #function)); \
  if (!lt.member) return {Code::FailedPrecondition, "cuBLASLt has no function " #function};
  TUYERE_CUBLASLT_FUNCTIONS(TUYERE_RESOLVE)
#undef TUYERE_RESOLVE
  lt.number = static_cast<int64_t>(lt.version());
  return Status::ok();
}

}  // namespace

Status CublasLt::check(cublasStatus_t status, const char* what) const {
  if (status == CUBLAS_STATUS_SUCCESS) [[likely]]
    return Status::ok();
  const char* text = status_text(status);
  const Code code = status == CUBLAS_STATUS_ALLOC_FAILED ? Code::OutOfMemory : status == CUBLAS_STATUS_NOT_SUPPORTED ? Code::Unsupported : Code::Internal;
  return {code, std::string(what) + ": " + (text ? text : "cuBLAS status " + std::to_string(status))};
}

Result<cublasLtHandle_t> CublasLt::handle(int device) const {
  static std::mutex mutex;
  static auto* const handles = new std::map<int, cublasLtHandle_t>;
  const std::lock_guard lock(mutex);
  cublasLtHandle_t& handle = (*handles)[device];
  if (!handle) TRY(check(create(&handle), "cublasLtCreate"));
  return handle;
}

Result<const CublasLt*> cublaslt() {
  static std::mutex mutex;
  static CublasLt lt;
  static bool opened = false;
  const std::lock_guard lock(mutex);
  if (!opened) {
    CublasLt fresh;
    TRY(open(fresh));
    lt = fresh;
    opened = true;
  }
  return static_cast<const CublasLt*>(&lt);
}

}  // namespace tuyere
#endif
