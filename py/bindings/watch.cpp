// SPDX-License-Identifier: Apache-2.0
// What happens at every call besides the engine: a look at the watched weights. Reading version counters and addresses from Python costs more than
// small engines do, most of it for memory that the last call's work drove out of the caches: it is fetched for all weights at once before.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "py/bindings/objects.h"

namespace tuyere::python {
namespace {

/// What a write to a tensor changes. PyTorch keeps no version of tensors made in inference mode.
struct Stamp {
  int64_t version = -1;
  int64_t address = 0;
  bool operator==(const Stamp&) const = default;
};

/// What PyTorch's object for a tensor in Python holds: `Tensor::_version` and its shim for data_ptr() are called with that, without Python's objects around the
/// numbers. That it is where they want it is tried, on a tensor that is written, and where it is not nobody calls them.
class Native {
 public:
  explicit Native(const py::module_& torch) {
    void* const library = dlopen("libtorch_cpu.so", RTLD_LAZY | RTLD_NOLOAD);
    if (!library) return;
    version_ = reinterpret_cast<Version>(dlsym(library, "_ZNK2at10TensorBase8_versionEv"));
    address_ = reinterpret_cast<Address>(dlsym(library, "aoti_torch_get_data_ptr"));
    types_ = {torch.attr("Tensor"), torch.attr("nn").attr("Parameter")};
    const py::object tensor = torch.attr("zeros")(3);
    usable_ = version_ && address_ && agrees(tensor);
    if (usable_) tensor.attr("zero_")();
    usable_ = usable_ && agrees(tensor);
  }

  /// Whether to call the others for it: subclasses may have their own.
  bool knows(PyObject* tensor) const {
    const auto is = [&](const py::object& type) { return reinterpret_cast<PyObject*>(Py_TYPE(tensor)) == type.ptr(); };
    return usable_ && (is(types_[0]) || is(types_[1]));
  }
  int64_t version(PyObject* tensor) const { return version_(held(tensor)); }
  std::optional<int64_t> address(PyObject* tensor) const {
    void* data = nullptr;
    if (address_(held(tensor), &data) != 0) return std::nullopt;
    return static_cast<int64_t>(reinterpret_cast<intptr_t>(data));
  }

 private:
  using Version = int64_t (*)(const void* const* tensor);
  using Address = int32_t (*)(const void* const* tensor, void** data);

  static const void* const* held(PyObject* tensor) { return reinterpret_cast<const void* const*>(tensor + 1); }
  bool agrees(const py::object& tensor) const {
    if (reinterpret_cast<uintptr_t>(*held(tensor.ptr())) != tensor.attr("_cdata").cast<uintptr_t>()) return false;
    return version(tensor.ptr()) == tensor.attr("_version").cast<int64_t>() && address(tensor.ptr()) == tensor.attr("data_ptr")().cast<int64_t>();
  }

  Version version_ = nullptr;
  Address address_ = nullptr;
  std::array<py::object, 2> types_;
  bool usable_ = false;
};

/// PyTorch's own descriptors, for tensors of other types: no lookup of attributes by name.
class Descriptors {
 public:
  Descriptors() : native(py::module_::import("torch")) {
    const py::object members = py::module_::import("torch").attr("Tensor").attr("__base__").attr("__dict__");
    version_ = members["_version"];
    address_ = members["data_ptr"];
    is_inference_ = members["is_inference"];
  }

  bool has_version(PyObject* tensor) const { return checked(PyObject_CallOneArg(is_inference_.ptr(), tensor)).is(py::bool_(false)); }
  int64_t version(PyObject* tensor) const {
    return number(Py_TYPE(version_.ptr())->tp_descr_get(version_.ptr(), tensor, reinterpret_cast<PyObject*>(Py_TYPE(tensor))));
  }
  int64_t address(PyObject* tensor) const { return number(PyObject_CallOneArg(address_.ptr(), tensor)); }

  const Native native;

 private:
  static py::object checked(PyObject* value) {
    if (!value) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(value);
  }
  static int64_t number(PyObject* value) { return static_cast<int64_t>(PyLong_AsUnsignedLongLongMask(checked(value).ptr())); }

  py::object version_, address_, is_inference_;
};

const Descriptors& descriptors() {
  static const auto* found = new Descriptors;  // never destroyed: the interpreter may be gone by then
  return *found;
}

/// A tensor as last seen. A weak reference: watching keeps no weights alive, and an address is never taken for that of a tensor that is gone. None: forgotten.
struct Seen {
  py::object tensor;
  bool has_version = true;
  Stamp stamp;
};

Stamp stamp_of(PyObject* tensor, bool has_version) {
  const Descriptors& all = descriptors();
  if (all.native.knows(tensor)) {
    if (const std::optional<int64_t> address = all.native.address(tensor)) return {has_version ? all.native.version(tensor) : -1, *address};
  }
  return {has_version ? all.version(tensor) : -1, all.address(tensor)};
}

Seen look_at(PyObject* tensor) {
  PyObject* reference = PyWeakref_NewRef(tensor, nullptr);
  if (!reference) throw py::error_already_set();
  const bool has_version = descriptors().has_version(tensor);
  return {py::reinterpret_steal<py::object>(reference), has_version, stamp_of(tensor, has_version)};
}

py::object referent(const Seen& seen) {
  if (!seen.tensor) return {};
#if PY_VERSION_HEX >= 0x030D0000
  PyObject* tensor = nullptr;
  if (PyWeakref_GetRef(seen.tensor.ptr(), &tensor) < 0) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(tensor);
#else
  PyObject* tensor = PyWeakref_GetObject(seen.tensor.ptr());
  return tensor == Py_None ? py::object() : py::reinterpret_borrow<py::object>(tensor);
#endif
}

/// What `tensor` is now, when that is not `seen`. Another object is the same weight while the one seen still holds the same memory.
std::optional<Seen> change_of(const Seen& seen, PyObject* tensor) {
  const py::object before = referent(seen);
  if (before.ptr() == tensor) {
    const Stamp now = stamp_of(tensor, seen.has_version);
    if (now == seen.stamp) [[likely]]
      return std::nullopt;
    return Seen{seen.tensor, seen.has_version, now};
  }
  Seen other = look_at(tensor);
  const bool same = before && stamp_of(before.ptr(), seen.has_version) == seen.stamp && other.stamp == seen.stamp;
  return same ? std::nullopt : std::optional(std::move(other));
}

/// Cache lines that a look at tensors reads. Hints only: wrong ones cost a little time.
class Lines {
 public:
  Lines() = default;
  explicit Lines(const std::vector<Seen>& weights) {
    for (const Seen& seen : weights) {
      if (const py::object tensor = referent(seen)) add_tensor(tensor, seen.tensor.ptr());
    }
    std::sort(lines_.begin(), lines_.end());
    lines_.erase(std::unique(lines_.begin(), lines_.end()), lines_.end());
  }
  void fetch() const {
    for (uintptr_t line : lines_) __builtin_prefetch(reinterpret_cast<const void*>(line));
  }

 private:
  void add_tensor(const py::object& tensor, PyObject* reference) {
    constexpr size_t kTensorBytes = 192, kStorageBytes = 128, kPointers = 8;  // of PyTorch's objects: a tensor's first words point to what it shares
    add(reinterpret_cast<uintptr_t>(tensor.ptr()), 64);
    add(reinterpret_cast<uintptr_t>(reference), 64);
    const uintptr_t object = implementation(tensor);
    std::array<uintptr_t, kPointers> words{};
    if (object != 0) std::memcpy(words.data(), reinterpret_cast<const void*>(object), sizeof(words));
    for (uintptr_t word : words) add(word, sizeof(word));
    add(object, kTensorBytes);
    add(storage(tensor), kStorageBytes);
  }

  /// Where PyTorch's own object is; 0 where it does not say.
  static uintptr_t implementation(const py::object& object) {
    const py::object found = py::getattr(object, "_cdata", py::none());
    return py::isinstance<py::int_>(found) ? found.cast<uintptr_t>() : 0;
  }
  static uintptr_t storage(const py::object& tensor) try { return implementation(tensor.attr("untyped_storage")()); } catch (const py::error_already_set&) {
    return 0;  // some tensors have none
  }

  void add(uintptr_t begin, size_t bytes) {
    constexpr uintptr_t kLine = 64, kLeast = 1 << 16;  // no pointer is as small
    for (uintptr_t line = begin / kLine * kLine; begin >= kLeast && line < begin + bytes; line += kLine) lines_.push_back(line);
  }

  std::vector<uintptr_t> lines_;
};

/// A change that was found: accept() takes it as known once the engine has it.
struct Change {
  size_t position;
  Seen now;
};
using Changes = std::vector<Change>;

class Watch : public WeightWatch {
 public:
  explicit Watch(std::vector<Seen> seen) : seen_(std::move(seen)), lines_(seen_) { all().insert(this); }
  ~Watch() override { all().erase(this); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// Drops every weak reference to it. Where it is a weight it counts as changed, whatever it holds by the next look.
  static void forget(PyObject* tensor) {
    for (Watch* watch : all()) {
      for (Seen& seen : watch->seen_) {
        if (referent(seen).ptr() == tensor) seen = {.stamp = kForgotten};
      }
    }
  }

  void accept(const Changes& changes) {
    for (const Change& change : changes) seen_[change.position] = change.now;
    lines_ = Lines(seen_);
    ++accepted_;
  }
  uint64_t accepted() const override { return accepted_; }
  void fetch() const override { lines_.fetch(); }

  using WeightWatch::unchanged;
  bool unchanged(PyObject* const* weights, bool& seen) const override {
    bool same = true;
    for (size_t i = 0; i < seen_.size(); ++i) {
      const bool unchanged = seen ? stamp_of(weights[i], seen_[i].has_version) == seen_[i].stamp : !change_of(seen_[i], weights[i]);
      if (!unchanged) return false;
      same = same && (seen || referent(seen_[i]).ptr() == weights[i]);
    }
    seen = same;
    return true;
  }

 protected:
  void look(size_t position, PyObject* tensor, std::optional<Changes>& changes) const {
    std::optional<Seen> now = change_of(seen_[position], tensor);
    if (!now) return;
    if (!changes) changes.emplace();
    changes->push_back({position, std::move(*now)});
  }

  std::vector<Seen> seen_;
  Lines lines_;

 private:
  static constexpr Stamp kForgotten{-2, -1};  // no tensor's

  static std::unordered_set<Watch*>& all() {
    static auto* const watches = new std::unordered_set<Watch*>;  // never destroyed: watches may outlive the library's statics
    return *watches;
  }

  uint64_t accepted_ = 0;
};

/// Weights that are arguments: at fixed positions of a list.
class ArgumentWatch : public Watch {
 public:
  ArgumentWatch(const py::sequence& tensors, std::vector<size_t> positions) : Watch(look_at_all(tensors)), positions_(std::move(positions)) {}

  using Watch::unchanged;
  bool unchanged(const py::list& arguments) const override { return !changes(arguments); }

  std::optional<Changes> changes(const py::list& arguments) const {
    std::optional<Changes> found;
    lines_.fetch();
    for (size_t i = 0; i < seen_.size(); ++i) look(i, PyList_GET_ITEM(arguments.ptr(), static_cast<Py_ssize_t>(positions_.at(i))), found);
    return found;
  }

 private:
  static std::vector<Seen> look_at_all(const py::sequence& tensors) {
    std::vector<Seen> seen;
    for (const auto& tensor : tensors) seen.push_back(look_at(tensor.ptr()));
    return seen;
  }

  std::vector<size_t> positions_;
};

/// Weights that are entries of dictionaries: of modules' parameters and buffers, where another tensor may take their place.
class OwnerWatch : public Watch {
 public:
  using Places = std::vector<std::pair<py::dict, py::str>>;

  explicit OwnerWatch(const Places& places) : Watch(look_at_all(places)), places_(places) {}

  using Watch::unchanged;
  bool unchanged(const py::list&) const override { return !changes(); }

  std::optional<Changes> changes() const {
    std::optional<Changes> found;
    lines_.fetch();
    for (size_t i = 0; i < seen_.size(); ++i) {
      PyObject* tensor = PyDict_GetItemWithError(places_[i].first.ptr(), places_[i].second.ptr());
      if (tensor && tensor != Py_None) look(i, tensor, found);
    }
    return found;
  }

 private:
  static std::vector<Seen> look_at_all(const Places& places) {
    std::vector<Seen> seen;
    for (const auto& [owner, name] : places) seen.push_back(look_at(py::object(owner[name]).ptr()));
    return seen;
  }

  Places places_;
};

}  // namespace

void bind_watch(py::module_& m) {
  py::class_<Change>(m, "WeightChange").def_readonly("position", &Change::position).def_property_readonly("tensor", [](const Change& c) {
    return referent(c.now);
  });
  py::class_<WeightWatch>(m, "WeightWatch");
  py::class_<Watch, WeightWatch>(m, "Watch").def("accept", &Watch::accept);
  m.def(
      "forget_weight", [](const py::object& tensor) { Watch::forget(tensor.ptr()); }, "Drops the weak references to it; watches take it for changed.");
  py::class_<ArgumentWatch, Watch>(m, "ArgumentWatch")
      .def(py::init<const py::sequence&, std::vector<size_t>>())
      .def("changes", &ArgumentWatch::changes, "What changed since it was accepted, among the arguments of this call; None: nothing.");
  py::class_<OwnerWatch, Watch>(m, "OwnerWatch")
      .def(py::init<const std::vector<std::pair<py::dict, py::str>>&>())
      .def("changes", &OwnerWatch::changes, "What changed since it was accepted; None: nothing.");
}

}  // namespace tuyere::python
