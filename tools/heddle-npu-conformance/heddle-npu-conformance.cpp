// heddle-npu-conformance: runs cases of the NPU (test/e2e/npu/cases.py makes them) on any driver.
#include "Harness.h"
#include "tools/DriverLibrary.h"
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <heddle/npu_sim.h>

using namespace heddle::npu_conformance;

/// PATH.so:SYMBOL, the path with a slash. The library stays loaded.
static const heddle_driver *loadDriver(const std::string &text, std::string &error) {
  if (!heddle::namesDriverLibrary(text)) {
    error = "expected --driver ./LIBRARY.so:FUNCTION, the path with a slash, but found '" + text + "'";
    return nullptr;
  }
  const heddle_driver *driver = heddle::loadDriverLibrary(text, error);
  if (!driver)
    return nullptr;
  if (driver->version == HEDDLE_DRIVER_VERSION)
    return driver;
  error = "the driver is of version " + std::to_string(driver->version) + ", expected " +
          std::to_string(HEDDLE_DRIVER_VERSION);
  return nullptr;
}

/// What the simulator counted of a case.
static void printCounts(const Case &test) {
  heddle_npu_sim_visit_counts(
      [](void *context, const heddle_npu_sim_counts *c) {
        auto share = [&](double part, double whole) { return whole > 0 ? 100 * part / whole : 0; };
        printf("%s on '%s': %llu cycles; array %.1f %% of its peak; busy: dma %.1f %%, array %.1f %%, vector "
               "%.1f %%; "
               "%.1f %% of the bandwidth; lost to banks: %llu cycles\n",
               static_cast<const Case *>(context)->name.c_str(), c->machine,
               static_cast<unsigned long long>(c->cycles), share(c->multiply_adds, c->peak_multiply_adds),
               share(c->busy[0], c->cycles), share(c->busy[1], c->cycles), share(c->busy[2], c->cycles),
               share(c->bytes_loaded + c->bytes_stored, c->peak_bytes),
               static_cast<unsigned long long>(c->conflicts[0] + c->conflicts[1] + c->conflicts[2]));
      },
      const_cast<Case *>(&test));
}

static void writeTrace(const std::string &path) {
  heddle_npu_sim_trace_end(
      [](void *context, const char *text, size_t size) {
        std::ofstream(*static_cast<const std::string *>(context), std::ios::binary).write(text, size);
      },
      const_cast<std::string *>(&path));
}

int main(int argc, char **argv) {
  std::string path, driverText, only, trace;
  bool keepGoing = false, counts = false;
  CLI::App app("Runs cases for the NPU on a driver and compares memory with what they expect");
  app.add_option("cases", path, "File of cases")->required();
  app.add_option("--driver", driverText, "./LIBRARY.so:FUNCTION; default: the simulator");
  app.add_flag("--all", keepGoing, "Name every case that fails, not only the first 10");
  app.add_option("--only", only, "Run the case of this name");
  app.add_flag("--counts", counts, "Print what the simulator counts of each case");
  app.add_option("--trace", trace, "Write the simulator's queues in Chrome's trace format to this file");
  CLI11_PARSE(app, argc, argv);

  std::string error;
  std::vector<Case> cases;
  const heddle_driver *driver = driverText.empty() ? heddle_driver_npu_sim() : loadDriver(driverText, error);
  if (!driver || !readCases(path, cases, error)) {
    fprintf(stderr, "heddle-npu-conformance: %s\n", error.c_str());
    return 2;
  }
  if (!trace.empty())
    heddle_npu_sim_trace_begin();
  size_t run = 0, failed = 0;
  for (const Case &test : cases) {
    if (!only.empty() && test.name != only)
      continue;
    ++run;
    std::string problem = runCase(*driver, test, driverText.empty(), [&] {
      if (counts)
        printCounts(test);
    });
    if (problem.empty())
      continue;
    if (++failed <= 10 || keepGoing)
      printf("failed %s: %s\n", test.name.c_str(), problem.c_str());
  }
  if (!trace.empty())
    writeTrace(trace);
  printf("%zu passed, %zu failed on '%s'\n", run - failed, failed, driver->name);
  return failed ? 1 : 0;
}
