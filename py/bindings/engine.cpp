// SPDX-License-Identifier: Apache-2.0
#include "runtime/engine/engine.h"

#include "py/bindings/objects.h"
#include "runtime/plan/plan_json.h"

namespace tuyere::python {
namespace {

/// A tensor described by Python: (address, dtype, shape, strides, device).
struct Described {
  std::vector<int64_t> shape, strides;
  TensorRef ref;
};

Described described(const py::tuple& t) {
  Described d;
  d.shape = t[2].cast<std::vector<int64_t>>();
  d.strides = t[3].cast<std::vector<int64_t>>();
  d.ref.data = reinterpret_cast<void*>(t[0].cast<uintptr_t>());
  d.ref.dtype = dtype_from(t[1].cast<std::string>());
  d.ref.device = t[4].cast<int>();
  return d;
}

std::vector<Described> described(const py::sequence& tensors) {
  std::vector<Described> out;
  for (const auto& t : tensors) out.push_back(described(t.cast<py::tuple>()));
  return out;
}

std::vector<TensorRef> refs(std::vector<Described>& tensors) {
  std::vector<TensorRef> out;
  for (Described& d : tensors) {
    d.ref.shape = d.shape;
    d.ref.strides = d.strides;
    out.push_back(d.ref);
  }
  return out;
}

py::list io_list(const PlanBody& body, const std::vector<PlanIo>& entries) {
  py::list out;
  for (const PlanIo& io : entries) {
    const PlanTensor& tensor = body.tensors[io.tensor];
    py::dict d;
    d["name"] = io.name;
    d["dtype"] = std::string(name(tensor.dtype));
    d["shape"] = to_python(tensor.shape);
    d["strides"] = to_python(tensor.strides);
    out.append(d);
  }
  return out;
}

py::list step_list(const Plan& plan) {
  py::list out;
  for (const PlanStep& step : plan.bodies[0].steps) {
    py::dict d;
    d["name"] = step.name;
    d["executor"] = step.spec.executor;
    d["tactic"] = step.tactic;
    d["config"] = step.config;
    d["problem"] = step.problem;
    d["origins"] = step.origins;
    d["micros"] = step.micros;
    out.append(d);
  }
  return out;
}

/// Keeps a Python object alive from C++.
std::shared_ptr<const void> keep(py::object owner) {
  return std::shared_ptr<const void>(new py::object(std::move(owner)), [](const void* p) {
    py::gil_scoped_acquire gil;
    delete static_cast<const py::object*>(p);
  });
}

/// Tensors that an engine may use in place: {name: (described, owner)}.
class SharedTensors {
 public:
  explicit SharedTensors(const py::dict& tensors) {
    described_.reserve(tensors.size());
    for (const auto& [name, value] : tensors) {
      const auto pair = value.cast<py::tuple>();
      Described& d = described_.emplace_back(described(pair[0].cast<py::tuple>()));
      d.ref.shape = d.shape;
      d.ref.strides = d.strides;
      weights_.push_back({name.cast<std::string>(), d.ref, keep(pair[1])});
    }
  }
  std::span<const SharedWeight> weights() const { return weights_; }

 private:
  std::vector<Described> described_;
  std::vector<SharedWeight> weights_;
};

EngineOptions engine_options(int device, bool cuda_graphs, const std::string& weights_file, const SharedTensors& shared) {
  EngineOptions options;
  options.device = std::max(device, 0);
  options.cuda_graphs = cuda_graphs;
  options.weights_file = weights_file;
  options.shared = shared.weights();
  return options;
}

/// `owner` keeps the bytes of a carrier (64-byte header, engine file) alive; address and size describe them.
PyEngine open_carrier(py::object owner, uintptr_t address, int64_t bytes, int device, bool cuda_graphs, const std::string& weights_file,
                      const py::dict& shared) {
  const auto owned = keep(std::move(owner));
  const SharedTensors tensors(shared);
  const EngineOptions options = engine_options(device, cuda_graphs, weights_file, tensors);
  Result<std::shared_ptr<EngineHandle>> handle = Status();
  {
    py::gil_scoped_release release;
    handle = find_engine({reinterpret_cast<const std::byte*>(address), static_cast<size_t>(bytes)}, owned, options);
  }
  raise_if(handle.status());
  return PyEngine(*handle);
}

PyEngine load_file(const std::string& path, int device, bool cuda_graphs, const std::string& weights_file, const py::dict& shared) {
  const SharedTensors tensors(shared);
  auto engine = Engine::load(path, engine_options(device, cuda_graphs, weights_file, tensors));
  raise_if(engine.status());
  return PyEngine(std::make_shared<EngineHandle>(std::move(*engine)));
}

py::list outputs(PyEngine& self, const py::sequence& inputs) {
  auto tensors = described(inputs);
  const auto in = refs(tensors);
  auto context = self.handle().take();
  raise_if(context.status());
  auto views = (*context)->outputs(in);
  py::list out;
  if (views.is_ok()) {
    for (const TensorView& view : *views) out.append(py::make_tuple(std::string(name(view.dtype)), view.shape, view.strides));
  }
  self.handle().give_back(std::move(*context));
  raise_if(views.status());
  return out;
}

void execute(PyEngine& self, const py::sequence& inputs, const py::sequence& outputs, uintptr_t stream) {
  auto in_tensors = described(inputs), out_tensors = described(outputs);
  const auto in = refs(in_tensors), out = refs(out_tensors);
  py::gil_scoped_release release;
  auto context = self.handle().take();
  Status status = context.status();
  if (status.is_ok()) {
    status = (*context)->execute(in, out, reinterpret_cast<void*>(stream));
    self.handle().give_back(std::move(*context));
  }
  py::gil_scoped_acquire acquire;
  raise_if(status);
}

py::list profile(PyEngine& self, const py::sequence& inputs, const py::sequence& outputs, uintptr_t stream) {
  auto in_tensors = described(inputs), out_tensors = described(outputs);
  const auto in = refs(in_tensors), out = refs(out_tensors);
  auto context = self.handle().take();
  raise_if(context.status());
  auto times = (*context)->profile(in, out, reinterpret_cast<void*>(stream));
  self.handle().give_back(std::move(*context));
  raise_if(times.status());
  py::list list;
  for (const StepTime& t : *times) list.append(py::make_tuple(t.step, t.micros));
  return list;
}

void refit(PyEngine& self, const std::vector<std::string>& names, const py::sequence& values, uintptr_t stream) {
  auto tensors = described(values);
  const auto list = refs(tensors);
  py::gil_scoped_release release;
  const Status status = self.engine().refit(names, list, reinterpret_cast<void*>(stream));
  py::gil_scoped_acquire acquire;
  raise_if(status);
}

void share(PyEngine& self, const py::dict& weights, uintptr_t stream) {
  const SharedTensors tensors(weights);
  py::gil_scoped_release release;
  const Status status = self.engine().share(tensors.weights(), reinterpret_cast<void*>(stream));
  py::gil_scoped_acquire acquire;
  raise_if(status);
}

}  // namespace

void bind_engine(py::module_& m) {
  py::class_<PyEngine>(m, "Engine")
      .def("inputs", [](const PyEngine& e) { return io_list(e.engine().body(), e.engine().body().inputs); })
      .def("outputs", [](const PyEngine& e) { return io_list(e.engine().body(), e.engine().body().outputs); })
      .def("steps", [](const PyEngine& e) { return step_list(e.engine().plan()); })
      .def_property_readonly("target", [](const PyEngine& e) { return e.engine().plan().target; })
      .def_property_readonly("device", [](const PyEngine& e) { return e.engine().device(); })
      .def_property_readonly("meta", [](const PyEngine& e) { return e.engine().plan().meta; })
      .def("plan", [](const PyEngine& e) { return py::module_::import("json").attr("loads")(to_json(e.engine().plan())); })
      .def_property_readonly("weight_bytes", [](const PyEngine& e) { return e.engine().weight_bytes(); })
      .def("refittable", [](const PyEngine& e) { return e.engine().refittable(); })
      .def("describe_outputs", &outputs)
      .def("execute", &execute)
      .def("profile", &profile)
      .def("refit", &refit)
      .def("share", &share)
      .def("mode",
           [](PyEngine& e) {
             auto context = e.handle().take();
             raise_if(context.status());
             std::string mode = (*context)->mode();
             e.handle().give_back(std::move(*context));
             return mode;
           })
      .def("arena_bytes",
           [](PyEngine& e) {
             auto context = e.handle().take();
             raise_if(context.status());
             const int64_t bytes = (*context)->arena_bytes();
             e.handle().give_back(std::move(*context));
             return bytes;
           })
      .def("save", [](const PyEngine& e, const std::string& path, const std::string& weights) { raise_if(e.engine().save(path, weights)); })
      .def("save_weights", [](const PyEngine& e, const std::string& path) { raise_if(e.engine().save_weights(path)); });
  m.def("open_carrier", &open_carrier, py::arg("owner"), py::arg("address"), py::arg("bytes"), py::arg("device") = 0, py::arg("cuda_graphs") = true,
        py::arg("weights_file") = "", py::arg("shared") = py::dict());
  m.def("load_file", &load_file, py::arg("path"), py::arg("device") = 0, py::arg("cuda_graphs") = true, py::arg("weights_file") = "",
        py::arg("shared") = py::dict());
  m.def(
      "check_engine",
      [](const py::bytes& header) {
        const std::string_view view = header;
        const Status status = check_engine({reinterpret_cast<const std::byte*>(view.data()), view.size()});
        return status.is_ok() ? std::string() : status.message();
      },
      "Why an engine file does not run here (\"\": it does), from its header alone.");
  m.def("unload", [](const std::string& carrier_head) {
    auto id = carrier_id({reinterpret_cast<const std::byte*>(carrier_head.data()), carrier_head.size()});
    raise_if(id.status());
    return unload_engine(*id);
  });
}

}  // namespace tuyere::python
