// SPDX-License-Identifier: Apache-2.0
// "host": an operator of the host framework, called through the host table. attrs: {"op", "overload", "args"}; args is the JSON list of HostCall.
#include <atomic>
#include <mutex>
#include <nlohmann/json.hpp>

#include "kernels/run/executors.h"
#include "kernels/run/host_table.h"

namespace tuyere {
namespace {

using Json = nlohmann::ordered_json;

std::atomic<const HostTable*>& installed() {
  static const HostTable none;
  static std::atomic<const HostTable*> table = &none;
  return table;
}

class HostOp final : public Executable {
 public:
  HostOp(std::string op, std::string overload, std::string arguments, const PrepareArgs& args)
      : op_(std::move(op)), overload_(std::move(overload)), arguments_(std::move(arguments)), in_views_(args.in), out_views_(args.out) {
    for (const TensorView& view : in_views_) in_.push_back({nullptr, view.dtype, view.shape, view.strides, args.device});
    for (const TensorView& view : out_views_) out_.push_back({nullptr, view.dtype, view.shape, view.strides, args.device});
  }

  Status run(void* const* pointers, void* stream) noexcept override {
    for (TensorRef& ref : in_) ref.data = *pointers++;
    for (TensorRef& ref : out_) ref.data = *pointers++;
    const HostTable& table = host_table();
    if (!table.call) return {Code::FailedPrecondition, "no framework is installed to run " + op_};
    const char* error = table.call(table.user, op_.c_str(), overload_.c_str(), arguments_.c_str(), in_.data(), static_cast<int>(in_.size()), out_.data(),
                                   static_cast<int>(out_.size()), stream);
    return error ? Status(Code::Internal, op_ + ": " + error) : Status::ok();
  }

 private:
  std::string op_, overload_, arguments_;
  std::vector<TensorView> in_views_, out_views_;
  std::vector<TensorRef> in_, out_;
};

class HostExecutor final : public Executor {
 public:
  Result<std::unique_ptr<Executable>> prepare(const StepSpec& spec, const PrepareArgs& args) override {
    const Json attrs = Json::parse(spec.attrs, nullptr, false);
    const auto text = [&](const char* key) {
      auto found = attrs.find(key);
      return found == attrs.end() ? std::string() : found->is_string() ? found->get<std::string>() : found->dump();
    };
    if (!attrs.is_object() || text("op").empty()) return Status(Code::DataLoss, "a host step without an op");
    return std::unique_ptr<Executable>(std::make_unique<HostOp>(text("op"), text("overload"), text("args"), args));
  }
};

}  // namespace

void set_host_table(const HostTable& table) {
  // Tables are never freed: a call in flight, or memory it lent, may still refer to an earlier one.
  static std::mutex mutex;
  static auto* tables = new std::vector<std::unique_ptr<const HostTable>>;
  const std::lock_guard lock(mutex);
  tables->push_back(std::make_unique<const HostTable>(table));
  installed().store(tables->back().get(), std::memory_order_release);
}

const HostTable& host_table() { return *installed().load(std::memory_order_acquire); }

Executor* host_executor() {
  static HostExecutor executor;
  return &executor;
}

}  // namespace tuyere
