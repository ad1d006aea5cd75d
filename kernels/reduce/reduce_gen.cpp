// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce/reduce_gen.h"

#include <algorithm>

#include "kernels/codegen/panel.h"
#include "kernels/codegen/types.h"
#include "kernels/reduce/reduce_accumulator.h"

namespace tuyere::codegen {
namespace {

/// What every kernel of reductions may call.
const char* kHelpers = R"(
template <class S, int V> union tgr_access { S s[V]; unsigned w[V * sizeof(S) / 4]; TGF_U tgr_access() {} };
template <int W, class P> TGF void tgr_put(P* to, const P (&from)[W]) {
  if constexpr (W * sizeof(P) % 16 == 0) {
    tgr_access<P, W> all;
#pragma unroll
    for (int j = 0; j < W; ++j) all.s[j] = from[j];
    tg_store<W * sizeof(P) / 4>((unsigned*)to, all.w);
  } else {
#pragma unroll
    for (int j = 0; j < W; ++j) to[j] = from[j];
  }
}
)";

class ReduceWriter {
 public:
  ReduceWriter(const ReduceForm& form, const ReducePlan& plan, int workspace)
      : f_(form), plan_(plan), workspace_(workspace), wide_(needs_wide({&form.rows.outer, &form.rows.inner})) {
    outer_ = f_.rows.outer.size;
    inner_ = f_.rows.inner.size;
    if (plan_.vec > 1) {
      Dim& last = plan_.column ? outer_.back() : inner_.back();
      last = floordiv(last, plan_.vec);
    }
    const Operand& op = f_.rows.ops[0];
    const bool plain = is_extreme(f_) && f_.prologue.empty(), vectors = mode(0) == Mode::vector;
    chunks_ = plan_.column && plan_.chunks && plain;
    folds_ = !plan_.column && plain && vectors && (!is_arg(f_) || plan_.vec * size_of(op.dtype) % 4 == 0);
    pairs_ = (chunks_ || folds_) && vectors && (op.dtype == DType::F16 || op.dtype == DType::BF16);
    const Dim n = numel(inner_);
    full_ = n.is_const() && n.value() % (int64_t{plan_.ty} * plan_.split * plan_.unroll) == 0;
  }

  Kernel reduce() {
    Kernel k(f_.name, wide_);
    k.threads = threads();
    k.cluster = plan_.cluster;
    k.grid = {ceildiv(numel(outer_), plan_.tx) * plan_.cluster, plan_.split / plan_.cluster, 1};
    if (plan_.cluster > 1 || (plan_.column && plan_.ty > 1)) k.shared_bytes = threads() * width() * accumulator_bytes(f_);
    k.min_blocks = least_blocks();
    define(k);
    if (pairs_) k.define(pair_maximum(f_.rows.ops[0].dtype, true));
    if (plan_.cluster > 1) k.define(cluster_prelude());
    k.add(R"(  const int kx = $kx, ry = $ry, part = $part;
  const idx o = (idx)$block * $tx + kx;
  const bool live = o < $outer;
  Acc acc[$W];
#pragma unroll
  for (int j = 0; j < $W; ++j) acc[j].init();
)",
          {{"kx", plan_.column ? "threadIdx.x % " + str(plan_.tx) : "threadIdx.x / " + str(plan_.ty)},
           {"ry", plan_.column ? "threadIdx.x / " + str(plan_.tx) : "threadIdx.x % " + str(plan_.ty)},
           {"part", plan_.cluster > 1 ? "tgc_rank()" : "blockIdx.y"},
           {"block", block()},
           {"tx", str(plan_.tx)},
           {"outer", k.value(numel(outer_))},
           {"W", str(width())}});
    if (folds_ && is_arg(f_)) k.add("  tgr_access<$s, $V> best;\n", {{"s", storage_ctype(f_.rows.ops[0].dtype)}, {"V", str(plan_.vec)}});
    k.add("  if (live) {\n");
    outer_coords(k);
    loop(k);
    k.add("  }\n");
    if (plan_.column)
      merge_columns(k);
    else
      merge_rows(k);
    return k;
  }

  /// Threads side by side take neighbouring outputs, and each some neighbouring parts, all of which it reads at a time.
  Kernel finish_split() {
    constexpr int kPartsEach = 8;
    const Dim count = numel(f_.rows.outer.size);
    const int64_t outputs = count.is_const() ? count.value() : INT64_MAX;
    int ty = 1, tx = 1;
    while (ty < 256 && ty * kPartsEach < plan_.split) ty *= 2;
    while (tx < outputs && (tx < 8 || tx * ty < 128)) tx *= 2;
    ty = std::min(ty, 1024 / tx);
    const int each = (plan_.split + ty - 1) / ty;
    Kernel k(f_.name + "_merge", wide_);
    k.threads = std::max(tx * ty, 32);
    k.grid[0] = ceildiv(count, tx);
    define(k);
    const Vars vars = {{"tx", str(tx)},
                       {"ty", str(ty)},
                       {"each", str(each)},
                       {"E", str(std::min(each, kPartsEach))},
                       {"n", k.value(count)},
                       {"w", k.pointer(workspace_, "char", false)},
                       {"split", str(plan_.split)},
                       {"cells", str(tx * ty)}};
    k.add(R"(  const int kx = threadIdx.x % $tx, ry = threadIdx.x / $tx;
  const idx o = (idx)blockIdx.x * $tx + kx;
  Acc acc[1];
  acc[0].init();
  if (o < $n && ry < $ty)
    for (int first = ry * $each; first < tg_lesser((ry + 1) * $each, $split); first += $E) {
      Acc parts[$E];
#pragma unroll
      for (int e = 0; e < $E; ++e) {
        parts[e].init();
        if (first + e < tg_lesser((ry + 1) * $each, $split)) parts[e] = ((const Acc*)$w)[(idx)(first + e) * $n + o];
      }
#pragma unroll
      for (int e = 0; e < $E; ++e) acc[0].merge(parts[e]);
    }
)",
          vars);
    if (ty > 1)
      k.add(R"(  __shared__ Acc shared[$cells];
  if (ry < $ty) shared[threadIdx.x] = acc[0];
#pragma unroll
  for (int half = $ty / 2; half > 0; half /= 2) {
    __syncthreads();
    if (ry < half) shared[threadIdx.x].merge(shared[threadIdx.x + half * $tx]);
  }
  if (ry == 0) acc[0] = shared[threadIdx.x];
)",
            vars);
    k.add("  if (o >= $n || ry != 0) return;\n", vars);
    oc_ = split(k, k.body, "o", f_.rows.outer.size, "c");
    if (chunks_) find_in_chunks(k, 1);
    finish(k, 1);
    return k;
  }

 private:
  static std::string str(int v) { return std::to_string(v); }
  int threads() const { return plan_.tx * plan_.ty; }
  /// Outputs of a thread.
  int width() const { return plan_.column ? plan_.vec : 1; }
  /// Without a bound the compiler delays half of many loads for the sake of more blocks than there are.
  int least_blocks() const {
    int words = width() * accumulator_bytes(f_) / 4;
    for (int t = 0; t < f_.inputs; ++t) words += plan_.unroll * (mode(t) == Mode::broadcast ? 1 : plan_.vec) * std::max(size_of(f_.rows.ops[t].dtype), 2) / 4;
    return words > 20 && words <= 48 ? std::max(1024 / threads(), 1) : 0;
  }
  /// The number of the outputs' block.
  std::string block() const { return plan_.cluster > 1 ? "(blockIdx.x / " + str(plan_.cluster) + ")" : "blockIdx.x"; }

  void define(Kernel& k) const {
    k.define(reduce_definitions(f_));
    k.define(kHelpers);
  }

  void outer_coords(Kernel& k, const std::string& lane = "o") {
    oc_ = split(k, k.body, lane, outer_, "c");
    if (plan_.column && plan_.vec > 1) {
      k.add("    const idx cv = $c * $v;\n", {{"c", oc_.back()}, {"v", str(plan_.vec)}});
      oc_.back() = "cv";
    }
  }

  /// Several accesses per round: all their loads come before the first sum.
  void loop(Kernel& k) {
    const Vars vars = {{"ty", str(plan_.ty)},
                       {"n", k.value(numel(inner_))},
                       {"step", str(plan_.ty * plan_.split)},
                       {"U", str(plan_.unroll)},
                       {"by", chunks_ ? "1" : str(plan_.unroll)},
                       {"first", chunks_ ? "r * " + str(plan_.unroll) : "r"}};
    k.add("    for (idx r = (idx)part * $ty + ry; $first < $n; r += (idx)$step * $by) {\n", vars);
    for (int t = 0; t < f_.inputs; ++t) k.body += declare_text(f_.rows.ops[t], mode(t), plan_.vec, "a" + str(t), "[" + str(plan_.unroll) + "]");
    const std::string each = fill("#pragma unroll\n    for (int u = 0; u < $U; ++u) {\n    const idx q = ", vars) +
                             fill(chunks_ ? "$first + u;\n" : "r + (idx)u * $step;\n", vars) + (full_ ? "    {\n" : fill("    if (q < $n) {\n", vars));
    const std::string end = "    }\n    }\n";
    k.body += each;
    load(k, "[u]");
    k.body += end;
    if (chunks_)
      take_chunk(k, each, end);
    else {
      k.body += each;
      take_access(k);
      k.body += end;
    }
    k.add("    }\n");
  }

  const char* larger() const { return seeks_largest(f_) ? "tg_max" : "tg_min"; }
  /// Turns the order of pairs of f16 around.
  const char* flip() const { return seeks_largest(f_) ? "0u" : "0x80008000u"; }

  Vars extreme_vars() const {
    return {{"V", str(plan_.vec)}, {"s", storage_ctype(f_.rows.ops[0].dtype)}, {"larger", larger()}, {"flip", flip()}, {"W", str(width())}};
  }

  void take_access(Kernel& k) {
    if (folds_) return take_extreme(k);
    k.add("#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", {{"V", str(plan_.vec)}});
    const std::string x = "(X)(" + value(k, "[u]") + ")";
    k.add("    acc[$w].add($x, $at);\n    }\n",
          {{"w", plan_.column ? "j" : "0"}, {"x", x}, {"at", plan_.column || plan_.vec == 1 ? "q" : "q * " + str(plan_.vec) + " + j"}});
  }

  /// An access along a reduced dim is compared by its extreme; a thread keeps the best one it met, to look for the element at the end.
  void take_extreme(Kernel& k) {
    const Vars vars = extreme_vars();
    if (pairs_) {
      k.add(R"(    unsigned pair = tg_pair_least;
#pragma unroll
    for (int j = 0; j < $V; j += 2) pair = tg_pair_max(pair, ((unsigned)a0[u][j].x | (unsigned)a0[u][j + 1].x << 16) ^ $flip);
    $s low, high;
    low.x = (unsigned short)(pair ^ $flip);
    high.x = (unsigned short)((pair ^ $flip) >> 16);
    const X top = $larger((X)tg_value(low), (X)tg_value(high));
)",
            vars);
    } else {
      k.add("    X top;\n#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", vars);
      const std::string x = "(X)(" + value(k, "[u]") + ")";
      k.add("    top = j == 0 ? $x : $larger(top, $x);\n    }\n", {{"x", x}, {"larger", larger()}});
    }
    if (!is_arg(f_)) return k.add("    acc[0].add(top, q);\n");
    k.add(R"(    tgr_access<$s, $V> met;
#pragma unroll
    for (int j = 0; j < $V; ++j) met.s[j] = a0[u][j];
    if (acc[0].add(top, q))
#pragma unroll
      for (int i = 0; i < (int)(sizeof(met) / 4); ++i) best.w[i] = met.w[i];
)",
          vars);
  }

  /// Neighbouring rows are compared by their extreme and known by the number of their chunk until the end.
  void take_chunk(Kernel& k, const std::string& each, const std::string& end) {
    const Vars vars = extreme_vars();
    if (pairs_) {
      k.add("    unsigned top[$V / 2];\n#pragma unroll\n    for (int i = 0; i < $V / 2; ++i) top[i] = tg_pair_least;\n", vars);
      k.body += each;
      k.add(R"(#pragma unroll
    for (int i = 0; i < $V / 2; ++i) top[i] = tg_pair_max(top[i], ((unsigned)a0[u][2 * i].x | (unsigned)a0[u][2 * i + 1].x << 16) ^ $flip);
)",
            vars);
      k.body += end;
      k.add(R"(#pragma unroll
    for (int j = 0; j < $W; ++j) {
      $s x;
      x.x = (unsigned short)((top[j / 2] ^ $flip) >> j % 2 * 16);
      acc[j].add((X)tg_value(x), r);
    }
)",
            vars);
      return;
    }
    k.add("    Acc none;\n    none.init();\n    X top[$W];\n#pragma unroll\n    for (int j = 0; j < $W; ++j) top[j] = none.v;\n", vars);
    k.body += each;
    k.add("#pragma unroll\n    for (int j = 0; j < $V; ++j) {\n", vars);
    const std::string x = "(X)(" + value(k, "[u]") + ")";
    k.add("    top[j] = $larger(top[j], $x);\n    }\n", {{"larger", larger()}, {"x", x}});
    k.body += end;
    k.add("#pragma unroll\n    for (int j = 0; j < $W; ++j) acc[j].add(top[j], r);\n", vars);
  }

  Mode mode(int t) const { return mode_of(f_.rows, t, plan_.vec, plan_.column); }

  /// Loads access `q` of every input into arrays a<t><suffix>.
  void load(Kernel& k, const std::string& suffix) {
    auto rc = split(k, k.body, "q", inner_, "d");
    if (!plan_.column && plan_.vec > 1) {
      k.add("    const idx dv = $c * $v;\n", {{"c", rc.back()}, {"v", str(plan_.vec)}});
      rc.back() = "dv";
    }
    const Space& along = plan_.column ? f_.rows.outer : f_.rows.inner;
    for (int t = 0; t < f_.inputs; ++t)
      k.body +=
          load_text(f_.rows.ops[t], mode(t), plan_.vec, "a" + str(t) + suffix,
                    pointer(k, f_.rows.ops[t], false) + " + " + offset(k, f_.rows.outer.strides[t], oc_) + " + " + offset(k, f_.rows.inner.strides[t], rc),
                    along.rank() ? k.value(along.strides[t].back()) : "0");
  }

  /// The value of element j.
  std::string value(Kernel& k, const std::string& suffix) {
    std::vector<std::string> elements;
    for (int t = 0; t < f_.inputs; ++t) elements.push_back(element("a" + str(t) + suffix, mode(t)));
    return emit_program(f_.prologue, f_.rows.ops, elements, "t", k.body)[0];
  }

  /// A group of threads per output: one of each knows the result then, of the places of extremes the one that met it.
  void merge_rows(Kernel& k) {
    const Vars vars = {{"n", str(std::max(plan_.ty / 32, 1))}, {"ty", str(plan_.ty)}, {"V", str(plan_.vec)}};
    const bool keeps = folds_ && is_arg(f_);
    if (keeps) k.add("  const idx mine = acc[0].i;\n");
    k.add("  __shared__ Acc shared[$n];\n  acc[0] = tg_group_merge<$ty>(acc[0], shared);\n", vars);
    k.add(keeps ? "  const bool writes = live && (acc[0].i < 0 ? ry == 0 : acc[0].i == mine);\n" : "  const bool writes = live && ry == 0;\n");
    if (keeps)
      k.add(R"(  if (writes && mine >= 0) {
    int at = 0;
#pragma unroll
    for (int j = $V - 1; j >= 0; --j) {
      const X x = (X)tg_value(best.s[j]);
      if (x == acc[0].v || x != x) at = j;
    }
    acc[0].i = mine * $V + at;
  }
)",
            vars);
    if (plan_.cluster > 1) {
      k.add("  extern __shared__ __align__(16) unsigned char tg_shared[];\n  Acc* const all = (Acc*)tg_shared;\n  if (writes) all[kx] = acc[0];\n");
      return finish_cluster(k);
    }
    k.add("  if (!writes) return;\n");
    put(k);
  }

  void merge_columns(Kernel& k) {
    const Vars vars = {{"T", str(threads())}, {"W", str(width())}, {"ty", str(plan_.ty)}, {"tx", str(plan_.tx)}};
    if (plan_.ty > 1 || plan_.cluster > 1)
      k.add(R"(  extern __shared__ __align__(16) unsigned char tg_shared[];
  Acc* const all = (Acc*)tg_shared;
#pragma unroll
  for (int j = 0; j < $W; ++j) all[j * $T + threadIdx.x] = acc[j];
#pragma unroll
  for (int half = $ty / 2; half > 0; half /= 2) {
    __syncthreads();
    if (ry < half)
#pragma unroll
      for (int j = 0; j < $W; ++j) all[j * $T + threadIdx.x].merge(all[j * $T + threadIdx.x + half * $tx]);
  }
)",
            vars);
    if (plan_.cluster > 1) return finish_cluster(k);
    k.add("  if (!live || ry != 0) return;\n");
    if (plan_.ty > 1) k.add("#pragma unroll\n  for (int j = 0; j < $W; ++j) acc[j] = all[j * $T + threadIdx.x];\n", vars);
    put(k);
  }

  /// The result of a block: to the workspace when others have parts of the same outputs.
  void put(Kernel& k) {
    if (plan_.split > 1) {
      k.add("  tgr_put((Acc*)$w + ((idx)blockIdx.y * $n + o * $W), acc);\n",
            {{"W", str(width())}, {"w", k.pointer(workspace_, "char", true)}, {"n", k.value(numel(f_.rows.outer.size))}});
      return;
    }
    outer_coords(k);
    if (chunks_) find_in_chunks(k, width());
    finish(k, width());
  }

  /// The blocks of a cluster share what is left to do: each merges what all have of some of the outputs, in order.
  void finish_cluster(Kernel& k) {
    const int outputs = plan_.tx * width();
    k.add(R"(  tgc_arrive();
  tgc_wait();
  for (int i = part * $each + threadIdx.x; i < tg_lesser((part + 1) * $each, $outputs); i += $T) {
    const idx lane = (idx)$block * $tx + i / $W;
    if (lane >= $outer) continue;
    Acc parts[$C], acc[1];
#pragma unroll
    for (int c = 0; c < $C; ++c) parts[c] = tgc_read(&all[i % $W * $T + i / $W], c);
    acc[0] = parts[0];
#pragma unroll
    for (int c = 1; c < $C; ++c) acc[0].merge(parts[c]);
)",
          {{"each", str((outputs + plan_.cluster - 1) / plan_.cluster)},
           {"outputs", str(outputs)},
           {"T", str(threads())},
           {"block", block()},
           {"tx", str(plan_.tx)},
           {"W", str(width())},
           {"outer", k.value(numel(outer_))},
           {"C", str(plan_.cluster)}});
    outer_coords(k, "lane");
    if (width() > 1) {
      k.add("    const idx co = $c + i % $W;\n", {{"c", oc_.back()}, {"W", str(width())}});
      oc_.back() = "co";
    }
    if (chunks_) find_in_chunks(k, 1);
    finish(k, 1);
    k.add("  }\n  tgc_arrive();\n  tgc_wait();  // others may still read what this block has\n");
  }

  /// The position in tensor t of output oc_ + j.
  std::string output_at(Kernel& k, int t) {
    const Space& outer = f_.rows.outer;
    return offset(k, outer.strides[t], oc_) + (outer.rank() ? " + (idx)j * " + k.value(outer.strides[t].back()) : "");
  }

  /// From the number of the winning chunk to that of the row.
  void find_in_chunks(Kernel& k, int count) {
    if (!is_arg(f_)) return;
    const Vars vars = {{"W", str(count)}, {"U", str(plan_.unroll)}, {"n", k.value(numel(inner_))}};
    k.add("#pragma unroll\n  for (int j = 0; j < $W; ++j) {\n    if (acc[j].i < 0) continue;\n    idx found = acc[j].i * $U;\n    X x[$U];\n", vars);
    const std::string each = fill("#pragma unroll\n    for (int u = $U - 1; u >= 0; --u) {\n    const idx q = acc[j].i * $U + u;\n", vars);
    k.body += each;
    const auto rc = split(k, k.body, "q", inner_, "d");
    k.add("    x[u] = acc[j].v;\n    if (q < $n) x[u] = (X)tg_value(($p)[$o + $r]);\n    }\n",
          {{"n", k.value(numel(inner_))}, {"p", pointer(k, f_.rows.ops[0], false)}, {"o", output_at(k, 0)}, {"r", offset(k, f_.rows.inner.strides[0], rc)}});
    k.body += each;
    k.add("    if (q < $n && (x[u] == acc[j].v || x[u] != x[u])) found = q;\n    }\n    acc[j].i = found;\n  }\n", vars);
  }

  /// Epilogue and store of acc[0..width-1] at outputs oc_, oc_ + 1, ...
  void finish(Kernel& k, int width) {
    const int out = static_cast<int>(f_.rows.ops.size()) - 1;
    k.add("#pragma unroll\n    for (int j = 0; j < $W; ++j) {\n    const $t main = acc[j].get((F)$count);\n",
          {{"W", str(width)}, {"t", reduce_result_type(f_)}, {"count", k.value(numel(f_.rows.inner.size))}});
    std::string value = "main";
    if (!f_.epilogue.empty()) {
      std::vector<std::string> inputs{"(" + storage_ctype(f_.epilogue.inputs[0]) + ")main"};
      for (int t = f_.inputs; t < out; ++t)
        inputs.push_back("tg_cvt<" + storage_ctype(f_.epilogue.inputs[inputs.size()]) + ">((" + pointer(k, f_.rows.ops[t], false) + ")[" + output_at(k, t) +
                         "])");
      value = emit_cuda(f_.epilogue, inputs, "e", k.body)[0];
    }
    k.add("    ($p)[$at] = tg_cvt<$s>($v);\n    }\n",
          {{"p", pointer(k, f_.rows.ops[out], true)}, {"at", output_at(k, out)}, {"s", storage_ctype(f_.rows.ops[out].dtype)}, {"v", value}});
  }

  const ReduceForm& f_;
  const ReducePlan& plan_;
  int workspace_;
  bool wide_;
  bool chunks_ = false, folds_ = false, pairs_ = false;  // chunks of rows; accesses along a row by their extreme; two elements at a time
  bool full_ = false;                                    // every thread has as many accesses
  std::vector<Dim> outer_, inner_;
  std::vector<std::string> oc_;
};

}  // namespace

Generated reduce_kernels(const ReduceForm& form, const ReducePlan& plan, int workspace_position) {
  ReduceWriter writer(form, plan, workspace_position);
  Generated out;
  out.kernels.push_back(writer.reduce());
  if (plan.split > plan.cluster) {
    out.kernels.push_back(writer.finish_split());
    out.workspace = ceildiv(numel(form.rows.outer.size) * plan.split * accumulator_bytes(form), 256) * 256;
  }
  return out;
}

}  // namespace tuyere::codegen
