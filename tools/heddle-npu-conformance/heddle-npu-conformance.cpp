// heddle-npu-conformance: runs cases of the NPU (test/e2e/npu/cases.py makes them) on any driver.
#include "Harness.h"
#include <CLI/CLI.hpp>
#include <cstdio>
#include <dlfcn.h>
#include <heddle/npu_sim.h>

using namespace heddle::npu_conformance;

/// PATH.so:SYMBOL, the path with a slash. The library stays loaded.
static const heddle_driver *loadDriver(const std::string &text, std::string &error) {
  size_t colon = text.rfind(':');
  if (colon == std::string::npos || text.find('/') > colon) {
    error = "expected --driver ./LIBRARY.so:FUNCTION, the path with a slash, but found '" + text + "'";
    return nullptr;
  }
  void *library = dlopen(text.substr(0, colon).c_str(), RTLD_NOW | RTLD_LOCAL);
  void *symbol = library ? dlsym(library, text.c_str() + colon + 1) : nullptr;
  if (!symbol) {
    error = dlerror();
    return nullptr;
  }
  const heddle_driver *driver = reinterpret_cast<const heddle_driver *(*)()>(symbol)();
  if (driver->version == HEDDLE_DRIVER_VERSION)
    return driver;
  error = "the driver is of version " + std::to_string(driver->version) + ", expected " +
          std::to_string(HEDDLE_DRIVER_VERSION);
  return nullptr;
}

int main(int argc, char **argv) {
  std::string path, driverText;
  bool keepGoing = false;
  CLI::App app("Runs cases for the NPU on a driver and compares memory with what they expect");
  app.add_option("cases", path, "File of cases")->required();
  app.add_option("--driver", driverText, "./LIBRARY.so:FUNCTION; default: the simulator");
  app.add_flag("--all", keepGoing, "Name every case that fails, not only the first 10");
  CLI11_PARSE(app, argc, argv);

  std::string error;
  std::vector<Case> cases;
  const heddle_driver *driver = driverText.empty() ? heddle_driver_npu_sim() : loadDriver(driverText, error);
  if (!driver || !readCases(path, cases, error)) {
    fprintf(stderr, "heddle-npu-conformance: %s\n", error.c_str());
    return 2;
  }
  size_t failed = 0;
  for (const Case &test : cases) {
    std::string problem = runCase(*driver, test);
    if (problem.empty())
      continue;
    if (++failed <= 10 || keepGoing)
      printf("failed %s: %s\n", test.name.c_str(), problem.c_str());
  }
  printf("%zu passed, %zu failed on '%s'\n", cases.size() - failed, failed, driver->name);
  return failed ? 1 : 0;
}
