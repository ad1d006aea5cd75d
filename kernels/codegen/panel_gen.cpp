// SPDX-License-Identifier: Apache-2.0
#include "kernels/codegen/panel.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "kernels/codegen/types.h"

namespace tuyere::codegen {
namespace {

constexpr int kWords = 32;  // of registers per thread that hold a panel
constexpr int kLongestCluster = 8, kLongestHopperCluster = 16;
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

/// Chooses values: of structs the compiler would choose addresses, and keep arrays of them out of registers.
const char* kPick = R"(
template <class A> TGF A tgc_pick(bool first, const A& a, const A& b) {
  tg_words<A> x, y;
  x.a = a, y.a = b;
#pragma unroll
  for (int i = 0; i < (int)(sizeof(A) / 4); ++i) {
    const unsigned p = x.w[i], q = y.w[i];
    x.w[i] = first ? p : q;
  }
  return x.a;
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

/// Rows whose statistics lanes of one warp exchange, before the others go through shared memory.
int rows_of_warp(const PanelPlan& plan) { return plan.tx <= 32 && 32 % plan.tx == 0 && plan.tx * plan.ty % 32 == 0 ? 32 / plan.tx : 1; }

int part_bytes_per_block(const PanelForm& form, const PanelPlan& plan) {
  const int parts = plan.vec / static_cast<int>(std::gcd(int64_t{plan.vec}, form.group));
  return rounded(int64_t{plan.tx} * (plan.ty / rows_of_warp(plan) + 3) * parts * form.part_bytes);
}

/// Of what the threads have of tensor t at a time, with two elements between the columns, which keeps lanes out of each other's banks.
int turned_bytes(const PanelForm& form, const PanelPlan& plan, int t) {
  return rounded(int64_t{plan.tx} * plan.vec * (plan.ty + 2) * size_of(form.rows.ops[t].dtype));
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

int shared_bytes(const PanelForm& form, const PanelPlan& plan) {
  int shared = part_bytes_per_block(form, plan);
  for (int t = form.inputs; t < static_cast<int>(form.rows.ops.size()); ++t)
    if (is_turned(form.rows, t)) shared += 2 * turned_bytes(form, plan, t);
  return shared;
}

/// Blocks of a multiprocessor: registers allow 1024 threads.
int blocks_at_a_time(int threads, int shared, int kilobytes) { return std::max(std::min(1024 / threads, kilobytes * 1024 / (shared + 1024)), 1); }

int most_shared(const Target& target) { return (target.sm >= 90 ? 227 : 99) * 1024; }

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
  if (part_bytes_per_block(form, plan) > kPartBytes || shared_bytes(form, plan) > most_shared(target)) return {};
  return plan;
}

int longest_cluster(const Target& target) {
  if (target.sm < 90) return 1;
  return target.sm < 120 ? kLongestHopperCluster : kLongestCluster;
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

const char* cluster_prelude() { return kCluster; }

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
  std::vector<PanelPlan> plans = plans_of(form, target, kShapes, [&](const PanelPlan& p) { return p.cluster <= longest_cluster(target); });
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
  const int threads = plan_.tx * plan_.ty, width = plan_.tx * plan_.vec, words = plan_.keep * plan_.vec;
  std::vector<Dim> blocks = rows_.outer.size;
  blocks.back() = ceildiv(blocks.back(), width);
  kernel_.threads = threads;
  const bool fits = words * size_of(rows_.ops[0].dtype) * form_.inputs <= kWords * 4;
  kernel_.cluster = plan_.cluster;
  kernel_.grid = {numel(blocks) * (plan_.cluster * plan_.split), 1, 1};
  place(out);
  kernel_.min_blocks = fits ? blocks_at_a_time(threads, kernel_.shared_bytes, 228) : 0;
  kernel_.define(kForget);
  kernel_.define(kPick);
  if (plan_.cluster > 1) kernel_.define(kCluster);
  kernel_.add("  extern __shared__ __align__(16) unsigned char tg_shared[];\n  const int kx = threadIdx.x % $tx, ry = threadIdx.x / $tx;\n",
              {{"tx", std::to_string(plan_.tx)}});
  const std::string block = backwards ? "gridDim.x - 1 - blockIdx.x" : "blockIdx.x";
  kernel_.add("  const int rank = $rank;\n", {{"rank", plan_.cluster > 1 ? "tgc_rank()" : "(int)((" + block + ") % " + std::to_string(plan_.split) + ")"}});
  kernel_.add("  const unsigned block = $block;\n", {{"block", block}});
  const int each = plan_.cluster * plan_.split;
  kernel_.add("  const idx batch = (idx)(block / $each); (void)batch;\n", {{"each", std::to_string(each * blocks.back().value())}});
  oc_ = split(kernel_, kernel_.body, "(idx)(block / " + std::to_string(each) + ")", blocks, "c");
  kernel_.add("  const idx column = $b * $width + kx * $v;\n  const bool live = column < $n;\n",
              {{"b", oc_.back()}, {"width", std::to_string(width)}, {"v", std::to_string(plan_.vec)}, {"n", kernel_.value(rows_.outer.size.back())}});
  oc_.back() = "column";
  rc_.assign(rows_.inner.size.size(), "0");
  hold(0, form_.inputs);
}

/// Lays out shared memory: statistics, then what is turned.
void PanelWriter::place(int out) {
  kernel_.shared_bytes = part_bytes_per_block(form_, plan_);
  turned_.assign(rows_.ops.size(), -1);
  for (int t = out; t < static_cast<int>(rows_.ops.size()); ++t) {
    if (!is_turned(rows_, t)) continue;
    turned_[t] = kernel_.shared_bytes;
    kernel_.shared_bytes += 2 * turned_bytes(form_, plan_, t);
  }
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

bool PanelWriter::full() const { return numel(rows_.inner.size) == Dim(int64_t{plan_.keep} * plan_.ty * plan_.cluster * plan_.split); }

void PanelWriter::open() {
  kernel_.add("#pragma unroll\n  for (int e = 0; e < $E; ++e) {\n    const idx r = (idx)(rank * $E + e) * $ty + ry;\n    if (live$inside) {\n",
              {{"E", std::to_string(plan_.keep)}, {"ty", std::to_string(plan_.ty)}, {"inside", full() ? "" : " && r < " + count()}});
  rc_ = split(kernel_, kernel_.body, "r", rows_.inner.size, "d");
  for (size_t t = 0; t < held_.size(); ++t)
    if (held_[t] && mode(static_cast<int>(t)) == Mode::vector) kernel_.add("    tgc_forget($n);\n", {{"n", array(static_cast<int>(t), form_.inputs)}});
}

/// Lanes of a warp that have the same columns halve what they are responsible for until each has one part; puts it into parts[].
void PanelWriter::merge_lanes(const std::string& type) {
  int have = statistics(), idle = 0, merged = 1;
  kernel_.add("  int cell = kx * $W;\n", {{"W", std::to_string(have)}});
  for (int lanes = rows_of_warp(plan_) / 2 * plan_.tx; lanes >= plan_.tx; lanes /= 2) {
    const Vars vars = {{"P", type}, {"lanes", std::to_string(lanes)}, {"half", std::to_string(have / 2)}, {"n", std::to_string(merged)}};
    merged *= 2;
    if (have % 2 == 0) {
      kernel_.add(R"(  {
    const bool upper = threadIdx.x & $lanes;
    cell += upper ? $half : 0;
#pragma unroll
    for (int w = 0; w < $half; ++w) {
      const $P given = tgc_pick(upper, part[w], part[w + $half]);
      part[w] = tgc_pick(upper, part[w + $half], part[w]);
      part[w].merge(tg_shfl_xor(given, $lanes), $n, $n);
    }
  }
)",
                  vars);
      have /= 2;
    } else {
      for (int w = 0; w < have; ++w) kernel_.add("  part[$w].merge(tg_shfl_xor(part[$w], $lanes), $n, $n);\n", {{"w", std::to_string(w)}, vars[1], vars[3]});
      idle |= lanes;
    }
  }
  kernel_.add("  if ((threadIdx.x & $idle) == 0)\n#pragma unroll\n    for (int w = 0; w < $have; ++w) parts[ry / $rows * $cells + cell + w] = part[w];\n",
              {{"idle", std::to_string(idle)},
               {"have", std::to_string(have)},
               {"rows", std::to_string(rows_of_warp(plan_))},
               {"cells", std::to_string(plan_.tx * statistics())}});
}

void PanelWriter::merge(const std::string& type) {
  const int threads = plan_.tx * plan_.ty, w = statistics(), fold = static_cast<int>(form_.group / share_);
  const int parts = plan_.ty / rows_of_warp(plan_), lanes = threads % 32 == 0 ? std::min(parts, 32) : 1;
  const Vars vars = {{"P", type},
                     {"T", std::to_string(threads)},
                     {"parts", std::to_string(parts)},
                     {"rows", std::to_string(rows_of_warp(plan_))},
                     {"share", std::to_string(rows_of_warp(plan_) * parts / lanes)},
                     {"ty", std::to_string(plan_.ty)},
                     {"lanes", std::to_string(lanes)},
                     {"cells", std::to_string(plan_.tx * w)},
                     {"fold", std::to_string(fold)},
                     {"groups", std::to_string(plan_.tx * w / fold)},
                     {"blocks", std::to_string(plan_.cluster)}};
  kernel_.add(
      "  $P* const parts = ($P*)tg_shared, * const totals = parts + $parts * $cells, * const groups = totals + $cells, * const sums = groups + $cells; "
      "(void)groups; (void)sums;\n",
      vars);
  merge_lanes(type);
  // All threads run the loop, because lanes exchange what they have.
  kernel_.add(R"(  __syncthreads();
  for (int first = 0; first < $cells * $lanes; first += $T) {
    const int i = first + threadIdx.x, own = i / $lanes, from = own < $cells ? own : $cells - 1;
    $P all = parts[i % $lanes * $cells + from];
#pragma unroll
    for (int p = $lanes; p < $parts; p += $lanes) all.merge(parts[(p + i % $lanes) * $cells + from], p / $lanes * $rows, $rows);
#pragma unroll
    for (int m = 1; m < $lanes; m *= 2) all.merge(tg_shfl_xor(all, m), m * $share, m * $share);
    if (i % $lanes == 0 && own < $cells) totals[own] = all;
  }
)",
              vars);
  if (plan_.cluster > 1) {
    kernel_.add(R"(  tgc_arrive();
  tgc_wait();
  for (int c = threadIdx.x; c < $cells; c += $T) {
    $P all[$blocks];
#pragma unroll
    for (int k = 0; k < $blocks; ++k) all[k] = tgc_read(&totals[c], k);
#pragma unroll
    for (int k = 1; k < $blocks; ++k) all[0].merge(all[k], k * $ty, $ty);
    sums[c] = all[0];
  }
  tgc_arrive();
)",
                vars);
  }
  kernel_.add("  __syncthreads();\n");
  const char* const from = plan_.cluster > 1 ? "sums" : "totals";
  if (fold > 1)
    kernel_.add(R"(  for (int g = threadIdx.x; g < $groups; g += $T) {
    $P all = $from[g * $fold];
    for (int k = 1; k < $fold; ++k) all.merge($from[g * $fold + k], k * $column, $column);
    groups[g] = all;
  }
  __syncthreads();
)",
                {vars[0],
                 vars[1],
                 {"fold", std::to_string(fold)},
                 {"groups", std::to_string(plan_.tx * w / fold)},
                 {"from", from},
                 {"column", std::to_string(plan_.ty * plan_.cluster)}});
  kernel_.add("  const $P* const merged = $from;\n", {vars[0], {"from", fold > 1 ? "groups" : from}});
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

/// Two areas take turns, so that one barrier per access is enough.
std::string PanelWriter::turned(int t) {
  return fill("(tg_shared + $at + e % 2 * $bytes)", {{"at", std::to_string(turned_[t])}, {"bytes", std::to_string(turned_bytes(form_, plan_, t))}});
}

std::string PanelWriter::store(int t, const std::string& name) {
  if (turned_[t] < 0) return AccessWriter::store(t, name);
  return fill(
      "#pragma unroll\n    for (int j = 0; j < $V; ++j) (($s*)$at)[(kx * $V + j) * $pitch + ry] = $n[j];\n",
      {{"V", std::to_string(plan_.vec)}, {"s", storage_ctype(rows_.ops[t].dtype)}, {"at", turned(t)}, {"pitch", std::to_string(plan_.ty + 2)}, {"n", name}});
}

void PanelWriter::close_results(int out) {
  kernel_.add("    }\n");
  const auto is_set = [](int at) { return at >= 0; };
  if (std::any_of(turned_.begin(), turned_.end(), is_set)) kernel_.add("    __syncthreads();\n");
  for (int t = out; t < static_cast<int>(rows_.ops.size()); ++t)
    if (turned_[t] >= 0) write_turned(t);
  kernel_.add("  }\n");
  if (plan_.cluster > 1) kernel_.add("  tgc_wait();  // others may still read what this block has\n");
}

/// Lanes along the axis.
void PanelWriter::write_turned(int t) {
  const auto even = [](const Dim& d) { return divisible(d, 2); };
  const Operand& op = rows_.ops[t];
  const auto& strides = rows_.outer.strides[t];
  const bool pairs = size_of(op.dtype) <= 4 && op.alignment % (2 * size_of(op.dtype)) == 0 && even(numel(rows_.inner.size)) && plan_.ty % 2 == 0 &&
                     std::all_of(strides.begin(), strides.end(), even);
  std::vector<std::string> coordinates = oc_;
  coordinates.back() = "c";
  kernel_.add(R"(    for (int i = threadIdx.x; i < $width * $steps; i += $T) {
      const idx c = column - kx * $v + i / $steps, r = (idx)(rank * $E + e) * $ty + i % $steps * $U;
      if (c >= $columns || r >= $n) continue;
      $s pair[$U];
      tg_load<$U>(pair, (const $s*)$at + i / $steps * ($ty + 2) + i % $steps * $U);
      tg_store<$U>($p + $o + r, pair);
    }
)",
              {{"width", std::to_string(plan_.tx * plan_.vec)},
               {"steps", std::to_string(plan_.ty / (pairs ? 2 : 1))},
               {"E", std::to_string(plan_.keep)},
               {"ty", std::to_string(plan_.ty)},
               {"U", pairs ? "2" : "1"},
               {"T", std::to_string(plan_.tx * plan_.ty)},
               {"v", std::to_string(plan_.vec)},
               {"columns", kernel_.value(rows_.outer.size.back())},
               {"n", kernel_.value(numel(rows_.inner.size))},
               {"s", storage_ctype(op.dtype)},
               {"at", turned(t)},
               {"p", pointer(kernel_, op, true)},
               {"o", offset(kernel_, strides, coordinates)}});
}

}  // namespace tuyere::codegen
