// SPDX-License-Identifier: Apache-2.0
// Answers for GPU plans while this build has no device code: each function moves to the file that implements it.
#include "kernels/run/executors.h"

#ifdef TUYERE_WITH_CUDA
namespace tuyere {
namespace {

class Missing final : public Executor {
 public:
  explicit Missing(const char* name) : name_(name) {}
  Result<std::unique_ptr<Executable>> prepare(const StepSpec&, const PrepareArgs&) override {
    return Status(Code::FailedPrecondition, std::string("this build has no '") + name_ + "' executor");
  }

 private:
  const char* name_;
};

}  // namespace

Executor* cudnn_executor() {
  static Missing executor("cudnn");
  return &executor;
}

}  // namespace tuyere
#endif
