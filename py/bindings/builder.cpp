// SPDX-License-Identifier: Apache-2.0
#include "core/builder/builder.h"

#include "core/builder/describe.h"
#include "core/builder/emit.h"
#include "core/builder/engine_cache.h"
#include "core/passes/pass.h"
#include "py/bindings/bindings.h"
#include "runtime/engine/registry.h"

namespace tuyere::python {
namespace {

py::bytes to_bytes(const std::vector<std::byte>& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// Progress callbacks come from the builder without the GIL. An exception of the callback (Ctrl-C) cancels and is raised by build().
ProgressFn wrap_progress(const py::object& callback, std::exception_ptr& raised) {
  if (callback.is_none()) return {};
  return [callback, &raised](const std::string& phase, int done, int total, const std::string& what) {
    py::gil_scoped_acquire gil;
    try {
      const py::object go_on = callback(phase, done, total, what);
      return go_on.is_none() || go_on.cast<bool>();
    } catch (...) {
      raised = std::current_exception();
      return false;
    }
  };
}

py::tuple build_engine(const Network& network, BuilderConfig config, const py::object& progress) {
  std::exception_ptr raised;
  config.progress = wrap_progress(progress, raised);
  BuiltEngine built;
  {
    py::gil_scoped_release release;
    try {
      built = build_cached(network, config);
    } catch (...) {
      if (!raised) throw;
    }
  }
  if (raised) std::rethrow_exception(raised);
  config.progress = {};
  return py::make_tuple(to_bytes(built.bytes), to_json(built.report), to_bytes(built.weights), built.weights_path);
}

void bind_config(py::module_& m) {
  py::class_<OptimizationProfile>(m, "OptimizationProfile")
      .def(py::init<>())
      .def(
          "set",
          [](OptimizationProfile& p, const std::string& symbol, int64_t min, int64_t opt, int64_t max) {
            p.symbols[symbol] = {min, opt, max};
          },
          py::arg("symbol"), py::arg("min"), py::arg("opt"), py::arg("max"));
  py::class_<BuilderConfig>(m, "BuilderConfig")
      .def(py::init<>())
      .def_readwrite("target", &BuilderConfig::target)
      .def_readwrite("precision", &BuilderConfig::precision)
      .def_readwrite("optimization_level", &BuilderConfig::optimization_level)
      .def_readwrite("workspace_size", &BuilderConfig::workspace_size)
      .def_readwrite("tactic_sources", &BuilderConfig::tactic_sources)
      .def_readwrite("timing_cache", &BuilderConfig::timing_cache)
      .def_readwrite("engine_cache", &BuilderConfig::engine_cache)
      .def_readwrite("weights", &BuilderConfig::weights)
      .def_readwrite("profiles", &BuilderConfig::profiles)
      .def_readwrite("disabled_passes", &BuilderConfig::disabled_passes)
      .def_readwrite("deterministic", &BuilderConfig::deterministic)
      .def_readwrite("cuda_graphs", &BuilderConfig::cuda_graphs)
      .def_readwrite("tf32_matmul", &BuilderConfig::tf32_matmul)
      .def_readwrite("tf32_conv", &BuilderConfig::tf32_conv)
      .def_readwrite("num_threads", &BuilderConfig::num_threads);
}

}  // namespace

void bind_builder(py::module_& m) {
  bind_config(m);
  m.def("build", &build_engine, py::arg("network"), py::arg("config"), py::arg("progress") = py::none(),
        "Builds an engine, or takes it from the engine cache: (bytes of the engine file, report as JSON, bytes of the weights file, path of the weights "
        "file). progress(phase, done, total, what) may return False to cancel.");
  m.def("symbols_of", [](const Network& network) { return symbols_of(network.main()); });
  m.def("pass_names", [] {
    std::vector<std::string> names;
    for (const Pass& pass : pipeline()) names.emplace_back(pass.name);
    return names;
  });
  m.def("library_versions", [](const std::string& target) { return library_versions(find_target(target)); });
  m.def(
      "problem_cost",
      [](const std::string& text, const std::map<std::string, int64_t>& sizes) {
        Problem problem = parse_problem(text);
        for (const auto& [name, size] : sizes) problem.hints.set(name, size);
        return std::pair(traffic_bytes(problem), flops(problem));
      },
      "(bytes, floating-point operations) of a step's problem at these sizes.");
  m.def(
      "target_rates",
      [](const std::string& text) {
        const Target target = find_target(text);
        return std::pair(target.copy_gbps, target.tensor_tflops);
      },
      "What the cost model takes a machine for: (GB/s of a copy, f16 TFLOP/s of its tensor cores or vector units).");
  m.def("content_id", [](const py::bytes& data) {
    const std::string_view view = data;
    return content_id({reinterpret_cast<const std::byte*>(view.data()), view.size()});
  });
  m.def("carrier_header", [](const std::string& hex) {
    if (hex.size() != 32) throw py::value_error("an engine id has 32 hex digits");
    EngineId id;
    for (size_t i = 0; i < id.size(); ++i) id[i] = static_cast<unsigned char>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
    const auto header = carrier_header(id);
    return py::bytes(reinterpret_cast<const char*>(header.data()), header.size());
  });
}

}  // namespace tuyere::python
