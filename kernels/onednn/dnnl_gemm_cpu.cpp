// SPDX-License-Identifier: Apache-2.0
#include "kernels/onednn/dnnl_gemm.h"

#ifdef TUYERE_WITH_ONEDNN
#include <omp.h>

#include <algorithm>

#include "kernels/cpu/waits.h"
#include "kernels/onednn/dnnl_views.h"

namespace tuyere::cpu {
namespace {

DnnlDesc desc_of(const View& v, bool blocks = false) {
  return blocks ? make_blocked_desc(v.dtype, dims_of(v), strides_of(v)) : make_desc(v.dtype, dims_of(v), strides_of(v));
}

bool library_float(DType t) { return t == DType::F32 || t == DType::BF16 || t == DType::F16; }

// Whether every element has its own address along positive strides.
bool plain(const View& v) {
  for (int d = 0; d < v.rank; ++d) {
    if (v.shape[d] > 1 && v.strides[d] <= 0) return false;
  }
  return true;
}

bool full(const View& v) {
  for (int d = 0; d < v.rank; ++d) {
    if (v.shape[d] != 1 && v.strides[d] == 0) return false;
  }
  return true;
}

// Dense along the channels (two dims when they lie in blocks), repeated along everything else.
bool along_channel(const View& v, int channel, bool blocks) {
  const int inner = blocks ? v.rank - 1 : channel;
  for (int d = 0; d < v.rank; ++d) {
    if (d != channel && d != inner && v.shape[d] != 1 && v.strides[d] != 0) return false;
  }
  if (blocks && v.shape[channel] != 1 && v.strides[channel] != v.shape[inner]) return false;
  return v.shape[inner] == 1 || v.strides[inner] == 1;
}

// Dense memory for v: row-major, or with the channels innermost.
View dense_view(const View& v, DType type, bool channels_last, bool blocks) {
  View s = v;
  s.dtype = type;
  int64_t stride = 1;
  const auto take = [&](int d) {
    s.strides[d] = stride;
    stride *= s.shape[d];
  };
  const int spatial_end = blocks ? v.rank - 1 : v.rank;
  if (channels_last && blocks) take(spatial_end);
  if (channels_last) take(1);
  for (int d = spatial_end - 1; d >= 0; --d) {
    if (!channels_last || d != 1) take(d);
  }
  return s;
}

// v with dim d as [groups, rest].
View by_groups(const View& v, int d, int64_t groups) {
  View r = v;
  for (int e = v.rank; e > d; --e) r.shape[e] = v.shape[e - 1], r.strides[e] = v.strides[e - 1];
  ++r.rank;
  r.shape[d] = groups;
  r.shape[d + 1] = v.shape[d] / groups;
  r.strides[d] = r.shape[d + 1] * v.strides[d];
  return r;
}

// A part of v along dim d, where it starts aside.
View narrow(View v, int d, int64_t size) {
  v.shape[d] = size;
  return v;
}

using Activation = std::pair<dnnl_alg_kind_t, std::pair<float, float>>;
std::optional<Activation> library_activation(const SimpleEpilogue& e) {
  switch (*e.act) {
    case Fn::relu:
      return Activation{dnnl_eltwise_relu, {0.0f, 0.0f}};
    case Fn::where:
      return Activation{dnnl_eltwise_relu, {static_cast<float>(e.act_alpha), 0.0f}};
    case Fn::silu:
      return Activation{dnnl_eltwise_swish, {1.0f, 0.0f}};
    case Fn::gelu_erf:
      return Activation{dnnl_eltwise_gelu_erf, {0.0f, 0.0f}};
    case Fn::gelu_tanh:
      return Activation{dnnl_eltwise_gelu_tanh, {0.0f, 0.0f}};
    case Fn::sigmoid:
      return Activation{dnnl_eltwise_logistic, {0.0f, 0.0f}};
    case Fn::tanh:
      return Activation{dnnl_eltwise_tanh, {0.0f, 0.0f}};
    case Fn::hardswish:
      return Activation{dnnl_eltwise_hardswish, {1.0f / 6, 0.5f}};
    case Fn::hardsigmoid:
      return Activation{dnnl_eltwise_hardsigmoid, {1.0f / 6, 0.5f}};
    case Fn::clamp:
      return Activation{dnnl_eltwise_clip, {static_cast<float>(e.act_alpha), static_cast<float>(e.act_beta)}};
    default:
      return std::nullopt;
  }
}

}  // namespace

DnnlGemm::DnnlGemm(DnnlRequest request, const CpuProblem& p) : request_(std::move(request)) {
  constant_weights_ = p.args.constants.size() > 1 && p.args.constants[1] != nullptr;
  std::vector<bool> is_bias{false};
  for (const View& v : request_.extras) is_bias.push_back(along_channel(v, request_.channel, request_.out_blocks) && library_float(v.dtype));
  simple_ = request_.epilogue.empty();
  if (const auto e = simple_ ? std::nullopt : match_simple_epilogue(request_.epilogue, is_bias)) {
    bias_ = e->bias - 1;
    residual_ = e->residual - 1;
    if (e->bias < 0) bias_ = -1;
    if (e->residual < 0) residual_ = -1;
    residual_last_ = e->residual_last;
    simple_ = residual_ < 0 || (full(request_.extras[residual_]) && library_float(request_.extras[residual_].dtype) &&
                                desc_of(request_.extras[residual_], request_.out_blocks) != nullptr);
    if (e->act) {
      const auto act = library_activation(*e);
      simple_ &= act.has_value();
      if (act) activation_.push_back(*act);
    }
  }
  if (request_.bias_only && (residual_ >= 0 || !activation_.empty())) simple_ = false;
  bool found = find_attempt(p, false);
  if (!found && request_.parts > 1) {
    request_.parts = 1;
    found = find_attempt(p, false);
  }
  USER_CHECK(found || find_attempt(p, true), "oneDNN does not implement this " << name(p.op));
}

// reference: the library's slow code will do.
bool DnnlGemm::find_attempt(const CpuProblem& p, bool reference) {
  const std::vector<Attempt> all = attempts(p);
  return std::any_of(all.begin(), all.end(), [&](const Attempt& a) {
    return try_attempt(a, p) && (reference || implementation(parts_.back().desc.get()).find("ref") == std::string::npos);
  });
}

std::vector<DnnlGemm::Attempt> DnnlGemm::attempts(const CpuProblem&) const {
  const DType type = request_.x.dtype;
  const bool native = library_float(type) && request_.w.dtype == type;
  const bool as_they_lie = native && plain(request_.x) && (constant_weights_ || plain(request_.w)) && plain(request_.out);
  const bool fusable = simple_ && library_float(request_.out.dtype);
  std::vector<Attempt> list;
  for (const Staged staged : {Staged::none, Staged::input, Staged::both}) {
    if (!native || (staged == Staged::none && !as_they_lie)) continue;
    if (staged == Staged::input && (!request_.out_blocks || request_.x_blocks || !plain(request_.out))) continue;
    if (fusable) list.push_back({type, staged, true});
    if (!request_.epilogue.empty() || !fusable) list.push_back({type, staged, false});
  }
  if (!native || type != DType::F32) {
    list.push_back({DType::F32, Staged::both, fusable});
    if (fusable) list.push_back({DType::F32, Staged::both, false});
  }
  return list;
}

DnnlGemm::Stage DnnlGemm::book(const View& v, DType type, bool channels_last, bool blocks) {
  Stage s{dense_view(v, type, channels_last, blocks), workspace_};
  workspace_ += aligned(bytes_of(type, v.numel()));
  return s;
}

DnnlAttr DnnlGemm::make_attr(bool fused, bool adds) {
  dnnl_primitive_attr_t attr = nullptr;
  dnnl_check(dnnl().primitive_attr_create(&attr), "primitive_attr_create");
  DnnlAttr owner(attr);
  dnnl_check(dnnl().primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "set_scratchpad_mode");
  if (!fused && !adds) return owner;
  dnnl_post_ops_t ops = nullptr;
  dnnl_check(dnnl().post_ops_create(&ops), "post_ops_create");
  const DnnlPostOps ops_owner(ops);
  if (adds) dnnl_check(dnnl().post_ops_append_sum(ops, 1.0f, 0, dnnl_f32), "append_sum");
  const auto add_residual = [&] {
    dnnl_check(dnnl().post_ops_append_binary(ops, dnnl_binary_add, desc_of(request_.extras[residual_], request_.out_blocks).get()), "append_binary");
  };
  if (fused && residual_ >= 0 && !residual_last_) add_residual();
  for (size_t k = 0; fused && k < activation_.size(); ++k) {
    const auto& [kind, value] = activation_[k];
    dnnl_check(dnnl().post_ops_append_eltwise(ops, kind, value.first, value.second), "append_eltwise");
  }
  if (fused && residual_last_) add_residual();
  dnnl_check(dnnl().primitive_attr_set_post_ops(attr, ops), "set_post_ops");
  return owner;
}

DnnlPrimitiveDesc DnnlGemm::first_implementation(const std::function<dnnl_status_t(dnnl_primitive_desc_t*)>& create) const {
  const auto make = [&]() -> DnnlPrimitiveDesc {
    dnnl_primitive_desc_t desc = nullptr;
    return create(&desc) == dnnl_success ? DnnlPrimitiveDesc(desc) : nullptr;
  };
  DnnlPrimitiveDesc desc = make();
  if (!desc || !request_.avoid_brgemm) return desc;
  while (implementation(desc.get()).starts_with("brg")) {
    if (dnnl().primitive_desc_next_impl(desc.get()) != dnnl_success) return make();
  }
  const bool generated = implementation(desc.get()).starts_with("jit");
  return generated ? std::move(desc) : make();
}

// As it lies in x.
View DnnlGemm::part_of_image(const Part& part) const {
  const View& x = x_stage_.used() ? x_stage_.view : request_.x;
  return parts_.size() > 1 ? narrow(x, request_.sum_x, part.size * request_.groups) : x;
}

View DnnlGemm::part_of_weights(const Part& part) const {
  const View& w = w_stage_.used() ? w_stage_.view : request_.w;
  return parts_.size() > 1 ? narrow(w, request_.sum_w, part.size) : w;
}

void DnnlGemm::plan_pack(Part& part) {
  if (constant_weights_ || !request_.pack_weights) return;
  const DnnlDesc from = desc_of(part_of_weights(part));
  const auto to = dnnl().primitive_desc_query_md(part.desc.get(), dnnl_query_exec_arg_md, DNNL_ARG_WEIGHTS);
  if (dnnl().memory_desc_equal(from.get(), to)) return;
  dnnl_primitive_desc_t pack = nullptr;
  dnnl_check(dnnl().reorder_primitive_desc_create(&pack, from.get(), dnnl().cpu, to, dnnl().cpu, nullptr), "reorder_primitive_desc_create");
  part.pack.reset(pack);
  part.pack_offset = workspace_;
  workspace_ += aligned(static_cast<int64_t>(dnnl().memory_desc_get_size(to)));
}

bool DnnlGemm::try_attempt(const Attempt& a, const CpuProblem&) {
  workspace_ = 0;
  x_stage_ = w_stage_ = out_stage_ = {};
  const DnnlRequest& r = request_;
  const bool x_channels_last = r.channels_last && a.staged == Staged::both && (r.x_blocks || r.x.shape[1] > 1 || r.single_inside);
  if (a.staged != Staged::none) x_stage_ = book(r.x, a.type, x_channels_last, r.x_blocks);
  const bool packed_as_it_lies = r.pack_weights && plain(r.w) && r.w.dtype == a.type;
  if (a.staged != Staged::none && !constant_weights_ && !packed_as_it_lies) w_stage_ = book(r.w, a.type, false);
  const DType out_type = a.fused ? r.out.dtype : DType::F32;
  // Without post-ops an f32 output is finished in place; the epilogue or the conversion needs other memory otherwise.
  if (a.staged == Staged::both || out_type != r.out.dtype) out_stage_ = book(r.out, out_type, r.channels_last, r.out_blocks);
  const View& out = out_stage_.used() ? out_stage_.view : r.out;
  parts_ = split(a.type == DType::F32 && out.dtype == DType::F32);  // the first part is the longest
  if (copies_parts()) part_offset_ = book(part_of_image(parts_[0]), a.type, r.channels_last).offset;
  for (Part& part : parts_) {
    if (!describe_part(part, a, out)) return false;
  }
  chosen_ = a;
  for (Part& part : parts_) plan_pack(part);
  workspace_ += aligned(scratch_bytes());
  return true;
}

std::vector<DnnlGemm::Part> DnnlGemm::split(bool f32) const {
  constexpr int64_t kVector = 16;
  std::vector<Part> parts;
  const int64_t whole = request_.x.shape[request_.sum_x] / request_.groups;
  if (!f32 || request_.parts <= 1) {
    parts.push_back({.start = 0, .size = whole});
    return parts;
  }
  const int64_t size = (whole + request_.parts * kVector - 1) / (request_.parts * kVector) * kVector;
  for (int64_t start = 0; start < whole; start += size) parts.push_back({.start = start, .size = std::min(size, whole - start)});
  return parts;
}

bool DnnlGemm::describe_part(Part& part, const Attempt& a, const View& out) {
  const DnnlRequest& r = request_;
  const bool last = &part == &parts_.back();
  const View image = part_of_image(part), x = copies_parts() ? dense_view(image, a.type, r.channels_last, false) : image, w = part_of_weights(part);
  const DnnlDesc x_desc = desc_of(x, r.x_blocks), out_desc = desc_of(out, r.out_blocks);
  if (!x_desc || !out_desc) return false;
  const DnnlDesc w_desc = constant_weights_ || r.pack_weights ? make_desc(a.type, dims_of(w), {}) : desc_of(w);
  DnnlDesc bias_desc;
  if (last && a.fused && bias_ >= 0) {
    std::vector<int64_t> dims = r.bias_dims, strides(dims.size(), 1);
    for (int64_t& d : dims) d = d < 0 ? r.out.shape[r.channel] * (r.out_blocks ? r.out.shape[r.out.rank - 1] : 1) : d;
    for (size_t i = 0; i + 1 < dims.size(); ++i) strides[i] = dims.back();
    bias_desc = make_desc(r.extras[bias_].dtype, dims, strides);
  }
  const DnnlAttr attr = make_attr(last && a.fused, part.start > 0);
  part.desc = first_implementation(
      [&](dnnl_primitive_desc_t* desc) { return r.create(desc, x_desc.get(), w_desc.get(), bias_desc.get(), out_desc.get(), attr.get()); });
  return part.desc != nullptr;
}

int64_t DnnlGemm::scratch_bytes() const {
  size_t most = 0;
  for (const Part& part : parts_) {
    if (const auto pad = dnnl().primitive_desc_query_md(part.desc.get(), dnnl_query_scratchpad_md, 0)) most = std::max(most, dnnl().memory_desc_get_size(pad));
  }
  return static_cast<int64_t>(most);
}

namespace {

// A strided copy with conversion, or an epilogue: one tile loop and where its operands are.
struct TileStep {
  std::shared_ptr<TileLoop> loop;
  std::vector<std::pair<int, int64_t>> operands;  // pointer slot and byte offset
  void run(void* const* ptr) const {
    std::array<void*, TileLoop::kMaxOperands> data{};
    for (size_t k = 0; k < operands.size(); ++k) data[k] = static_cast<char*>(ptr[operands[k].first]) + operands[k].second;
    loop->run(data.data());
  }
};

TileStep tile_step(const Program& program, const std::vector<View>& operands, std::vector<std::pair<int, int64_t>> where) {
  std::vector<DType> in;
  for (size_t k = 1; k < operands.size(); ++k) in.push_back(operands[k].dtype);
  TileProgram tiles(program, in, {operands[0].dtype});
  const auto cost = 1 + static_cast<int64_t>(program.body.size());
  return {std::make_shared<TileLoop>(std::move(tiles), operands[0], operands, 1, cost), std::move(where)};
}

struct DnnlArg {
  int id;
  DnnlMemory memory;
  int slot;  // -1: the memory is fixed
  int64_t offset;
};

// A primitive with its operands.
struct DnnlCall {
  std::vector<DnnlArg> args;
  DnnlPrimitiveDesc desc;
  DnnlPrimitive primitive;
  std::vector<dnnl_exec_arg_t> exec;

  void finish() {
    dnnl_primitive_t p = nullptr;
    dnnl_check(dnnl().primitive_create(&p, desc.get()), "primitive_create");
    primitive.reset(p);
    for (const DnnlArg& a : args) exec.push_back({a.id, a.memory.get()});
  }
  Status run(void* const* ptr, dnnl_stream_t stream) const noexcept {
    for (const DnnlArg& a : args) {
      if (a.slot >= 0) dnnl().memory_set_data_handle(a.memory.get(), static_cast<char*>(ptr[a.slot]) + a.offset);
    }
    const dnnl_status_t status = dnnl().primitive_execute(primitive.get(), stream, static_cast<int>(exec.size()), exec.data());
    return status == dnnl_success ? Status::ok() : Status(Code::Internal, "oneDNN primitive failed with status " + std::to_string(int{status}));
  }
};

// A part of the sums, after what copies its piece of x and packs its weights.
struct DnnlPart {
  std::optional<TileStep> copy;
  std::optional<DnnlCall> pack;
  DnnlCall call;
};

class DnnlExecutable final : public Executable {
 public:
  std::vector<TileStep> before, after;
  std::vector<DnnlPart> parts;  // of the sums
  std::vector<std::shared_ptr<void>> keep;
  DnnlStream stream = make_stream();

  Status run(void* const* ptr, void*) noexcept override {
    const auto start = WaitClock::now();
    TRY(run_parts(ptr));
    // What the library's loops take beyond their shortest time counts as waiting.
    const auto time = WaitClock::now() - start;
    shortest_ = std::min(shortest_, time);
    if (threads_ > 1) note_wait(shortest_, time - shortest_, threads_);
    return Status::ok();
  }

 private:
  Status run_parts(void* const* ptr) {
    for (const TileStep& s : before) s.run(ptr);
    for (const DnnlPart& part : parts) {
      if (part.copy) part.copy->run(ptr);
      if (part.pack) TRY(part.pack->run(ptr, stream.get()));
      TRY(part.call.run(ptr, stream.get()));
    }
    for (const TileStep& s : after) s.run(ptr);
    return Status::ok();
  }

  int threads_ = omp_get_max_threads();
  WaitClock::duration shortest_ = WaitClock::duration::max();
};

// The weights (or a part of them, which begins `offset` bytes on) in the primitive's format, packed once per engine.
std::shared_ptr<void> pack_weights(const View& w, int64_t offset, const_dnnl_memory_desc_t target, const CpuProblem& p) {
  const void* data = static_cast<const char*>(p.args.constants[1]) + offset;
  const auto make = [&] { return reorder(desc_of(w).get(), data, target); };
  // The source's own strides are part of the key: the same weight may be used transposed elsewhere.
  return packed_constant(p, 1, "|onednn|" + std::to_string(offset) + "|" + describe(desc_of(w).get()) + "|" + describe(target), make);
}

}  // namespace

std::unique_ptr<Executable> DnnlGemm::prepare(const CpuProblem& p) {
  const DnnlRequest& r = request_;
  auto e = std::make_unique<DnnlExecutable>();
  const int out_slot = p.inputs(), ws = p.workspace_slot();
  if (x_stage_.used()) e->before.push_back(tile_step({}, {x_stage_.view, r.x}, {{ws, x_stage_.offset}, {0, 0}}));
  if (w_stage_.used()) e->before.push_back(tile_step({}, {w_stage_.view, r.w}, {{ws, w_stage_.offset}, {1, 0}}));
  const int64_t scratch_at = workspace_ - aligned(scratch_bytes());
  for (Part& part : parts_) {
    DnnlPart& made = e->parts.emplace_back();
    DnnlCall& call = made.call;
    std::vector<DnnlArg>& args = call.args;
    const auto md = [&](int id) { return dnnl().primitive_desc_query_md(part.desc.get(), dnnl_query_exec_arg_md, id); };
    const auto add = [&](int id, int slot, int64_t offset) { args.push_back({id, make_memory(md(id)), slot, offset}); };
    const auto add_operand = [&](int id, const Stage& stage, int slot, int64_t offset) {
      add(id, stage.used() ? ws : slot, (stage.used() ? stage.offset : 0) + offset);
    };
    const auto start = [&](const View& v, int d) { return part.start == 0 ? 0 : bytes_of(v.dtype, part.start * v.strides[d]); };
    const View image = part_of_image(part);
    const int64_t x_start = start(image, r.sum_x);
    if (copies_parts()) {
      const std::pair<int, int64_t> from = x_stage_.used() ? std::pair{ws, x_stage_.offset + x_start} : std::pair{0, x_start};
      const View whole = by_groups(x_stage_.used() ? x_stage_.view : r.x, r.sum_x, r.groups);
      const View piece = by_groups(dense_view(image, chosen_.type, r.channels_last, false), r.sum_x, r.groups);
      made.copy = tile_step({}, {piece, narrow(whole, r.sum_x + 1, part.size)}, {{ws, part_offset_}, from});
      add(DNNL_ARG_SRC, ws, part_offset_);
    } else {
      add_operand(DNNL_ARG_SRC, x_stage_, 0, x_start);
    }
    const View& w = w_stage_.used() ? w_stage_.view : r.w;
    const int64_t w_start = start(w, r.sum_w);
    if (constant_weights_) {
      const auto target = md(DNNL_ARG_WEIGHTS);
      e->keep.push_back(pack_weights(part_of_weights(part), w_start, target, p));
      args.push_back({DNNL_ARG_WEIGHTS, make_memory(target, e->keep.back().get()), -1, 0});
    } else if (part.pack) {
      const bool staged = w_stage_.used();
      DnnlCall& pack = made.pack.emplace();
      pack.args.push_back({DNNL_ARG_FROM, make_memory(desc_of(part_of_weights(part)).get()), staged ? ws : 1, (staged ? w_stage_.offset : 0) + w_start});
      pack.args.push_back({DNNL_ARG_TO, make_memory(md(DNNL_ARG_WEIGHTS)), ws, part.pack_offset});
      pack.desc = std::move(part.pack);
      pack.finish();
      add(DNNL_ARG_WEIGHTS, ws, part.pack_offset);
    } else {
      add_operand(DNNL_ARG_WEIGHTS, w_stage_, 1, w_start);
    }
    add_operand(DNNL_ARG_DST, out_stage_, out_slot, 0);
    const bool fused = chosen_.fused && &part == &parts_.back();
    if (fused && bias_ >= 0) add(DNNL_ARG_BIAS, 2 + bias_, 0);
    if (fused && residual_ >= 0) {
      // Behind the sum with what the parts before gave.
      const int before = (part.start > 0 ? 1 : 0) + (residual_last_ ? static_cast<int>(activation_.size()) : 0);
      const int id = DNNL_ARG_ATTR_MULTIPLE_POST_OP(before) | DNNL_ARG_SRC_1;
      args.push_back({id, make_memory(desc_of(r.extras[residual_], r.out_blocks).get()), 2 + residual_, 0});
    }
    const auto pad = dnnl().primitive_desc_query_md(part.desc.get(), dnnl_query_scratchpad_md, 0);
    if (pad && dnnl().memory_desc_get_size(pad) > 0) args.push_back({DNNL_ARG_SCRATCHPAD, make_memory(pad), ws, scratch_at});
    call.desc = std::move(part.desc);
    call.finish();
  }
  const bool epilogue = !chosen_.fused && !r.epilogue.empty();
  if (epilogue || out_stage_.used()) {
    std::vector<View> operands{r.out, out_stage_.used() ? out_stage_.view : r.out};
    std::vector<std::pair<int, int64_t>> where{{out_slot, 0},
                                               out_stage_.used() ? std::pair<int, int64_t>{ws, out_stage_.offset} : std::pair<int, int64_t>{out_slot, 0}};
    for (size_t k = 0; epilogue && k < r.extras.size(); ++k) {
      operands.push_back(r.extras[k]);
      where.push_back({2 + static_cast<int>(k), 0});
    }
    e->after.push_back(tile_step(epilogue ? r.epilogue : Program(), operands, where));
  }
  return e;
}

}  // namespace tuyere::cpu
#endif
