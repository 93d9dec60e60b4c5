// Picks the next token from logits. All arithmetic is in double with its own exponential, so that a seed
// gives the same ids on every machine and with every libm.
#include "Text.h"
#include <float.h>

namespace heddle::text {
namespace {

/// e^x for x <= 0, within 1 ulp or so; 0 below -700.
double exponential(double x) {
  if (!(x > -700))
    return 0;
  // x = n ln 2 + r with |r| <= ln 2 / 2; the parts of ln 2 make r exact.
  int n = int(x * 1.4426950408889634 - 0.5);
  double r = x - n * 6.93147180369123816490e-01 - n * 1.90821492927058770002e-10;
  double sum = 1, term = 1;
  for (int i = 1; i <= 13; ++i) {
    term *= r / i;
    sum += term;
  }
  uint64_t bits = uint64_t(n + 1023) << 52;
  double scale;
  memcpy(&scale, &bits, sizeof scale);
  return sum * scale;
}

float finite(float value) {
  if (!(value >= -FLT_MAX)) // also NaN
    return -FLT_MAX;
  return value > FLT_MAX ? FLT_MAX : value;
}

struct Candidate {
  float logit;
  uint32_t id;
};
bool likelier(const Candidate &a, const Candidate &b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

} // namespace
} // namespace heddle::text

using namespace heddle::text;

struct heddle_sampler {
  heddle_sampler_options options;
  uint32_t vocabulary;
  uint64_t state;
  uint32_t window, recentCount, recentNext;
  int32_t *recent;       // [window]: a ring of accepted ids
  uint32_t *uses;        // [vocabulary]: how often an id is in `recent`
  Candidate *candidates; // [vocabulary]

  float logit(const float *logits, uint32_t id) const {
    float value = finite(logits[id]);
    if (options.repetition_penalty > 0 && uses[id])
      value = finite(value > 0 ? value / options.repetition_penalty : value * options.repetition_penalty);
    return value;
  }

  /// splitmix64, the upper 53 bits as a number in [0, 1).
  double uniform() {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return double((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }

  int32_t greedy(const float *logits) const {
    uint32_t best = 0;
    float largest = logit(logits, 0);
    for (uint32_t id = 1; id < vocabulary; ++id) {
      float value = logit(logits, id);
      if (value > largest) {
        largest = value;
        best = id;
      }
    }
    return int32_t(best);
  }

  /// How many candidates the filters keep. They are at the end of the array, the likeliest last.
  uint32_t filter(double largest) {
    uint32_t count = vocabulary;
    bool topP = options.top_p > 0 && options.top_p < 1;
    if (!options.top_k && !topP && !(options.min_p > 0))
      return count;
    // A heap gives the likeliest one after the other, only as many as are needed.
    makeHeap(candidates, count, likelier);
    uint32_t limit = options.top_k && options.top_k < count ? options.top_k : count;
    double total = 0;
    if (topP && limit == count)
      for (uint32_t i = 0; i < count; ++i)
        total += exponential(double(candidates[i].logit) - largest);
    uint32_t left = count;
    auto popTo = [&](uint32_t wanted) {
      while (count - left < wanted) {
        Candidate first = candidates[0];
        candidates[0] = candidates[--left];
        if (left)
          siftDown(candidates, left, 0, likelier);
        candidates[left] = first;
      }
      return candidates[count - wanted];
    };
    if (topP && limit < count)
      for (uint32_t i = 1; i <= limit; ++i)
        total += exponential(double(popTo(i).logit) - largest);
    uint32_t kept = 0;
    double sum = 0;
    while (kept < limit) {
      double weight = exponential(double(popTo(kept + 1).logit) - largest);
      if (kept && weight < double(options.min_p))
        break;
      ++kept;
      sum += weight;
      if (topP && sum >= double(options.top_p) * total)
        break;
    }
    return kept;
  }
};

heddle_text_status heddle_sampler_create(const heddle_sampler_options *options, uint32_t vocabulary,
                                         heddle_sampler **out_sampler, char *message, size_t message_size) {
  auto invalid = [&](const char *what) {
    return fail(HEDDLE_TEXT_INVALID_ARGUMENT, message, message_size, "%s", what);
  };
  if (!out_sampler)
    return invalid("expected 'out_sampler', found NULL");
  *out_sampler = nullptr;
  if (!options || options->struct_size != sizeof *options)
    return invalid("expected 'struct_size' to be the size of heddle_sampler_options");
  if (vocabulary == 0 || vocabulary > 1u << 28)
    return invalid("expected a vocabulary of 1 to 268435456 tokens");
  auto between = [](float value, float low, float high) { return value >= low && value <= high; };
  if (!between(options->temperature, 0, FLT_MAX))
    return invalid("expected 'temperature' to be 0 (greedy) or positive");
  if (!between(options->top_p, 0, 1))
    return invalid("expected 'top_p' to be between 0 (off) and 1");
  if (!between(options->min_p, 0, 1))
    return invalid("expected 'min_p' to be between 0 (off) and 1");
  if (!between(options->repetition_penalty, 0, FLT_MAX))
    return invalid("expected 'repetition_penalty' to be 0 (off) or positive");
  if (options->repetition_window > 1u << 20)
    return invalid("expected 'repetition_window' to be at most 1048576");
  uint32_t window = options->repetition_window ? options->repetition_window : 64;
  size_t bytes =
      sizeof(heddle_sampler) + vocabulary * (sizeof(Candidate) + sizeof(uint32_t)) + window * sizeof(int32_t);
  auto *sampler = static_cast<heddle_sampler *>(calloc(1, bytes));
  if (!sampler)
    return fail(HEDDLE_TEXT_OUT_OF_MEMORY, message, message_size, "no memory for a sampler of %u tokens",
                vocabulary);
  sampler->options = *options;
  sampler->vocabulary = vocabulary;
  sampler->window = window;
  sampler->candidates = reinterpret_cast<Candidate *>(sampler + 1);
  sampler->uses = reinterpret_cast<uint32_t *>(sampler->candidates + vocabulary);
  sampler->recent = reinterpret_cast<int32_t *>(sampler->uses + vocabulary);
  sampler->state = options->seed;
  *out_sampler = sampler;
  return HEDDLE_TEXT_OK;
}

void heddle_sampler_destroy(heddle_sampler *sampler) { free(sampler); }

int32_t heddle_sampler_sample(heddle_sampler *sampler, const float *logits) {
  if (!sampler || !logits)
    return 0;
  if (sampler->options.temperature == 0)
    return sampler->greedy(logits);
  float largest = -FLT_MAX;
  for (uint32_t id = 0; id < sampler->vocabulary; ++id) {
    float value = sampler->logit(logits, id);
    sampler->candidates[id] = {value, id};
    largest = value > largest ? value : largest;
  }
  uint32_t kept = sampler->filter(largest);
  const Candidate *last = sampler->candidates + sampler->vocabulary - 1;
  auto weight = [&](uint32_t i) {
    return exponential((double((last - i)->logit) - double(largest)) / double(sampler->options.temperature));
  };
  double total = 0;
  for (uint32_t i = 0; i < kept; ++i)
    total += weight(i);
  double target = sampler->uniform() * total, sum = 0;
  uint32_t chosen = last->id;
  for (uint32_t i = 0; i < kept; ++i) {
    double w = weight(i);
    if (w > 0)
      chosen = (last - i)->id;
    sum += w;
    if (sum > target)
      break;
  }
  return int32_t(chosen);
}

void heddle_sampler_accept(heddle_sampler *sampler, int32_t id) {
  if (!sampler || id < 0 || uint32_t(id) >= sampler->vocabulary)
    return;
  int32_t &slot = sampler->recent[sampler->recentNext];
  if (sampler->recentCount == sampler->window)
    --sampler->uses[slot];
  else
    ++sampler->recentCount;
  slot = id;
  ++sampler->uses[id];
  sampler->recentNext = (sampler->recentNext + 1) % sampler->window;
}

void heddle_sampler_reset(heddle_sampler *sampler, uint64_t seed) {
  if (!sampler)
    return;
  for (uint32_t i = 0; i < sampler->recentCount; ++i)
    sampler->uses[sampler->recent[i]] = 0;
  sampler->recentCount = sampler->recentNext = 0;
  sampler->state = seed;
}
