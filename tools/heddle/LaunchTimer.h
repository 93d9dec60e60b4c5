// Times every kernel launch of a run: a driver that wraps the CPU's and hands it one launch at a time.
#ifndef HEDDLE_TOOLS_LAUNCH_TIMER_H
#define HEDDLE_TOOLS_LAUNCH_TIMER_H

#include <cstdint>
#include <heddle/driver.h>
#include <vector>

namespace heddle::cli {

// The driver to open a model with. Runs are whole, as without it, until timing is switched on; then the team
// meets after every launch, where a whole run meets at barriers only. One model at a time.
class LaunchTimer {
public:
  LaunchTimer();
  ~LaunchTimer();
  LaunchTimer(const LaunchTimer &) = delete;

  const heddle_driver *driver() const { return &table; }
  void setTiming(bool on) { timing = on; }

  struct Launch {
    uint32_t number;   // in the program's table
    double begin, end; // seconds since the run began
  };
  // Of the last run.
  double runSeconds() const { return seconds; }
  const std::vector<Launch> &launches() const { return record; } // empty unless timing was on

private:
  static heddle_status load(heddle_device *device, const heddle_program *program, heddle_module **out,
                            heddle_error *error);
  static heddle_status submit(heddle_plan *plan, const heddle_submission *submission, heddle_error *error);
  static heddle_status wait(heddle_plan *plan, heddle_error *error);

  const heddle_driver *real;
  heddle_driver table;
  heddle_program program; // the model's, but for the variants, which say what the driver runs
  std::vector<heddle_variant> variants;
  uint32_t codeFeatures = 0;
  const heddle_submission *submission = nullptr;
  bool timing = false;
  double seconds = 0;
  std::vector<Launch> record;
};

} // namespace heddle::cli

#endif
