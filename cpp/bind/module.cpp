// The border: the only file that knows Python. It checks every array once and hands pointers to the
// core.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <set>
#include <stdexcept>

#include "../blocks.h"
#include "../cache.h"
#include "../file_map.h"
#include "../measure.h"
#include "../model.h"
#include "../sample.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace understudy {
namespace {

template <class T>
using Array = nb::ndarray<const T, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Matrix = nb::ndarray<const T, nb::numpy, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Output = nb::ndarray<T, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

template <class T>
nb::ndarray<nb::numpy, T> own(std::unique_ptr<T[]> data, std::initializer_list<size_t> shape) {
  T* raw = data.release();
  nb::capsule owner(raw, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return nb::ndarray<nb::numpy, T>(raw, shape, owner);
}

template <class T>
T choice(const nb::dict& d, const char* key, std::initializer_list<std::pair<const char*, T>> of) {
  const auto name = nb::cast<std::string>(d[key]);
  for (const auto& [each, value] : of)
    if (name == each) return value;
  refuse("the core does not know the " + std::string(key) + " " + name);
}

BlockSpec read_block(const nb::dict& d) {
  return {choice<Mixer>(d, "mixer",
                        {{"none", Mixer::NONE},
                         {"attention", Mixer::ATTENTION},
                         {"mamba2", Mixer::MAMBA2},
                         {"gated_delta", Mixer::GATED_DELTA},
                         {"short_conv", Mixer::SHORT_CONV}}),
          nb::cast<bool>(d["has_mlp"]), nb::cast<int>(d["window"]),
          choice<Rotation>(
              d, "rotation",
              {{"none", Rotation::NONE}, {"global", Rotation::GLOBAL}, {"local", Rotation::LOCAL}}),
          nb::cast<bool>(d["has_experts"])};
}

ExpertsSpec read_experts(const nb::dict& d) {
  const auto number = [&](const char* name) { return nb::cast<int>(d[name]); };
  const ExpertsSpec e{
      number("count"),
      number("used"),
      number("inner_size"),
      number("shared_size"),
      number("num_groups"),
      number("used_groups"),
      choice<Scoring>(d, "scoring", {{"softmax", Scoring::SOFTMAX}, {"sigmoid", Scoring::SIGMOID}}),
      nb::cast<bool>(d["is_normalised"]),
      nb::cast<float>(d["scale"])};
  const bool is_sound = e.count > 0 && e.inner_size > 0 && e.shared_size >= 0 && e.used > 0 &&
                        e.num_groups > 0 && e.count % e.num_groups == 0 && e.used_groups > 0 &&
                        e.used_groups <= e.num_groups &&
                        e.used <= e.count / e.num_groups * e.used_groups &&
                        (e.num_groups == 1 || e.count / e.num_groups > 1);
  if (!is_sound) refuse("the spec's sizes of experts contradict each other");
  return e;
}

Mamba2 read_mamba2(const nb::dict& d) {
  const auto number = [&](const char* name) { return nb::cast<int>(d[name]); };
  const Mamba2 m{number("num_heads"),
                 number("head_dim"),
                 number("state_size"),
                 number("num_groups"),
                 number("norm_groups"),
                 number("conv_size"),
                 nb::cast<float>(d["min_time_step"])};
  const bool is_sound = m.num_heads > 0 && m.head_dim > 0 && m.head_dim <= 1024 &&
                        m.state_size > 0 && m.num_groups > 0 && m.num_heads % m.num_groups == 0 &&
                        m.norm_groups > 0 && m.inner_size() % m.norm_groups == 0 && m.conv_size > 0;
  if (!is_sound) refuse("the spec's Mamba-2 sizes contradict each other");
  return m;
}

GatedDelta read_gated_delta(const nb::dict& d) {
  const auto number = [&](const char* name) { return nb::cast<int>(d[name]); };
  const GatedDelta g{number("num_heads"), number("num_key_heads"), number("key_dim"),
                     number("value_dim"), number("conv_size")};
  const bool is_sound = g.num_heads > 0 && g.num_key_heads > 0 &&
                        g.num_heads % g.num_key_heads == 0 && g.key_dim > 0 && g.value_dim > 0 &&
                        g.value_dim <= 1024 && g.conv_size > 0;
  if (!is_sound) refuse("the spec's gated delta sizes contradict each other");
  return g;
}

// What is beside the sizes that every spec has.
void read_options(const nb::dict& d, Spec& s) {
  s.qk_norm = nb::cast<bool>(d["qk_norm"]);
  s.post_norms = nb::cast<bool>(d["post_norms"]);
  s.embedding_scale = nb::cast<float>(d["embedding_scale"]);
  s.residual_scale = nb::cast<float>(d["residual_scale"]);
  s.logit_scale = nb::cast<float>(d["logit_scale"]);
  s.attention_scale = nb::cast<float>(d["attention_scale"]);
  s.conv_size = nb::cast<int>(d["conv_size"]);
  s.local_frequencies = nb::cast<std::vector<float>>(d["local_frequencies"]);
  if (nb::object mamba = d["mamba2"]; !mamba.is_none())
    s.mamba2 = read_mamba2(nb::cast<nb::dict>(mamba));
  if (nb::object delta = d["gated_delta"]; !delta.is_none())
    s.gated_delta = read_gated_delta(nb::cast<nb::dict>(delta));
  s.output_gate = nb::cast<bool>(d["output_gate"]);
  if (nb::object experts = d["experts"]; !experts.is_none())
    s.experts = read_experts(nb::cast<nb::dict>(experts));
  for (const auto& block : nb::cast<nb::tuple>(d["blocks"]))
    s.blocks.push_back(read_block(nb::cast<nb::dict>(block)));
  if (!s.blocks.empty() && static_cast<int>(s.blocks.size()) != s.num_layers)
    refuse("the spec has not one block for each layer");
  for (const BlockSpec& block : s.blocks)
    if (block.has_experts && s.experts.count == 0) refuse("the spec has no sizes of experts");
  if (s.count(Mixer::MAMBA2) > 0 && s.mamba2.num_heads == 0)
    refuse("the spec has no Mamba-2 sizes");
  if (s.count(Mixer::GATED_DELTA) > 0 && s.gated_delta.num_heads == 0)
    refuse("the spec has no gated delta sizes");
  if (s.count(Mixer::SHORT_CONV) > 0 && s.conv_size < 1)
    refuse("the spec has no size of its convolutions");
  for (const BlockSpec& block : s.blocks)
    if (block.rotation == Rotation::LOCAL &&
        static_cast<int>(s.local_frequencies.size()) != s.rotary_dim / 2)
      refuse("the spec's local frequencies are not rotary_dim / 2");
}

Spec read_spec(const nb::dict& d) {
  const auto number = [&](const char* name) { return nb::cast<int>(d[name]); };
  Spec s = {};
  s.num_layers = number("num_layers");
  s.hidden_size = number("hidden_size");
  s.intermediate_size = number("intermediate_size");
  s.num_heads = number("num_heads");
  s.num_kv_heads = number("num_kv_heads");
  s.head_dim = number("head_dim");
  s.vocab_size = number("vocab_size");
  s.rotary_dim = number("rotary_dim");
  s.norm_eps = nb::cast<float>(d["norm_eps"]);
  s.is_layer_norm = nb::cast<std::string>(d["norm"]) == "layer_norm_1p";
  s.activation = choice<Activation>(d, "activation",
                                    {{"silu", Activation::SILU},
                                     {"relu2", Activation::RELU2},
                                     {"gelu_tanh", Activation::GELU_TANH}});
  s.gated = nb::cast<bool>(d["gated"]);
  s.frequency_sets = nb::cast<std::vector<std::vector<float>>>(d["frequency_sets"]);
  s.attention_factor = nb::cast<float>(d["attention_factor"]);
  const bool is_sound =
      s.num_layers > 0 && s.hidden_size > 0 && s.intermediate_size > 0 && s.num_kv_heads > 0 &&
      s.num_heads > 0 && s.num_heads % s.num_kv_heads == 0 &&
      s.num_heads / s.num_kv_heads <= MAX_GROUP_SIZE && s.head_dim > 0 && s.head_dim <= 1024 &&
      s.vocab_size > 0 && s.rotary_dim % 2 == 0 && s.rotary_dim >= 0 && s.rotary_dim <= s.head_dim;
  if (!is_sound) refuse("the spec's sizes contradict each other");
  if (s.frequency_sets.empty()) refuse("the spec has no frequencies");
  for (const auto& set : s.frequency_sets)
    if (static_cast<int>(set.size()) != s.rotary_dim / 2)
      refuse("the spec's frequencies are not rotary_dim / 2");
  read_options(d, s);
  return s;
}

// A model keeps its packed arrays alive.
struct BoundModel {
  std::vector<nb::object> arrays;
  std::set<const FileRegion*> files;  // that the arrays lie in
  std::unique_ptr<Model> model;

  BoundModel(const nb::dict& spec, const nb::dict& tensors, const std::string& isa, int num_threads,
             const std::vector<std::string>& int12) {
    const Kernels* kernels = find_kernels(isa.c_str());
    if (kernels == nullptr) refuse("no kernels named " + isa + " on this CPU");
    TensorMap map;
    for (const auto& [key, value] : tensors) {
      const auto name = nb::cast<std::string>(key);
      const nb::tuple entry = nb::cast<nb::tuple>(value);
      const auto data = nb::cast<Array<uint8_t>>(entry[3]);
      PackedTensor t{packed_format(nb::cast<std::string>(entry[0])), nb::cast<int64_t>(entry[1]),
                     nb::cast<int64_t>(entry[2]), data.data()};
      const bool is_vector = t.rows == 1 && t.format == Format::F32;
      const size_t expected = is_vector ? static_cast<size_t>(t.columns) * 4 : t.bytes();
      if (data.size() != expected)
        refuse("tensor " + name + " has " + std::to_string(data.size()) + " bytes, expected " +
               std::to_string(expected));
      map.emplace(name, t);
      if (const FileRegion* file = region_of(t.data)) files.insert(file);
      arrays.push_back(nb::cast<nb::object>(entry[3]));
    }
    model = std::make_unique<Model>(read_spec(spec), map, *kernels, num_threads, int12);
  }
  bool is_cut() const {
    return std::any_of(files.begin(), files.end(),
                       [](const auto* file) { return file->is_cut.load(); });
  }
};

// An adapter of a model's matrices: name -> (A, B, scale).
struct BoundAdapter {
  const Model* model;
  std::shared_ptr<const Adapter> adapter;

  BoundAdapter(const BoundModel& bound, const nb::dict& matrices, const std::string& format)
      : model(bound.model.get()) {
    std::vector<AdapterMatrix> list;
    std::vector<Matrix<float>> arrays;
    for (const auto& [key, value] : matrices) {
      const nb::tuple entry = nb::cast<nb::tuple>(value);
      const auto a = nb::cast<Matrix<float>>(entry[0]), b = nb::cast<Matrix<float>>(entry[1]);
      const auto rank = static_cast<int>(a.shape(0));
      const auto name = nb::cast<std::string>(key);
      if (a.shape(0) != b.shape(1)) refuse("A and B of " + name + " differ in rank");
      list.push_back({name, rank, a.data(), b.data(), static_cast<int64_t>(b.shape(0)),
                      static_cast<int64_t>(a.shape(1)), nb::cast<float>(entry[2])});
      arrays.push_back(a), arrays.push_back(b);
    }
    adapter = std::make_shared<const Adapter>(model->matrices(), list, packed_format(format));
  }
};

struct BoundCache {
  Cache cache;
  StatePool states;
  BoundCache(const BoundModel& model, int64_t num_pages, const std::string& kv_format,
             int64_t num_states)
      : cache(model.model->spec(), num_pages, parse(kv_format)),
        states(model.model->spec(), num_states) {}
  static KvFormat parse(const std::string& name) {
    if (name == "f16") return KvFormat::F16;
    if (name == "int8") return KvFormat::INT8;
    if (name == "f32") return KvFormat::F32;
    refuse("unknown cache format " + name);
  }
  void check_state(int64_t state) const {
    if (state < 0 || state >= states.num_states())
      refuse("state " + std::to_string(state) + " is outside the pool");
  }
  void check(int64_t page) const {
    if (page < 0 || page >= cache.num_pages())
      refuse("page " + std::to_string(page) + " is outside the cache");
  }
};

void check_batch(const Batch& b, const Spec& spec, int64_t num_slots, const Cache& cache) {
  for (int i = 0; i < b.num_tokens; ++i) {
    if (b.tokens[i] < 0 || b.tokens[i] >= spec.vocab_size)
      refuse("token " + std::to_string(b.tokens[i]) + " is outside the vocabulary");
    if (b.slots[i] < 0 || b.slots[i] >= num_slots)
      refuse("slot " + std::to_string(b.slots[i]) + " has no page table");
    if (b.positions[i] < 0 || b.positions[i] / PAGE >= b.max_pages)
      refuse("position " + std::to_string(b.positions[i]) + " has no page");
    const int32_t* table = b.page_tables + static_cast<int64_t>(b.slots[i]) * b.max_pages;
    for (int p = 0; p <= b.positions[i] / PAGE; ++p)
      if (table[p] < 0 || table[p] >= cache.num_pages())
        refuse("page " + std::to_string(table[p]) + " is outside the cache");
  }
  for (int i = 0; i < b.num_logits; ++i)
    if (b.logit_rows[i] < 0 || b.logit_rows[i] >= b.num_tokens)
      refuse("logit row " + std::to_string(b.logit_rows[i]) + " is outside the batch");
}

// (source, target) of each sequence, and where states are kept on the way; nothing for a model
// without recurrent layers.
struct StateArrays {
  const int32_t* states = nullptr;
  const int32_t* saves = nullptr;
};

StateArrays read_states(const nb::object& given, const nb::object& saves, size_t num_sequences,
                        size_t num_tokens, const Spec& spec, const BoundCache& cache) {
  if (!spec.has_state()) return {};
  if (given.is_none()) refuse("a model with recurrent layers needs states");
  const auto states = nb::cast<Matrix<int32_t>>(given);
  if (states.shape(0) != num_sequences || states.shape(1) != 2)
    refuse("states must be (sequences, 2)");
  for (size_t i = 0; i < num_sequences; ++i) {
    if (states.data()[2 * i] != -1) cache.check_state(states.data()[2 * i]);
    cache.check_state(states.data()[2 * i + 1]);
  }
  if (saves.is_none()) return {states.data(), nullptr};
  const auto by_token = nb::cast<Array<int32_t>>(saves);
  if (by_token.size() != num_tokens) refuse("state_saves must name one for each token");
  for (size_t i = 0; i < num_tokens; ++i)
    if (by_token.data()[i] != -1) cache.check_state(by_token.data()[i]);
  return {states.data(), by_token.data()};
}

// Which of the spec's frequencies each sequence turns by; the first where nothing is said.
std::vector<int32_t> read_sets(const nb::object& given, size_t num_sequences, const Spec& spec) {
  if (given.is_none()) return std::vector<int32_t>(num_sequences, 0);
  const auto sets = nb::cast<std::vector<int32_t>>(given);
  if (sets.size() != num_sequences) refuse("frequency_sets must name one for each sequence");
  for (const int32_t set : sets)
    if (set < 0 || set >= static_cast<int32_t>(spec.frequency_sets.size()))
      refuse("there are no such frequencies");
  return sets;
}

// Adapters that act on one sequence: None, or a list of (adapter, factor).
AdapterMix read_mix(const nb::handle& given, const Model& model) {
  AdapterMix mix;
  if (given.is_none()) return mix;
  for (const nb::handle entry : nb::cast<nb::sequence>(given)) {
    const auto [adapter, factor] = nb::cast<std::pair<const BoundAdapter*, float>>(entry);
    if (adapter->model != &model) refuse("the adapter was made for another model");
    mix.push_back({adapter->adapter, factor});
  }
  return mix;
}

// The mixtures of a batch's sequences; equal ones are one, so that their tokens are computed
// together.
struct Mixes {
  std::vector<std::unique_ptr<AdapterMix>> owned;
  std::vector<const AdapterMix*> by_sequence;

  Mixes(const nb::object& given, size_t num_sequences, const Model& model) {
    if (given.is_none()) return;
    for (const nb::handle entry : nb::cast<nb::sequence>(given)) add(read_mix(entry, model));
    if (by_sequence.size() != num_sequences) refuse("adapters must say one for each sequence");
  }
  void add(AdapterMix mix) {
    const auto is_same = [&](const auto& known) { return *known == mix; };
    auto known = std::find_if(owned.begin(), owned.end(), is_same);
    if (mix.empty()) return by_sequence.push_back(nullptr);
    if (known == owned.end())
      known = owned.insert(owned.end(), std::make_unique<AdapterMix>(std::move(mix)));
    by_sequence.push_back(known->get());
  }
  const AdapterMix* const* data() const { return owned.empty() ? nullptr : by_sequence.data(); }
};

auto step(BoundModel& bound, BoundCache& cache, Array<int32_t> tokens, Array<int32_t> positions,
          Array<int32_t> slots, Matrix<int32_t> page_tables, Array<int32_t> logit_rows,
          const nb::object& frequency_sets, const nb::object& adapters, const nb::object& states,
          const nb::object& state_saves) {
  if (positions.size() != tokens.size() || slots.size() != tokens.size())
    refuse("tokens, positions and slots must have the same length");
  const std::vector<int32_t> sets =
      read_sets(frequency_sets, page_tables.shape(0), bound.model->spec());
  const Mixes mixes(adapters, page_tables.shape(0), *bound.model);
  const StateArrays kept = read_states(states, state_saves, page_tables.shape(0), tokens.size(),
                                       bound.model->spec(), cache);
  const Batch batch = {static_cast<int>(tokens.size()),
                       tokens.data(),
                       positions.data(),
                       slots.data(),
                       page_tables.data(),
                       static_cast<int>(page_tables.shape(1)),
                       static_cast<int>(logit_rows.size()),
                       logit_rows.data(),
                       sets.data(),
                       mixes.data(),
                       kept.states,
                       kept.saves};
  Model& model = *bound.model;
  check_batch(batch, model.spec(), static_cast<int64_t>(page_tables.shape(0)), cache.cache);
  const size_t rows = logit_rows.size(), vocab = static_cast<size_t>(model.spec().vocab_size);
  std::unique_ptr<float[]> logits(new float[rows * vocab]);
  {
    nb::gil_scoped_release release;
    if (batch.num_tokens > 0)
      model.step(batch, cache.cache, kept.states ? &cache.states : nullptr, logits.get());
  }
  return own<float>(std::move(logits), {rows, vocab});
}

std::pair<std::vector<int32_t>, std::vector<float>> split(const std::vector<TokenScore>& scores) {
  std::pair<std::vector<int32_t>, std::vector<float>> lists;
  for (const TokenScore& s : scores)
    lists.first.push_back(s.token), lists.second.push_back(s.logprob);
  return lists;
}

// The settings of a request, made once, used for each of its tokens.
struct BoundSampler {
  SampleSettings settings;
  BoundSampler(float temperature, int top_k, float top_p, float min_p,
               const PenaltySettings& penalties, const DrySettings& dry, const XtcSettings& xtc,
               std::vector<std::pair<int32_t, float>> bias, uint64_t seed, int num_top)
      : settings{temperature, top_k, top_p,           min_p, penalties,
                 dry,         xtc,   std::move(bias), seed,  num_top} {}
};

DrySettings make_dry(float multiplier, float base, int64_t allowed_length, int64_t last_n,
                     const std::vector<std::vector<int32_t>>& breakers) {
  DrySettings dry{multiplier, base, allowed_length, last_n, {}};
  for (const auto& breaker : breakers) {
    if (breaker.empty()) refuse("a breaker without tokens");
    dry.breakers.emplace(breaker[0], std::vector<int32_t>(breaker.begin() + 1, breaker.end()));
  }
  return dry;
}

// The text so far and the mask of one token, checked against the vocabulary; holds what it points
// to.
struct BoundContext {
  Array<float> logits;
  Array<int32_t> history;
  Array<uint32_t> words;
  SampleContext context;

  BoundContext(const BoundSampler& sampler, Array<float> row, Array<int32_t> text,
               int64_t num_generated, const nb::object& mask, uint64_t counter)
      : logits(row), history(text) {
    context.history = {history.data(), static_cast<int64_t>(history.size()), num_generated};
    context.counter = counter;
    if (num_generated < 0 || num_generated > context.history.size)
      refuse("num_generated is outside the history");
    for (size_t i = 0; i < history.size(); ++i)
      if (history.data()[i] < 0 || history.data()[i] >= vocab())
        refuse("history holds a token outside the vocabulary");
    for (const auto& [token, value] : sampler.settings.bias)
      if (token < 0 || token >= vocab()) refuse("a biased token is outside the vocabulary");
    if (mask.is_none()) return;
    words = nb::cast<Array<uint32_t>>(mask);
    if (static_cast<int64_t>(words.size()) * 32 < vocab())
      refuse("the mask is shorter than the vocabulary");
    context.mask = words.data();
  }
  int64_t vocab() const { return static_cast<int64_t>(logits.size()); }
};

nb::tuple sample_row(const BoundSampler& sampler, Array<float> logits, Array<int32_t> history,
                     int64_t num_generated, const nb::object& mask, uint64_t counter) {
  const BoundContext bound(sampler, logits, history, num_generated, mask, counter);
  SampleResult result;
  {
    nb::gil_scoped_release release;
    result = sample(logits.data(), bound.vocab(), sampler.settings, bound.context);
  }
  const auto top = split(result.top);
  return nb::make_tuple(result.chosen.token, result.chosen.logprob, top.first, top.second);
}

auto shape_row(const BoundSampler& sampler, Array<float> logits, Array<int32_t> history,
               int64_t num_generated) {
  const BoundContext bound(sampler, logits, history, num_generated, nb::none(), 0);
  const std::vector<float> shaped =
      shape(logits.data(), bound.vocab(), sampler.settings, bound.context);
  std::unique_ptr<float[]> out(new float[shaped.size()]);
  std::copy(shaped.begin(), shaped.end(), out.get());
  return own<float>(std::move(out), {shaped.size()});
}

std::vector<nb::tuple> logprobs(Matrix<float> logits, Array<int32_t> targets, int num_top) {
  const int64_t rows = static_cast<int64_t>(logits.shape(0)),
                vocab = static_cast<int64_t>(logits.shape(1));
  if (static_cast<int64_t>(targets.size()) != rows)
    refuse("one target for each row of logits is needed");
  std::vector<nb::tuple> out;
  for (int64_t i = 0; i < rows; ++i) {
    if (targets.data()[i] >= vocab) refuse("a target is outside the vocabulary");
    const RowScore row = score_row(logits.data() + i * vocab, vocab, targets.data()[i], num_top);
    const auto top = split(row.top);
    out.push_back(nb::make_tuple(row.target.logprob, row.rank, top.first, top.second));
  }
  return out;
}

using AnyShape = nb::ndarray<const float, nb::numpy, nb::c_contig, nb::device::cpu>;

auto dequantize_blocks(const std::string& format, Array<uint8_t> data, int64_t count) {
  const BlockType type = block_type(format);
  if (data.size() != row_bytes(type, count))
    refuse("data does not hold " + std::to_string(count) + " values of " + format);
  std::unique_ptr<float[]> out(new float[count]);
  {
    nb::gil_scoped_release release;
    dequantize(type, data.data(), count, out.get());
  }
  return own<float>(std::move(out), {static_cast<size_t>(count)});
}

auto quantize_values(const std::string& format, AnyShape values) {
  const BlockType type = block_type(format);
  const auto count = static_cast<int64_t>(values.size());
  const int64_t columns =
      values.ndim() == 0 ? 1 : static_cast<int64_t>(values.shape(values.ndim() - 1));
  const size_t of_row = row_bytes(type, columns);
  const int64_t rows = columns > 0 ? count / columns : 0;
  const size_t bytes = of_row * static_cast<size_t>(rows);
  std::unique_ptr<uint8_t[]> out(new uint8_t[bytes]);
  {
    nb::gil_scoped_release release;
    for (int64_t r = 0; r < rows; ++r)
      quantize(type, values.data() + r * columns, columns,
               out.get() + static_cast<size_t>(r) * of_row);
  }
  return own<uint8_t>(std::move(out), {bytes});
}

void pack_matrix(const std::string& source, Array<uint8_t> data, int64_t rows, int64_t columns,
                 const std::string& target, Output<uint8_t> out) {
  constexpr int64_t PANELS_OF_A_PIECE = 8;
  const BlockType type = block_type(source);
  const PackedTensor packed{packed_format(target), rows, columns, nullptr};
  if (data.size() != row_bytes(type, columns) * static_cast<size_t>(rows))
    refuse("data does not hold the rows");
  if (out.size() != packed.bytes())
    refuse("out must have " + std::to_string(packed.bytes()) + " bytes");
  uint8_t* target_data = out.data();
  nb::gil_scoped_release release;
  ThreadPool pool(static_cast<int>(std::thread::hardware_concurrency()));
  pool.share(packed.panels(), PANELS_OF_A_PIECE, [&](int64_t first, int64_t last) {
    pack_panels(type, data.data(), rows, columns, packed.format, first, last, target_data);
  });
}

auto unpack_matrix(const std::string& target, Array<uint8_t> data, int64_t rows, int64_t columns) {
  const PackedTensor packed{packed_format(target), rows, columns, data.data()};
  if (data.size() != packed.bytes())
    refuse("data must have " + std::to_string(packed.bytes()) + " bytes");
  std::unique_ptr<float[]> out(new float[rows * columns]);
  for (int64_t r = 0; r < rows; ++r) unpack_row(packed, r, out.get() + r * columns);
  return own<float>(std::move(out), {static_cast<size_t>(rows), static_cast<size_t>(columns)});
}

void copy_pages(BoundCache& c, Array<int32_t> sources, Array<int32_t> targets) {
  if (sources.size() != targets.size()) refuse("sources and targets must have the same length");
  for (size_t i = 0; i < sources.size(); ++i) {
    const int32_t source = sources.data()[i], target = targets.data()[i];
    c.check(source), c.check(target);
    if (source != target) c.cache.copy_page(source, target);
  }
}

auto read_page(const BoundCache& c, int64_t page) {
  c.check(page);
  std::unique_ptr<uint8_t[]> out(new uint8_t[c.cache.page_bytes()]);
  c.cache.read_page(page, out.get());
  return own<uint8_t>(std::move(out), {c.cache.page_bytes()});
}

void write_page(BoundCache& c, int64_t page, Array<uint8_t> data) {
  c.check(page);
  if (data.size() != c.cache.page_bytes())
    refuse("a page has " + std::to_string(c.cache.page_bytes()) + " bytes");
  c.cache.write_page(page, data.data());
}

void set_place(BoundCache& c, int64_t page, int64_t place) {
  c.check(page);
  if (place != -1) c.check(place);
  c.cache.set_place(page, static_cast<int32_t>(place));
}

auto read_state(const BoundCache& c, int64_t state) {
  c.check_state(state);
  std::unique_ptr<uint8_t[]> out(new uint8_t[c.states.state_bytes()]);
  c.states.read(state, out.get());
  return own<uint8_t>(std::move(out), {c.states.state_bytes()});
}

void write_state(BoundCache& c, int64_t state, Array<uint8_t> data) {
  c.check_state(state);
  if (data.size() != c.states.state_bytes())
    refuse("a state has " + std::to_string(c.states.state_bytes()) + " bytes");
  c.states.write(state, data.data());
}

std::vector<std::string> isa_targets() {
  int count;
  const Kernels* const* targets = available_kernels(&count);
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.emplace_back(targets[i]->name);
  return names;
}

double measure_bandwidth(int num_threads, int64_t megabytes, double seconds) {
  nb::gil_scoped_release release;
  return read_bandwidth(num_threads, megabytes << 20, seconds);
}

double measure_int8_peak(int num_threads, double seconds) {
  nb::gil_scoped_release release;
  return int8_rate(num_threads, seconds);
}

void bind_blocks(nb::module_& m) {
  m.def("dequantize", &dequantize_blocks, "format"_a, "data"_a, "count"_a);
  m.def("quantize", &quantize_values, "format"_a, "values"_a);
  m.def("pack", &pack_matrix, "source"_a, "data"_a, "rows"_a, "columns"_a, "target"_a, "out"_a);
  m.def("unpack", &unpack_matrix, "target"_a, "data"_a, "rows"_a, "columns"_a);
  m.def(
      "row_bytes",
      [](const std::string& format, int64_t columns) {
        return row_bytes(block_type(format), columns);
      },
      "format"_a, "columns"_a);
  m.def(
      "packed_bytes",
      [](const std::string& target, int64_t rows, int64_t columns) {
        return PackedTensor{packed_format(target), rows, columns, nullptr}.bytes();
      },
      "target"_a, "rows"_a, "columns"_a);
}

void bind_files(nb::module_& m) {
  nb::class_<FileMap>(m, "FileMap")
      .def(nb::init<int>(), "descriptor"_a)
      .def_prop_ro("is_cut", &FileMap::is_cut)
      .def_prop_ro("data", [](const FileMap& map) {
        using Bytes = nb::ndarray<nb::numpy, const uint8_t, nb::ndim<1>>;
        return Bytes(map.data(), {map.size()}, nb::find(map));
      });
}

void bind_model(nb::module_& m) {
  nb::class_<BoundModel>(m, "Model")
      .def(nb::init<const nb::dict&, const nb::dict&, const std::string&, int,
                    const std::vector<std::string>&>(),
           "spec"_a, "tensors"_a, "isa"_a, "num_threads"_a, "int12"_a)
      .def_prop_ro("isa", [](const BoundModel& b) { return std::string(b.model->kernels().name); })
      .def_prop_ro("num_threads", [](const BoundModel& b) { return b.model->num_threads(); })
      .def_prop_ro("weight_bytes_per_token",
                   [](const BoundModel& b) { return b.model->weight_bytes_per_token(); })
      .def_prop_ro("is_cut", &BoundModel::is_cut)
      .def(
          "count_zeros", [](BoundModel& b, bool is_on) { b.model->count_zeros(is_on); }, "is_on"_a)
      .def("zero_shares", [](const BoundModel& b) { return b.model->zero_shares(); });
  nb::class_<BoundAdapter>(m, "Adapter")
      .def(nb::init<const BoundModel&, const nb::dict&, const std::string&>(), "model"_a,
           "matrices"_a, "format"_a, nb::keep_alive<1, 2>())
      .def_prop_ro("num_bytes", [](const BoundAdapter& a) { return a.adapter->bytes(); });
  m.def("step", &step, "model"_a, "cache"_a, "tokens"_a, "positions"_a, "slots"_a, "page_tables"_a,
        "logit_rows"_a, "frequency_sets"_a.none() = nb::none(), "adapters"_a.none() = nb::none(),
        "states"_a.none() = nb::none(), "state_saves"_a.none() = nb::none());
}

void bind_cache(nb::module_& m) {
  nb::class_<BoundCache>(m, "Cache")
      .def(nb::init<const BoundModel&, int64_t, const std::string&, int64_t>(), "model"_a,
           "num_pages"_a, "kv_format"_a, "num_states"_a = 0)
      .def_prop_ro("num_states", [](const BoundCache& c) { return c.states.num_states(); })
      .def_prop_ro("state_bytes", [](const BoundCache& c) { return c.states.state_bytes(); })
      .def("read_state", &read_state, "state"_a)
      .def("write_state", &write_state, "state"_a, "data"_a)
      .def_prop_ro("num_pages", [](const BoundCache& c) { return c.cache.num_pages(); })
      .def_prop_ro("page_bytes", [](const BoundCache& c) { return c.cache.page_bytes(); })
      .def("set_place", &set_place, "page"_a, "place"_a)
      .def("copy_pages", &copy_pages, "sources"_a, "targets"_a)
      .def("read_page", &read_page, "page"_a)
      .def("write_page", &write_page, "page"_a, "data"_a);
}

void bind_sampler(nb::module_& m) {
  nb::class_<PenaltySettings>(m, "Penalties")
      .def(nb::init<float, float, float, int64_t, bool>(), "repetition"_a, "frequency"_a,
           "presence"_a, "last_n"_a, "counts_prompt"_a);
  nb::class_<DrySettings>(m, "Dry").def(
      "__init__",
      [](DrySettings* self, float multiplier, float base, int64_t allowed_length, int64_t last_n,
         const std::vector<std::vector<int32_t>>& breakers) {
        new (self) DrySettings(make_dry(multiplier, base, allowed_length, last_n, breakers));
      },
      "multiplier"_a, "base"_a, "allowed_length"_a, "last_n"_a, "breakers"_a);
  nb::class_<XtcSettings>(m, "Xtc").def(nb::init<float, float>(), "probability"_a, "threshold"_a);
  nb::class_<BoundSampler>(m, "Sampler")
      .def(nb::init<float, int, float, float, const PenaltySettings&, const DrySettings&,
                    const XtcSettings&, std::vector<std::pair<int32_t, float>>, uint64_t, int>(),
           "temperature"_a, "top_k"_a, "top_p"_a, "min_p"_a, "penalties"_a, "dry"_a, "xtc"_a,
           "bias"_a, "seed"_a, "num_top"_a)
      .def("sample", &sample_row, "logits"_a, "history"_a, "num_generated"_a, "mask"_a.none(),
           "counter"_a)
      .def("shape", &shape_row, "logits"_a, "history"_a, "num_generated"_a);
  m.def("logprobs", &logprobs, "logits"_a, "targets"_a, "num_top"_a);
}

}  // namespace

NB_MODULE(_core, m) {
  m.attr("PAGE_SIZE") = PAGE;
  m.attr("PANEL_ROWS") = PANEL_ROWS;
  m.attr("GROUP_SIZE") = GROUP;
  m.def("isa_targets", &isa_targets);
  bind_blocks(m);
  bind_files(m);
  bind_model(m);
  bind_cache(m);
  bind_sampler(m);
  m.def("measure_bandwidth", &measure_bandwidth, "num_threads"_a, "megabytes"_a = 1024,
        "seconds"_a = 0.5);
  m.def("measure_int8_peak", &measure_int8_peak, "num_threads"_a, "seconds"_a = 0.2);
}

}  // namespace understudy
