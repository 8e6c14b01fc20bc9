// Whole forward passes over random packed weights: a target against the reference target, and
// against itself with the prompt cut differently and with more threads, where not a bit may change.
#include <algorithm>
#include <memory>

#include "../blocks.h"
#include "../cache.h"
#include "../model.h"
#include "check.h"

namespace understudy::test {
namespace {

constexpr int NUM_TOKENS = 300;  // more than one chunk of attention
constexpr int MAX_PAGES = NUM_TOKENS / PAGE + 1;

struct Shape {
  const char* name;
  Spec spec;
};

std::vector<float> falling(int count, double theta) {
  std::vector<float> frequencies;
  for (int i = 0; i < count; ++i)
    frequencies.push_back(static_cast<float>(std::pow(theta, -i / double(count))));
  return frequencies;
}

const Shape SHAPES[] = {
    // layers, hidden, inner, heads, kv heads, head size, vocabulary, rotary, eps, layer norm,
    // activation, gated,
    // frequencies, attention factor
    {"nemotron",
     {2,
      96,
      160,
      6,
      2,
      24,
      77,
      12,
      1e-5f,
      true,
      Activation::RELU2,
      false,
      {falling(6, 1e4)},
      1.0f}},
    {"llama",
     {2, 64, 176, 4, 1, 16, 50, 16, 1e-5f, false, Activation::SILU, true, {falling(8, 5e5)}, 1.1f}},
};

class RandomModel {
 public:
  RandomModel(const Spec& spec, Format format) : spec_(spec) {
    Random random(11);
    const int64_t hidden = spec.hidden_size, inner = spec.intermediate_size;
    matrix(random, "model.embed_tokens", spec.vocab_size, hidden, format);
    matrix(random, "lm_head", spec.vocab_size, hidden, format);
    norm(random, "model.norm");
    for (int i = 0; i < spec.num_layers; ++i) {
      const std::string p = "model.layers." + std::to_string(i) + ".";
      norm(random, p + "input_layernorm");
      norm(random, p + "post_attention_layernorm");
      matrix(random, p + "self_attn.q_proj", spec.query_size(), hidden, format);
      matrix(random, p + "self_attn.k_proj", spec.kv_size(), hidden, format);
      matrix(random, p + "self_attn.v_proj", spec.kv_size(), hidden, format);
      matrix(random, p + "self_attn.o_proj", hidden, spec.query_size(), format);
      if (spec.gated) matrix(random, p + "mlp.gate_proj", inner, hidden, format);
      matrix(random, p + "mlp.up_proj", inner, hidden, format);
      matrix(random, p + "mlp.down_proj", hidden, inner, format);
    }
  }
  const TensorMap& tensors() const { return tensors_; }

 private:
  uint8_t* keep(size_t bytes) {
    storage_.emplace_back(new uint8_t[bytes]);
    return storage_.back().get();
  }
  void matrix(Random& random, const std::string& name, int64_t rows, int64_t columns,
              Format format) {
    const std::vector<float> values =
        random.normals(rows * columns, 1.0f / std::sqrt(static_cast<float>(columns)));
    PackedTensor tensor{format, rows, columns, nullptr};
    uint8_t* data = keep(tensor.bytes());
    pack_panels(BlockType::F32, reinterpret_cast<const uint8_t*>(values.data()), rows, columns,
                format, 0, tensor.panels(), data);
    tensor.data = data;
    tensors_.emplace(name + ".weight", tensor);
  }
  void vector(Random& random, const std::string& name, float mean) {
    std::vector<float> values = random.normals(spec_.hidden_size, 0.1f);
    for (float& value : values) value += mean;
    uint8_t* data = keep(values.size() * sizeof(float));
    std::memcpy(data, values.data(), values.size() * sizeof(float));
    tensors_.emplace(name, PackedTensor{Format::F32, 1, spec_.hidden_size, data});
  }
  void norm(Random& random, const std::string& name) {
    vector(random, name + ".weight", 1.0f);
    if (spec_.is_layer_norm) vector(random, name + ".bias", 0.0f);
  }

  Spec spec_;
  TensorMap tensors_;
  std::vector<std::unique_ptr<uint8_t[]>> storage_;
};

struct Way {  // how a text is fed
  int chunk, num_threads;
  std::vector<std::string> int12;
};

// Logits of all tokens, fed in chunks but for the last eight, which come one by one.
std::vector<float> logits_of(const RandomModel& weights, const Spec& spec, const Kernels& target,
                             KvFormat kv, const Way& way) {
  Model model(spec, weights.tensors(), target, way.num_threads, way.int12);
  Cache cache(spec, MAX_PAGES, kv);
  Random random(12);
  std::vector<int32_t> tokens, positions, rows, table;
  for (int i = 0; i < NUM_TOKENS; ++i) {
    tokens.push_back(random.integer(0, spec.vocab_size - 1));
    positions.push_back(i);
    rows.push_back(i);
  }
  for (int i = 0; i < MAX_PAGES; ++i) table.push_back(MAX_PAGES - 1 - i);
  const std::vector<int32_t> slots(NUM_TOKENS, 0), sets(1, 0);
  std::vector<float> logits(static_cast<size_t>(NUM_TOKENS) * static_cast<size_t>(spec.vocab_size));
  for (int first = 0; first < NUM_TOKENS;) {
    const int count = std::min(first < NUM_TOKENS - 8 ? way.chunk : 1, NUM_TOKENS - first);
    model.step({count, &tokens[first], &positions[first], slots.data(), table.data(), MAX_PAGES,
                count, rows.data(), sets.data()},
               cache, nullptr,
               &logits[static_cast<size_t>(first) * static_cast<size_t>(spec.vocab_size)]);
    first += count;
  }
  return logits;
}

void compare(Check& check, const std::vector<float>& found, const std::vector<float>& expected,
             float largest, float typical, const std::string& where) {
  double squares = 0;
  float max_difference = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const float difference = std::fabs(found[i] - expected[i]);
    max_difference = difference <= max_difference ? max_difference : difference;  // NaN wins
    squares += static_cast<double>(difference) * difference;
  }
  const double root = std::sqrt(squares / static_cast<double>(found.size()));
  check.hold(max_difference <= largest, "%s: largest difference of a logit %.3g, expected <= %.3g",
             where.c_str(), max_difference, largest);
  check.hold(root <= typical, "%s: typical difference of a logit %.3g, expected <= %.3g",
             where.c_str(), root, typical);
}

}  // namespace

void check_forward(const Kernels& target) {
  Check check(target, "forward pass");
  const std::vector<std::string> int12 = {"v_proj", "up_proj", "down_proj", "lm_head"};
  const char* const format_names[NUM_FORMATS] = {"f32",  "bf16",      "q8", "q4",
                                                 "q4_1", "q4_sparse", "q3"};
  for (const Shape& shape : SHAPES)
    for (int f = 0; f < NUM_FORMATS; ++f) {
      const auto format = static_cast<Format>(f);
      const RandomModel weights(shape.spec, format);
      const std::string where = std::string(shape.name) + " " + format_names[f];
      const auto run = [&](const Kernels& kernels, KvFormat kv, const Way& way) {
        return logits_of(weights, shape.spec, kernels, kv, way);
      };
      const std::vector<float> expected = run(reference_kernels(), KvFormat::F32, {292, 1, {}});
      const std::vector<float> found = run(target, KvFormat::F32, {292, 1, {}});
      // An activation between two int8 levels falls either way when sums are ordered otherwise, and
      // the rest follows it.
      if (is_integer(format))
        compare(check, found, expected, 0.25f, 0.03f, where);
      else
        compare(check, found, expected, 1e-4f, 1e-5f, where);
      check.hold(found == run(target, KvFormat::F32, {37, 2, {}}),
                 "%s: other chunks and two threads change it", where.c_str());
      compare(check, run(target, KvFormat::INT8, {64, 2, {}}), expected,
              is_integer(format) ? 0.4f : 0.25f, 0.05f, where + ", int8 cache");
      compare(check, run(target, KvFormat::F16, {64, 2, int12}),
              run(reference_kernels(), KvFormat::F16, {292, 1, int12}), 0.1f, 0.02f,
              where + ", f16 cache, 12-bit inputs");
    }
}

}  // namespace understudy::test
