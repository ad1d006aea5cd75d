// SPDX-License-Identifier: Apache-2.0
// Calls that are given the modules at the root of a model instead of all its weights (py/tuyere/rooted.py). Dynamo's code would fetch one weight after the
// other with Python's interpreter, only for the engine to find that they are those it was built with: here that is a look at the dictionaries on the way to
// them.
#include <memory>
#include <optional>
#include <tuple>

#include "py/bindings/untraced.h"

namespace tuyere::python {
namespace {

/// What changes with every write to a dictionary and was never any other dictionary's; 0 where Python does not keep it.
uint64_t tag_of(PyObject* dictionary) {
#if PY_VERSION_HEX < 0x030C0000
  return reinterpret_cast<PyDictObject*>(dictionary)->ma_version_tag;
#else
  static_cast<void>(dictionary);
  return 0;
#endif
}

/// The values at the end of paths from some roots: attributes of objects and entries of dictionaries.
class Places {
 public:
  /// Value `from`'s attribute or, unless is_attribute, entry `name`. Values are the roots, then the steps.
  using Step = std::tuple<size_t, py::str, bool>;

  Places(size_t roots, std::vector<Step> steps) : roots_(roots), steps_(std::move(steps)), values_(roots + steps_.size()) {
    for (size_t i = 0; i < steps_.size(); ++i) {
      const auto& [from, name, is_attribute] = steps_[i];
      if (from >= roots_ + i) throw py::value_error("a step before its object");
      find(from, is_attribute).entries.push_back(i);
    }
  }

  size_t roots() const { return roots_; }

  /// Finds all values, without running code of the modules. False: an object is not plain, or something is missing.
  bool look(PyObject* const* roots) {
    for (size_t i = 0; i < roots_; ++i) values_[i] = roots[i];
    for (Dictionary& each : dictionaries_)
      if (!look(each)) {
        for (Dictionary& dictionary : dictionaries_) dictionary.object = nullptr;
        return false;
      }
    return true;
  }

  /// Of the last look. Alive as long as nobody writes to a dictionary.
  PyObject* value(size_t index) const { return values_[index]; }
  /// Whether all values are those of the look that had this state. Where Python does not tell, they never are.
  uint64_t state() const { return state_; }

  /// All values, as the interpreter would find them.
  std::vector<py::object> fetch(PyObject* const* roots) const {
    std::vector<py::object> values;
    values.reserve(values_.size());
    for (size_t i = 0; i < roots_; ++i) values.push_back(py::reinterpret_borrow<py::object>(roots[i]));
    for (const auto& [from, name, is_attribute] : steps_) {
      PyObject* const owner = values[from].ptr();
      values.push_back(checked(is_attribute ? PyObject_GetAttr(owner, name.ptr()) : PyObject_GetItem(owner, name.ptr())));
    }
    return values;
  }

 private:
  struct Dictionary {
    size_t from;
    bool is_attribute;            // it is that of the attributes of value `from`, else the value itself
    std::vector<size_t> entries;  // steps
    PyObject* object = nullptr;   // as of the last look
    uint64_t tag = 0;
  };

  Dictionary& find(size_t from, bool is_attribute) {
    for (Dictionary& each : dictionaries_)
      if (each.from == from && each.is_attribute == is_attribute) return each;
    return dictionaries_.emplace_back(Dictionary{from, is_attribute, {}});
  }

  // A dictionary with the tag it had holds the values it had, so they are alive, and what is read of them next may be read.
  bool look(Dictionary& each) {
    PyObject* object = values_[each.from];
    if (each.is_attribute) object = attributes(object);
    if (!object || !(PyDict_CheckExact(object) || PyODict_CheckExact(object))) return false;
    if (object == each.object && tag_of(object) == each.tag && each.tag != 0) [[likely]]
      return true;
    for (size_t step : each.entries) {
      PyObject* const found = PyDict_GetItemWithError(object, std::get<1>(steps_[step]).ptr());
      if (!found) {
        PyErr_Clear();
        return false;
      }
      values_[roots_ + step] = found;
    }
    each.object = object;
    each.tag = tag_of(object);
    ++state_;
    return true;
  }

  /// The dictionary of an object's attributes, which the object keeps alive.
  static PyObject* attributes(PyObject* object) {
    PyObject* const found = PyObject_GenericGetDict(object, nullptr);
    if (found) {
      Py_DECREF(found);
    } else {
      PyErr_Clear();
    }
    return found;
  }

  const size_t roots_;
  const std::vector<Step> steps_;
  std::vector<Dictionary> dictionaries_;  // each after those that lead to it
  std::vector<PyObject*> values_;
  uint64_t state_ = 0;
};

class RootedCall {
 public:
  /// direct: of the arguments that calls are given. watch: over the weights, which are these values. arguments: of `whole`, which takes calls that are no plain
  /// ones: value k, or what a call was given as -1 - k. exceptional: functions that tell those calls. written: not empty while writes to weights are still to
  /// be published.
  RootedCall(DirectCall direct, const py::object& watch, Places places, std::vector<size_t> weights, std::vector<int64_t> arguments, const py::function& whole,
             std::vector<py::object> exceptional, const py::dict& written, const py::function& set_eval_frame)
      : direct_(std::move(direct)),
        watch_object_(watch),
        watch_(watch.cast<const WeightWatch&>()),
        places_(std::move(places)),
        weights_(std::move(weights)),
        objects_(weights_.size()),
        arguments_(std::move(arguments)),
        whole_(whole),
        exceptional_(std::move(exceptional)),
        written_(written),
        set_eval_frame_(set_eval_frame) {}

  py::object operator()(PyObject* const* given) {
    watch_.fetch();
    const bool plain = PyDict_GET_SIZE(written_.ptr()) == 0 && !any_true(exceptional_) && !direct_.is_observed() && are_unchanged(given);
    return plain ? py::object(direct_.all(given)) : whole(given);
  }

 private:
  bool are_unchanged(PyObject* const* given) {
    if (!places_.look(given)) return false;
    bool seen = seen_ == std::pair(places_.state(), watch_.accepted());
    if (!seen) {
      for (size_t i = 0; i < weights_.size(); ++i) objects_[i] = places_.value(weights_[i]);
    }
    if (!watch_.unchanged(objects_.data(), seen)) return false;
    seen_.reset();
    if (seen) seen_ = {places_.state(), watch_.accepted()};
    return true;
  }

  py::object whole(PyObject* const* given) const {
    const Untraced scope(set_eval_frame_);
    const std::vector<py::object> values = places_.fetch(given);
    py::tuple arguments(arguments_.size());
    for (size_t i = 0; i < arguments_.size(); ++i) {
      const int64_t k = arguments_[i];
      arguments[i] = k >= 0 ? values.at(static_cast<size_t>(k)) : py::reinterpret_borrow<py::object>(given[-1 - k]);
    }
    return checked(PyObject_Call(whole_.ptr(), arguments.ptr(), nullptr));
  }

  const DirectCall direct_;
  const py::object watch_object_;
  const WeightWatch& watch_;
  Places places_;
  const std::vector<size_t> weights_;
  std::vector<PyObject*> objects_;  // at the last look; alive while places_.state() is the same
  const std::vector<int64_t> arguments_;
  const py::function whole_;
  const std::vector<py::object> exceptional_;
  const py::dict written_;
  const py::function set_eval_frame_;
  std::optional<std::pair<uint64_t, uint64_t>> seen_;  // states of places and watch in which objects_ were those of the watch
};

constexpr const char* kRootedCapsule = "tuyere.RootedCall";

PyObject* call_rooted(PyObject* self, PyObject* const* given, Py_ssize_t) {
  return guarded<RootedCall>(self, kRootedCapsule, [&](RootedCall& call) { return call(given); });
}
PyMethodDef rooted_definition{"tuyere_call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call_rooted)), METH_FASTCALL, "A compiled graph."};

/// A function of the roots and the arguments that are left; None where the engine itself takes weights as arguments. positions: of the graph's arguments in
/// calls, -1: none.
py::object rooted_call(const DirectCall& direct, const py::object& watch, size_t roots, std::vector<Places::Step> steps, std::vector<size_t> weights,
                       std::vector<int64_t> arguments, const std::vector<int64_t>& positions, const py::function& whole, std::vector<py::object> exceptional,
                       const py::dict& written, const py::function& set_eval_frame) {
  std::optional<DirectCall> moved = direct.at(positions);
  if (!moved) return py::none();
  auto call = std::make_unique<RootedCall>(std::move(*moved), watch, Places(roots, std::move(steps)), std::move(weights), std::move(arguments), whole,
                                           std::move(exceptional), written, set_eval_frame);
  const py::capsule owner(call.release(), kRootedCapsule,
                          [](PyObject* capsule) { delete static_cast<RootedCall*>(PyCapsule_GetPointer(capsule, kRootedCapsule)); });
  return checked(PyCFunction_New(&rooted_definition, owner.ptr()));
}

}  // namespace

void bind_rooted(py::module_& m) {
  m.def("rooted_call", &rooted_call, py::arg("direct"), py::arg("watch"), py::arg("roots"), py::arg("steps"), py::arg("weights"), py::arg("arguments"),
        py::arg("positions"), py::arg("whole"), py::arg("exceptional"), py::arg("written"), py::arg("set_eval_frame"));
}

}  // namespace tuyere::python
