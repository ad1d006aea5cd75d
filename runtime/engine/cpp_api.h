// SPDX-License-Identifier: Apache-2.0
// C++ interface of the lean runtime, for programs: owning wrappers over c_api.h, header only, so that a program needs these two headers and
// libtuyere_runtime.so, whatever compiler built it. Errors are exceptions (tuyere::api::Error).
//
//   tuyere::api::Engine engine("model.engine");
//   tuyere::api::Context context(engine);       // one per thread
//   context.set_shape(0, {8, 3, 224, 224});     // dynamic sizes only; otherwise those the engine was tuned for
//   context.prepare();
//   std::vector<tuyere::api::Buffer> inputs = context.make_inputs(), outputs = context.make_outputs();
//   inputs[0].write(pixels);
//   context.execute(inputs, outputs);
//   std::vector<float> scores = outputs[0].read<float>();
#pragma once
#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "runtime/engine/c_api.h"

namespace tuyere::api {

/// What went wrong and what to do; code() is one of TUYERE_INVALID_ARGUMENT, ...
class Error : public std::runtime_error {
 public:
  explicit Error(int code) : std::runtime_error(tuyere_last_error()), code_(code) {}
  int code() const { return code_; }

 private:
  int code_;
};

inline void check(int code) {
  if (code != TUYERE_OK) throw Error(code);
}

/// An input or output. Sizes of -1 are dynamic (of an engine; a prepared context knows them all).
struct Io {
  std::string name, dtype;
  std::vector<int64_t> shape, strides;  // strides: of a prepared context, in elements
  int64_t bytes = -1;                   // memory to provide; -1 for engines

  explicit Io(const tuyere_io& io) : name(io.name), dtype(io.dtype), shape(io.shape, io.shape + io.rank), bytes(io.bytes) {
    if (io.strides) strides.assign(io.strides, io.strides + io.rank);
  }
};

namespace detail {
template <class Handle, class Describe>
std::vector<Io> list(Handle* handle, int count, Describe describe) {
  std::vector<Io> ios;
  tuyere_io io;
  for (int i = 0; i < count; ++i) check(describe(handle, i, &io)), ios.emplace_back(io);
  return ios;
}
}  // namespace detail

/// A loaded engine file, shared by all threads. Must outlive its buffers.
class Engine {
 public:
  /// device: CUDA ordinal, used by GPU engines only.
  explicit Engine(const std::string& path, int device = 0) { check(tuyere_engine_load(path.c_str(), device, &handle_)); }
  /// Copies nothing: data must outlive the engine.
  Engine(const void* data, size_t bytes, int device = 0) { check(tuyere_engine_load_memory(data, bytes, device, &handle_)); }
  Engine(Engine&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Engine& operator=(Engine&& other) noexcept { return std::swap(handle_, other.handle_), *this; }
  ~Engine() { tuyere_engine_destroy(handle_); }

  /// -1: the CPU.
  int device() const { return tuyere_engine_device(handle_); }
  std::vector<Io> inputs() const { return detail::list(handle_, tuyere_engine_input_count(handle_), tuyere_engine_input); }
  std::vector<Io> outputs() const { return detail::list(handle_, tuyere_engine_output_count(handle_), tuyere_engine_output); }
  /// Waits until the device has finished.
  void synchronize() const { check(tuyere_copy(handle_, nullptr, nullptr, 0)); }
  tuyere_engine* handle() const { return handle_; }

 private:
  tuyere_engine* handle_ = nullptr;
};

/// Memory where the engine runs.
class Buffer {
 public:
  Buffer(const Engine& engine, int64_t bytes) : engine_(engine.handle()), bytes_(bytes) { check(tuyere_allocate(engine_, bytes, &data_)); }
  Buffer(Buffer&& other) noexcept : engine_(other.engine_), data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  Buffer& operator=(Buffer&& other) noexcept {
    return std::swap(engine_, other.engine_), std::swap(data_, other.data_), std::swap(bytes_, other.bytes_), *this;
  }
  ~Buffer() {
    if (data_) tuyere_release(engine_, data_);
  }

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  /// From host memory of bytes() bytes.
  void write(const void* from) { check(tuyere_copy(engine_, data_, from, bytes_)); }
  /// To the host, when the work before it has finished.
  template <class T>
  std::vector<T> read() const {
    std::vector<T> to(static_cast<size_t>(bytes_) / sizeof(T));
    check(tuyere_copy(engine_, to.data(), data_, static_cast<int64_t>(to.size() * sizeof(T))));
    return to;
  }

 private:
  tuyere_engine* engine_;
  void* data_ = nullptr;
  int64_t bytes_;
};

/// One caller of an engine.
class Context {
 public:
  explicit Context(const Engine& engine) : engine_(&engine) { check(tuyere_context_create(engine.handle(), &handle_)); }
  Context(Context&& other) noexcept : engine_(other.engine_), handle_(std::exchange(other.handle_, nullptr)) {}
  Context& operator=(Context&& other) noexcept { return std::swap(engine_, other.engine_), std::swap(handle_, other.handle_), *this; }
  ~Context() { tuyere_context_destroy(handle_); }

  void set_shape(int input, const std::vector<int64_t>& shape) {
    const std::vector<Io> inputs = engine_->inputs();
    if (input >= 0 && input < static_cast<int>(inputs.size()) && inputs[input].shape.size() != shape.size())
      throw std::invalid_argument("input '" + inputs[input].name + "' has " + std::to_string(inputs[input].shape.size()) + " dimensions");
    check(tuyere_context_set_shape(handle_, input, shape.data()));
  }
  /// Everything slow for the shapes that are set.
  void prepare() { check(tuyere_context_prepare(handle_)); }
  /// After prepare.
  std::vector<Io> inputs() const { return detail::list(handle_, tuyere_engine_input_count(engine_->handle()), tuyere_context_input); }
  std::vector<Io> outputs() const { return detail::list(handle_, tuyere_engine_output_count(engine_->handle()), tuyere_context_output); }
  std::vector<Buffer> make_inputs() const { return make(inputs()); }
  std::vector<Buffer> make_outputs() const { return make(outputs()); }
  /// stream: a CUstream, or null; it must exist until the next call on another stream, or the end of the context. Returns before the GPU has finished.
  void execute(const std::vector<Buffer>& inputs, const std::vector<Buffer>& outputs, void* stream = nullptr) {
    if (static_cast<int>(inputs.size()) != tuyere_engine_input_count(engine_->handle()) ||
        static_cast<int>(outputs.size()) != tuyere_engine_output_count(engine_->handle()))
      throw std::invalid_argument("execute needs one buffer per input and output of the engine");
    addresses_.clear();
    for (const std::vector<Buffer>* buffers : {&inputs, &outputs})
      for (const Buffer& buffer : *buffers) addresses_.push_back(buffer.data());
    check(tuyere_context_execute(handle_, addresses_.data(), addresses_.data() + inputs.size(), stream));
  }

 private:
  std::vector<Buffer> make(const std::vector<Io>& ios) const {
    std::vector<Buffer> buffers;
    for (const Io& io : ios) buffers.emplace_back(*engine_, io.bytes);
    return buffers;
  }

  const Engine* engine_;
  tuyere_context* handle_ = nullptr;
  std::vector<void*> addresses_;
};

}  // namespace tuyere::api
