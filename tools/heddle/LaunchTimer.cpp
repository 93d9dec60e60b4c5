#include "tools/heddle/LaunchTimer.h"
#include <cassert>
#include <chrono>

namespace heddle::cli {

// A driver's functions get no context of ours.
static LaunchTimer *active;

LaunchTimer::LaunchTimer() : real(heddle_driver_cpu()), table(*real) {
  assert(!active && "one timer at a time");
  active = this;
  table.load = load;
  table.submit = submit;
  table.wait = wait;
}

LaunchTimer::~LaunchTimer() { active = nullptr; }

heddle_status LaunchTimer::load(heddle_device *device, const heddle_program *program, heddle_module **out,
                                heddle_error *error) {
  active->program = *program;
  active->variants.assign(program->variants, program->variants + program->header->variants.count);
  active->program.variants = active->variants.data();
  heddle_status status = active->real->load(device, &active->program, out, error);
  if (status == HEDDLE_OK)
    active->codeFeatures = program->codes[active->real->code(*out)].features;
  return status;
}

heddle_status LaunchTimer::submit(heddle_plan *plan, const heddle_submission *submission,
                                  heddle_error *error) {
  active->submission = submission;
  return active->real->submit(plan, submission, error);
}

heddle_status LaunchTimer::wait(heddle_plan *plan, heddle_error *error) {
  using Clock = std::chrono::steady_clock;
  auto start = Clock::now();
  auto since = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  active->record.clear();
  heddle_status status = HEDDLE_OK;
  if (!active->timing) {
    status = active->real->wait(plan, error);
  } else {
    uint32_t number = active->submission->variant;
    // What the driver will run instead, on processors that have it.
    if (uint32_t features = active->variants[number].alternative_features;
        features && !(features & ~active->codeFeatures))
      number = active->variants[number].alternative;
    heddle_variant &variant = active->variants[number];
    const heddle_variant whole = variant;
    active->record.reserve(whole.launch_count);
    variant.launch_count = 1;
    for (uint32_t index = 0; index < whole.launch_count && status == HEDDLE_OK; ++index) {
      variant.first_launch = whole.first_launch + index;
      double begin = since();
      status = active->real->wait(plan, error);
      active->record.push_back({variant.first_launch, begin, since()});
    }
    variant = whole;
  }
  active->seconds = since();
  return status;
}

} // namespace heddle::cli
