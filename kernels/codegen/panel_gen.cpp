// SPDX-License-Identifier: Apache-2.0
#include "kernels/codegen/panel.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

constexpr int kWords = 32;  // of registers per thread that hold a panel
constexpr int kLongestCluster = 8;
constexpr int kPartBytes = 72 << 10;  // of shared memory for statistics

const char* kForget = R"(
template <int V, class S> TGF void tgc_forget(S (&v)[V]) {
#ifndef TG_EMULATE
  if constexpr (sizeof(S) < 4 && V * sizeof(S) % 4 == 0) {
    union U { S s[V]; unsigned w[V * sizeof(S) / 4]; TGF_U U() {} } u;
#pragma unroll
    for (int i = 0; i < V; ++i) u.s[i] = v[i];
#pragma unroll
    for (int i = 0; i < (int)(V * sizeof(S) / 4); ++i) asm volatile("" : "+r"(u.w[i]));
#pragma unroll
    for (int i = 0; i < V; ++i) v[i] = u.s[i];
  }
#endif
}
)";

/// Blocks of one cluster read each other's shared memory. Needs compute capability 9.0.
const char* kCluster = R"(
#ifndef TG_EMULATE
TGF int tgc_rank() { unsigned r; asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r)); return (int)r; }
TGF void tgc_arrive() { asm volatile("barrier.cluster.arrive.release;" ::: "memory"); }
TGF void tgc_wait() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }
TGF unsigned tgc_word(const unsigned* mine, int rank) {
  unsigned far, word;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(far) : "r"((unsigned)__cvta_generic_to_shared(mine)), "r"(rank));
  asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(word) : "r"(far) : "memory");
  return word;
}
#endif
// What block `rank` has where this one has *mine.
template <class A> TGF A tgc_read(const A* mine, int rank) {
  tg_words<A> u;
#pragma unroll
  for (int i = 0; i < (int)(sizeof(A) / 4); ++i) u.w[i] = tgc_word((const unsigned*)mine + i, rank);
  return u.a;
}
)";

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Nothing of tensor t changes along the axis.
bool is_steady(const Rows& rows, int t) {
  return std::all_of(rows.inner.strides[t].begin(), rows.inner.strides[t].end(), [](const Dim& d) { return d.is_const(0); });
}

/// Pixels rather than channels are neighbours in memory.
bool is_turned(const Rows& rows, int t) {
  const Dim& across = rows.outer.strides[t].back();
  return rows.inner.rank() == 1 && rows.inner.strides[t][0].is_const(1) && !across.is_const(1) && !across.is_const(0);
}

int rounded(int64_t bytes) { return static_cast<int>((bytes + 15) / 16 * 16); }

int part_bytes_per_block(const PanelForm& form, const PanelPlan& plan) {
  const int parts = plan.vec / static_cast<int>(std::gcd(int64_t{plan.vec}, form.group));
  return rounded(int64_t{plan.tx} * (plan.ty + 2) * parts * form.part_bytes);
}

/// Of a panel of tensor t, with two elements between the columns, which keeps lanes out of each other's banks.
int turned_bytes(const PanelForm& form, const PanelPlan& plan, int t) {
  return rounded(int64_t{plan.tx} * plan.vec * (plan.keep * plan.ty + 2) * size_of(form.rows.ops[t].dtype));
}

/// Bytes that a column keeps per element of the axis; 0: no plan is possible.
int kept_bytes(const PanelForm& form) {
  const Rows& rows = form.rows;
  if (rows.outer.rank() == 0 || !rows.outer.size.back().is_const() || !is_static(rows.inner.size)) return 0;
  int bytes = 0;
  for (int t = 0; t < form.inputs; ++t)
    if (!is_steady(rows, t)) bytes += size_of(rows.ops[t].dtype);
  return bytes;
}

/// The plan for `threads` per block and `bytes` of a row of tensor 0, with any number of parts (`cluster` of them); nothing when that cannot be.
std::optional<PanelPlan> fit(const PanelForm& form, const Target& target, int vec, int threads, int bytes) {
  const int64_t columns = form.rows.outer.size.back().value(), n = numel(form.rows.inner.size).value(), unit = std::lcm(int64_t{vec}, form.group);
  const int64_t width = std::min(std::max(bytes / size_of(form.rows.ops[0].dtype) / unit, int64_t{1}) * unit, columns);
  const int most = kWords * 4 / (vec * kept_bytes(form));
  if (width / vec > threads || most == 0) return {};
  PanelPlan plan;
  plan.vec = vec;
  plan.tx = static_cast<int>(width / vec);
  while (plan.ty * 2 * plan.tx <= threads) plan.ty *= 2;
  while (plan.ty > 1 && plan.ty / 2 * most >= n && plan.ty * plan.tx > 64) plan.ty /= 2;
  plan.cluster = static_cast<int>(std::min<int64_t>(divide_up(n, int64_t{plan.ty} * most), INT32_MAX));
  plan.keep = static_cast<int>(divide_up(n, int64_t{plan.ty} * plan.cluster));
  int shared = part_bytes_per_block(form, plan);
  if (shared > kPartBytes) return {};
  for (int t = form.inputs; t < static_cast<int>(form.rows.ops.size()); ++t)
    if (is_turned(form.rows, t)) shared += turned_bytes(form, plan, t);
  if (shared > (target.sm >= 90 ? 227 : 99) * 1024) return {};
  return plan;
}

/// The plans for shapes {threads, bytes of a row} that `takes` says yes to, with the widest accesses that allow any.
template <size_t N, class F>
std::vector<PanelPlan> plans_of(const PanelForm& form, const Target& target, const int (&shapes)[N][2], F takes) {
  std::vector<PanelPlan> plans;
  if (kept_bytes(form) == 0) return plans;
  for (int vec = row_vector(form.rows, form.inputs, true); vec >= 1 && plans.empty(); vec /= 2)
    for (const auto& [threads, bytes] : shapes) {
      const auto plan = fit(form, target, vec, threads, bytes);
      if (!plan || !takes(*plan)) continue;
      const auto same = [&](const PanelPlan& other) { return str(other) == str(*plan); };
      if (std::none_of(plans.begin(), plans.end(), same)) plans.push_back(*plan);
    }
  return plans;
}

}  // namespace

std::string str(const PanelPlan& p) {
  return "vec=" + std::to_string(p.vec) + " tx=" + std::to_string(p.tx) + " ty=" + std::to_string(p.ty) + " keep=" + std::to_string(p.keep) +
         " cluster=" + std::to_string(p.cluster) + " split=" + std::to_string(p.split);
}

PanelPlan parse_panel_plan(const Config& config, const PanelPlan& d) {
  return {config_int(config, "vec", d.vec),   config_int(config, "tx", d.tx),           config_int(config, "ty", d.ty),
          config_int(config, "keep", d.keep), config_int(config, "cluster", d.cluster), config_int(config, "split", d.split)};
}

Dim group_count(const PanelForm& form) {
  Dim count = form.rows.outer.size.back().value() / form.group;
  for (int d = 0; d + 1 < form.rows.outer.rank(); ++d) count = count * form.rows.outer.size[d];
  return count;
}

std::vector<PanelPlan> panel_plans(const PanelForm& form, const Target& target, const Symbols& hints) {
  // Half lines and more; narrower panels leave more blocks, larger blocks hold longer axes.
  constexpr int kShapes[][2] = {{512, 64}, {512, 128}, {256, 128}, {1024, 128}, {256, 64}, {512, 32}, {1024, 64}, {256, 32}};
  std::vector<PanelPlan> plans = plans_of(form, target, kShapes, [&](const PanelPlan& p) { return p.cluster <= (target.sm >= 90 ? kLongestCluster : 1); });
  // Panels that leave the device idle are tried last.
  std::stable_partition(plans.begin(), plans.end(), [&](const PanelPlan& p) { return panel_slowdown(form, p, target, hints) == 1; });
  return plans;
}

std::vector<PanelPlan> split_panel_plans(const PanelForm& form, const Target& target) {
  constexpr int kShapes[][2] = {{512, 128}, {256, 128}, {512, 64}, {256, 256}};
  std::vector<PanelPlan> plans = plans_of(form, target, kShapes, [](const PanelPlan& p) { return p.cluster > 1 && p.cluster <= 1 << 16; });
  for (PanelPlan& p : plans) std::swap(p.cluster, p.split);
  return plans;
}

Dim merged_bytes(const PanelForm& form) { return ceildiv(group_count(form) * form.part_bytes, 256) * 256; }

Dim split_bytes(const PanelForm& form, const PanelPlan& plan) {
  return plan.split > 1 ? merged_bytes(form) + ceildiv(group_count(form) * plan.split * form.part_bytes, 256) * 256 : Dim(0);
}

void emit_panel_merge(Kernel& k, const PanelForm& form, const PanelPlan& plan, const std::string& type, const std::string& none, int workspace) {
  k.threads = 128;
  k.grid[0] = ceildiv(group_count(form), 4);
  k.add(R"(  const idx o = (idx)blockIdx.x * 4 + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  $P all = $none;
  if (o < $n)
#pragma unroll 4
    for (int s = lane; s < $split; s += 32) all.merge(((const $P*)$from)[o * $split + s]);
  all = tg_group_merge<32>(all, ($P*)0);
  if (o < $n && lane == 0) (($P*)$to)[o] = all;
)",
        {{"P", type},
         {"none", none},
         {"n", k.value(group_count(form))},
         {"split", std::to_string(plan.split)},
         {"from", k.pointer(workspace, "char", false, merged_bytes(form))},
         {"to", k.pointer(workspace, "char", true)}});
}

double panel_slowdown(const PanelForm& form, const PanelPlan& plan, const Target& target, const Symbols& hints) {
  const double columns = static_cast<double>(std::max<int64_t>(hint(numel(form.rows.outer.size), hints), 1));
  const double threads = columns / plan.vec * plan.ty * plan.cluster * plan.split, wanted = 512.0 * std::max(target.multiprocessors, 1);
  return std::max(1.0, wanted / threads);
}

PanelWriter::PanelWriter(Kernel& kernel, const PanelForm& form, const PanelPlan& plan)
    : AccessWriter(kernel, form.rows, plan.vec, true), form_(form), plan_(plan), share_(static_cast<int>(std::gcd(int64_t{plan.vec}, form.group))) {}

void PanelWriter::begin(int out, bool backwards) {
  const int width = plan_.tx * plan_.vec, threads = plan_.tx * plan_.ty, words = plan_.keep * plan_.vec;
  std::vector<Dim> blocks = rows_.outer.size;
  blocks.back() = ceildiv(blocks.back(), width);
  kernel_.threads = threads;
  kernel_.min_blocks = words * size_of(rows_.ops[0].dtype) * form_.inputs <= kWords * 4 ? std::max(1024 / threads, 1) : 0;
  kernel_.cluster = plan_.cluster;
  kernel_.grid = {numel(blocks) * (plan_.cluster * plan_.split), 1, 1};
  kernel_.shared_bytes = part_bytes_per_block(form_, plan_);
  turned_.assign(rows_.ops.size(), -1);
  for (int t = out; t < static_cast<int>(rows_.ops.size()); ++t) {
    if (!is_turned(rows_, t)) continue;
    turned_[t] = kernel_.shared_bytes;
    kernel_.shared_bytes += turned_bytes(form_, plan_, t);
  }
  kernel_.define(kForget);
  if (plan_.cluster > 1) kernel_.define(kCluster);
  kernel_.add("  extern __shared__ __align__(16) unsigned char tg_shared[];\n  const int kx = threadIdx.x % $tx, ry = threadIdx.x / $tx;\n",
              {{"tx", std::to_string(plan_.tx)}});
  kernel_.add("  const unsigned block = $block;\n  const int rank = $rank;\n",
              {{"block", backwards ? "gridDim.x - 1 - blockIdx.x" : "blockIdx.x"},
               {"rank", plan_.cluster > 1 ? "tgc_rank()" : "(int)(block % " + std::to_string(plan_.split) + ")"}});
  kernel_.add("  const idx batch = (idx)(block / $each); (void)batch;\n", {{"each", std::to_string(plan_.cluster * plan_.split * blocks.back().value())}});
  oc_ = split(kernel_, kernel_.body, "(idx)(block / " + std::to_string(plan_.cluster * plan_.split) + ")", blocks, "c");
  kernel_.add("  const idx column = $b * $width + kx * $v;\n  const bool live = column < $n;\n",
              {{"b", oc_.back()}, {"width", std::to_string(width)}, {"v", std::to_string(plan_.vec)}, {"n", kernel_.value(rows_.outer.size.back())}});
  oc_.back() = "column";
  rc_.assign(rows_.inner.size.size(), "0");
  hold(0, form_.inputs);
}

void PanelWriter::hold(int from, int to) {
  for (int t = from; t < to; ++t) {
    if (!is_steady(rows_, t)) continue;
    const std::string name = array(t, form_.inputs);
    kernel_.body += declare_text(rows_.ops[t], mode(t), plan_.vec, name) + "  if (live) {\n" + load_into(t, name) + "  }\n";
    held_[t] = true;
  }
}

void PanelWriter::load_panel() {
  for (int t = 0; t < form_.inputs; ++t)
    if (!held_[t]) kernel_.body += declare_text(rows_.ops[t], mode(t), plan_.vec, array(t, form_.inputs), "[" + std::to_string(plan_.keep) + "]");
  open();
  for (int t = 0; t < form_.inputs; ++t)
    if (!held_[t]) kernel_.body += load_into(t, array(t, form_.inputs) + "[e]");
  close();
}

std::vector<std::string> PanelWriter::elements() const {
  std::vector<std::string> out;
  for (int t = 0; t < form_.inputs; ++t) out.push_back(element(array(t, form_.inputs) + (held_[t] ? "" : "[e]"), mode(t)));
  return out;
}

void PanelWriter::open() {
  const Dim n = numel(rows_.inner.size);
  const bool full = n == Dim(int64_t{plan_.keep} * plan_.ty * plan_.cluster * plan_.split);
  kernel_.add("#pragma unroll\n  for (int e = 0; e < $E; ++e) {\n    const idx r = (idx)(rank * $E + e) * $ty + ry;\n    if (live$inside) {\n",
              {{"E", std::to_string(plan_.keep)}, {"ty", std::to_string(plan_.ty)}, {"inside", full ? "" : " && r < " + kernel_.value(n)}});
  rc_ = split(kernel_, kernel_.body, "r", rows_.inner.size, "d");
  for (size_t t = 0; t < held_.size(); ++t)
    if (held_[t] && mode(static_cast<int>(t)) == Mode::vector) kernel_.add("    tgc_forget($n);\n", {{"n", array(static_cast<int>(t), form_.inputs)}});
}

void PanelWriter::merge(const std::string& type) {
  const int threads = plan_.tx * plan_.ty, w = statistics(), fold = static_cast<int>(form_.group / share_);
  const Vars vars = {{"P", type},
                     {"W", std::to_string(w)},
                     {"T", std::to_string(threads)},
                     {"tx", std::to_string(plan_.tx)},
                     {"ty", std::to_string(plan_.ty)},
                     {"cells", std::to_string(plan_.tx * w)},
                     {"fold", std::to_string(fold)},
                     {"groups", std::to_string(plan_.tx * w / fold)},
                     {"blocks", std::to_string(plan_.cluster)}};
  kernel_.add(R"(  $P* const parts = ($P*)tg_shared, * const totals = parts + $T * $W, * const groups = totals + $cells; (void)groups;
#pragma unroll
  for (int w = 0; w < $W; ++w) parts[w * $T + threadIdx.x] = part[w];
  __syncthreads();
#pragma unroll
  for (int half = $ty / 2; half > 0; half /= 2) {
    if (ry < half)
#pragma unroll
      for (int w = 0; w < $W; ++w) parts[w * $T + threadIdx.x].merge(parts[w * $T + threadIdx.x + half * $tx]);
    __syncthreads();
  }
)",
              vars);
  if (plan_.cluster > 1) kernel_.add("  tgc_arrive();\n  tgc_wait();\n");
  kernel_.add("  if (ry == 0)\n#pragma unroll\n    for (int w = 0; w < $W; ++w) {\n", vars);
  if (plan_.cluster > 1)
    kernel_.add(R"(      $P all[$blocks];
#pragma unroll
      for (int k = 0; k < $blocks; ++k) all[k] = tgc_read(&parts[w * $T + kx], k);
#pragma unroll
      for (int k = 1; k < $blocks; ++k) all[0].merge(all[k]);
      totals[kx * $W + w] = all[0];
    }
  tgc_arrive();
)",
                vars);
  else
    kernel_.add("      totals[kx * $W + w] = parts[w * $T + kx];\n    }\n", vars);
  kernel_.add("  __syncthreads();\n");
  if (fold > 1)
    kernel_.add(R"(  for (int g = threadIdx.x; g < $groups; g += $T) {
    $P all = totals[g * $fold];
    for (int k = 1; k < $fold; ++k) all.merge(totals[g * $fold + k]);
    groups[g] = all;
  }
  __syncthreads();
)",
                vars);
  kernel_.add("  const $P* const merged = $from;\n", {vars[0], {"from", fold > 1 ? "groups" : "totals"}});
  forget();
}

void PanelWriter::forget() {
  for (int t = 0; t < form_.inputs; ++t)
    if (!held_[t] && mode(t) == Mode::vector)
      kernel_.add("#pragma unroll\n  for (int e = 0; e < $E; ++e) tgc_forget(a$t[e]);\n", {{"E", std::to_string(plan_.keep)}, {"t", std::to_string(t)}});
}

void PanelWriter::take_merged(const std::string& type) {
  kernel_.add("  $P total[$W];\n#pragma unroll\n  for (int w = 0; w < $W; ++w) total[w] = merged[(kx * $W + w) / $fold];\n",
              {{"P", type}, {"W", std::to_string(statistics())}, {"fold", std::to_string(form_.group / share_)}});
}

void PanelWriter::take_groups(const std::string& type, int workspace) {
  kernel_.add(
      "  $P total[$W];\n  if (live)\n#pragma unroll\n    for (int w = 0; w < $W; ++w) total[w] = ((const $P*)$from)[batch * $all + (column + w * $share) / "
      "$group];\n",
      {{"P", type},
       {"W", std::to_string(statistics())},
       {"from", kernel_.pointer(workspace, "char", false)},
       {"all", std::to_string(rows_.outer.size.back().value() / form_.group)},
       {"share", std::to_string(share_)},
       {"group", std::to_string(form_.group)}});
}

void PanelWriter::put_groups(const std::string& type, int workspace) {
  kernel_.add(R"(  for (int g = threadIdx.x; g < $groups; g += $T) {
    const idx group = (column - kx * $v) / $group + g;
    if (group < $all) (($P*)$to)[(batch * $all + group) * $split + rank] = merged[g];
  }
)",
              {{"P", type},
               {"groups", std::to_string(plan_.tx * plan_.vec / form_.group)},
               {"T", std::to_string(plan_.tx * plan_.ty)},
               {"v", std::to_string(plan_.vec)},
               {"group", std::to_string(form_.group)},
               {"all", std::to_string(rows_.outer.size.back().value() / form_.group)},
               {"to", kernel_.pointer(workspace, "char", true, merged_bytes(form_))},
               {"split", std::to_string(plan_.split)}});
}

std::string PanelWriter::store(int t, const std::string& name) {
  if (turned_[t] < 0) return AccessWriter::store(t, name);
  return fill("#pragma unroll\n    for (int j = 0; j < $V; ++j) (($s*)(tg_shared + $at))[(kx * $V + j) * $pitch + e * $ty + ry] = $n[j];\n",
              {{"V", std::to_string(plan_.vec)},
               {"s", storage_ctype(rows_.ops[t].dtype)},
               {"at", std::to_string(turned_[t])},
               {"pitch", std::to_string(rows() + 2)},
               {"ty", std::to_string(plan_.ty)},
               {"n", name}});
}

void PanelWriter::end(int out) {
  for (int t = out; t < static_cast<int>(rows_.ops.size()); ++t)
    if (turned_[t] >= 0) write_turned(t);
  if (plan_.cluster > 1) kernel_.add("  tgc_wait();  // others may still read what this block has\n");
}

/// Lanes along the axis.
void PanelWriter::write_turned(int t) {
  const auto even = [](const Dim& d) { return divisible(d, 2); };
  const Operand& op = rows_.ops[t];
  const auto& strides = rows_.outer.strides[t];
  const bool pairs = size_of(op.dtype) <= 4 && op.alignment % (2 * size_of(op.dtype)) == 0 && even(numel(rows_.inner.size)) && rows() % 2 == 0 &&
                     std::all_of(strides.begin(), strides.end(), even);
  std::vector<std::string> coordinates = oc_;
  coordinates.back() = "c";
  kernel_.add(R"(  __syncthreads();
  for (int i = threadIdx.x; i < $width * $steps; i += $T) {
    const idx c = column - kx * $v + i / $steps, r = (idx)rank * $rows + i % $steps * $U;
    if (c >= $columns || r >= $n) continue;
    $s pair[$U];
    tg_load<$U>(pair, (const $s*)(tg_shared + $at) + i / $steps * ($rows + 2) + i % $steps * $U);
    tg_store<$U>($p + $o + r, pair);
  }
)",
              {{"width", std::to_string(plan_.tx * plan_.vec)},
               {"steps", std::to_string(rows() / (pairs ? 2 : 1))},
               {"rows", std::to_string(rows())},
               {"U", pairs ? "2" : "1"},
               {"T", std::to_string(plan_.tx * plan_.ty)},
               {"v", std::to_string(plan_.vec)},
               {"columns", kernel_.value(rows_.outer.size.back())},
               {"n", kernel_.value(numel(rows_.inner.size))},
               {"s", storage_ctype(op.dtype)},
               {"at", std::to_string(turned_[t])},
               {"p", pointer(kernel_, op, true)},
               {"o", offset(kernel_, strides, coordinates)}});
}

}  // namespace tuyere::codegen
