// SPDX-License-Identifier: Apache-2.0
#include "kernels/pointwise/tile_cpu.h"

#include <algorithm>

#include "common/error.h"

namespace tuyere::cpu {
namespace {

constexpr size_t kSlotBytes = TileProgram::kTile * 8;

bool is_dense(const Patch& p, int64_t rows, int64_t cols) { return p.col_stride == 1 && (rows == 1 || p.row_stride == cols); }

Program identity(DType storage) {
  Program p;
  p.inputs = {compute_type(storage)};
  p.outputs = {0};
  return p;
}

// Hands out slots and takes them back after the last use.
class SlotAllocator {
 public:
  int take() {
    if (free_.empty()) return count_++;
    const int slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void give(int slot) { free_.push_back(slot); }
  int count() const { return count_; }

 private:
  std::vector<int> free_;
  int count_ = 0;
};

/// What an instruction does to tiles: that of the program, or a product with the sum that is its only reader.
struct Action {
  enum class Kind : uint8_t { plain, nothing, multiply_add } kind = Kind::plain;
  std::array<int16_t, 3> args{-1, -1, -1};
};

// Sums of f32 products are rounded once. Were x * scale rounded before a shift is added to it, all values of a binade would lie on one grid and the sum's
// roundings have one sign, which a convolution with such weights adds up. Differences are left: users expect c - a * b to be 0 where c is a * b.
std::vector<Action> contract(const Program& p) {
  const auto inputs = static_cast<int>(p.inputs.size());
  std::vector<Action> actions(p.body.size());
  std::vector<int> uses(p.inputs.size() + p.body.size(), 0);
  for (int16_t o : p.outputs) ++uses[o];
  for (size_t i = 0; i < p.body.size(); ++i) {
    std::copy(std::begin(p.body[i].args), std::end(p.body[i].args), actions[i].args.begin());
    for (int16_t a : p.body[i].args) {
      if (a >= 0) ++uses[a];
    }
  }
  const auto is_product = [&](int16_t v) { return v >= inputs && p.body[v - inputs].fn == Fn::mul && compute_type(p.type_of(v)) == DType::F32; };
  for (size_t i = 0; i < p.body.size(); ++i) {
    if (p.body[i].fn != Fn::add) continue;
    const int16_t a = actions[i].args[0], b = actions[i].args[1];
    if (is_product(a) == is_product(b)) continue;  // of two products one would be rounded: a * b + c * -d should be 0 where they are equal
    const int16_t product = is_product(a) ? a : b;
    if (uses[product] != 1) continue;
    Action& factors = actions[product - inputs];
    actions[i] = {Action::Kind::multiply_add, {factors.args[0], factors.args[1], product == a ? b : a}};
    factors = {Action::Kind::nothing};
  }
  return actions;
}

// The last action that reads each value; outputs live to the end.
std::vector<int> last_uses(const Program& p, const std::vector<Action>& actions) {
  std::vector<int> last(p.inputs.size() + p.body.size(), -1);
  for (size_t i = 0; i < actions.size(); ++i) {
    for (int16_t a : actions[i].args) {
      if (a >= 0) last[a] = static_cast<int>(i);
    }
  }
  for (int16_t o : p.outputs) last[o] = static_cast<int>(p.body.size());
  return last;
}

// Without the roundings to the types that outputs are stored in: the store rounds.
Program without_stored_roundings(Program p, const std::vector<DType>& out) {
  const auto inputs = static_cast<int16_t>(p.inputs.size());
  bool dropped = false;
  for (size_t k = 0; k < out.size() && k < p.outputs.size(); ++k) {
    const int16_t o = p.outputs[k];
    if (o < inputs || p.body[o - inputs].fn != Fn::cast || p.body[o - inputs].type != out[k] || compute_type(out[k]) == out[k]) continue;
    p.outputs[k] = p.body[o - inputs].args[0];
    dropped = true;
  }
  return dropped ? simplify(p) : p;
}

}  // namespace

TileProgram::TileProgram(const Program& original, const std::vector<DType>& in, const std::vector<DType>& out) {
  const Program program = without_stored_roundings(original.empty() ? identity(in.at(0)) : original, out);
  INTERNAL_CHECK(in.size() == program.inputs.size(), "the program has " << program.inputs.size() << " inputs, not " << in.size());
  for (size_t k = 0; k < in.size(); ++k) {
    loads_.push_back(tile_load(in[k], program.inputs[k]));
    direct_.push_back(in[k] == program.inputs[k] && in[k] != DType::Bool);
  }
  for (int16_t o : program.outputs) {
    outputs_.push_back(o);
    output_types_.push_back(compute_type(program.type_of(o)));
  }
  INTERNAL_CHECK(out.size() <= outputs_.size(), "the program has " << outputs_.size() << " outputs, not " << out.size());
  for (size_t k = 0; k < out.size(); ++k) stores_.push_back(tile_store(output_types_[k], out[k]));
  compile(program);
  direct_store_ = out.size() == 1 && outputs_.size() == 1 && out[0] == output_types_[0] && !code_.empty() && code_.back().out == outputs_[0];
}

void TileProgram::compile(const Program& program) {
  const int inputs = static_cast<int>(program.inputs.size()), count = inputs + static_cast<int>(program.body.size());
  const std::vector<Action> actions = contract(program);
  const std::vector<int> last = last_uses(program, actions);
  slots_.assign(count, -1);
  SlotAllocator slots;
  for (int k = 0; k < inputs; ++k) slots_[k] = slots.take();
  for (size_t i = 0; i < program.body.size(); ++i) {  // constants are written once by init(): no other value may ever share their slots
    const Inst& inst = program.body[i];
    if (inst.fn != Fn::constant) continue;
    slots_[inputs + static_cast<int>(i)] = slots.take();
    constants_.push_back({inputs + static_cast<int>(i), compute_type(inst.type), inst.value});
  }
  for (size_t i = 0; i < program.body.size(); ++i) {
    const Inst& inst = program.body[i];
    const int value = inputs + static_cast<int>(i);
    const auto& [kind, args] = actions[i];
    if (inst.fn == Fn::constant || kind == Action::Kind::nothing) continue;
    Code code;
    code.a = args[0];
    code.b = args[1];
    code.c = args[2];
    code.out = value;
    const DType argument = compute_type(program.type_of(inst.fn == Fn::where ? inst.args[1] : inst.args[0]));
    if (kind == Action::Kind::multiply_add) {
      code.fn = f32_multiply_add();
    } else if (inst.fn == Fn::cast) {
      const bool same = compute_type(inst.type) == inst.type;
      code.convert = same ? tile_convert(argument, inst.type) : tile_round(argument, inst.type);
    } else {
      code.fn = argument == DType::F32 ? f32_function(inst.fn) : generic_function(inst.fn, argument);
    }
    slots_[value] = slots.take();
    code_.push_back(code);
    for (int k = 0; k < 3; ++k) {
      const int a = args[k];
      const bool repeated = (k > 0 && a == args[0]) || (k > 1 && a == args[1]);
      if (a >= inputs && !repeated && last[a] == static_cast<int>(i) && program.body[a - inputs].fn != Fn::constant) slots.give(slots_[a]);
    }
    if (last[value] < 0) slots.give(slots_[value]);
  }
  values_bytes_ = (sizeof(void*) * static_cast<size_t>(count) + 63) / 64 * 64;
  scratch_bytes_ = values_bytes_ + kSlotBytes * static_cast<size_t>(slots.count());
}

void TileProgram::init(std::byte* scratch) const {
  for (const Constant& c : constants_) {
    std::byte* slot = scratch + values_bytes_ + kSlotBytes * static_cast<size_t>(slots_[c.value]);
    tile_load(DType::F64, c.type)(Patch{&c.number, 0, 0}, slot, 1, kTile);
  }
}

void TileProgram::compute(const Patch* in, const void** values, int64_t rows, int64_t cols, std::byte* scratch, void* last, uint64_t loaded) const {
  const auto slot = [&](int value) { return scratch + values_bytes_ + kSlotBytes * static_cast<size_t>(slots_[value]); };
  for (size_t k = 0; k < loads_.size(); ++k) {
    if (direct_[k] && is_dense(in[k], rows, cols)) {
      values[k] = in[k].data;
    } else {
      values[k] = slot(static_cast<int>(k));  // which no other value shares
      if ((loaded >> k & 1) == 0) loads_[k](in[k], slot(static_cast<int>(k)), rows, cols);
    }
  }
  for (const Constant& c : constants_) values[c.value] = slot(c.value);
  const auto value = [&](int v) { return v < 0 ? nullptr : values[v]; };
  for (const Code& code : code_) {
    void* out = last && &code == &code_.back() ? last : slot(code.out);
    if (code.convert) {
      code.convert(values[code.a], out, rows * cols);
    } else {
      code.fn(value(code.a), value(code.b), value(code.c), out, rows * cols);
    }
    values[code.out] = out;
  }
}

void TileProgram::run(const Patch* in, const Patch* out, int64_t rows, int64_t cols, std::byte* scratch, uint64_t loaded) const {
  const auto values = reinterpret_cast<const void**>(scratch);
  const bool in_place = direct_store_ && is_dense(out[0], rows, cols);
  compute(in, values, rows, cols, scratch, in_place ? const_cast<void*>(out[0].data) : nullptr, loaded);
  if (in_place) return;
  for (size_t k = 0; k < stores_.size(); ++k) stores_[k](values[outputs_[k]], out[k], rows, cols);
}

void TileProgram::eval(const Patch* in, const void** results, int64_t rows, int64_t cols, std::byte* scratch) const {
  const auto values = reinterpret_cast<const void**>(scratch);
  compute(in, values, rows, cols, scratch, nullptr);
  for (size_t k = 0; k < outputs_.size(); ++k) results[k] = values[outputs_[k]];
}

TileScratch::TileScratch(const TileProgram& program, int threads) : stride_(program.scratch_bytes()) {
  memory_ = std::shared_ptr<std::byte[]>(new std::byte[stride_ * static_cast<size_t>(threads) + 64]);
  const auto address = reinterpret_cast<uintptr_t>(memory_.get());
  base_ = memory_.get() + (64 - address % 64) % 64;
  for (int t = 0; t < threads; ++t) program.init(of(t));
}

}  // namespace tuyere::cpu
