#include "tools/HostFeatures.h"
#include "tools/heddle/Common.h"
#include "tools/heddle/Devices.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdio>
#include <fstream>
#include <sys/mman.h>
#include <unistd.h>

namespace heddle::cli {

namespace {
struct Finding {
  std::string subject, state; // state: ok, note, problem
  std::string detail;
};

std::string firstLine(const char *path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// A sealed memfd mapped read+execute: how the runtime holds code.
bool canMapCode() {
  int descriptor = memfd_create("heddle-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0)
    return false;
  static const unsigned char ret = 0xc3; // "ret"
  bool ok = write(descriptor, &ret, 1) == 1;
  void *code = ok ? mmap(nullptr, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE, descriptor, 0) : MAP_FAILED;
  close(descriptor);
  if (code == MAP_FAILED)
    return false;
  munmap(code, 1);
  return true;
}

std::vector<Finding> examine() {
  std::vector<Finding> findings;
  uint32_t features = hostCpuFeatures();
  findings.push_back({"processor", features & HEDDLE_CPU_X86_64_V3 ? "ok" : "problem",
                      features & HEDDLE_CPU_X86_64_V3 ? cpuFeatureNames(features)
                                                      : "has no AVX2; compiled models need x86-64-v3"});
  TeamPtr team = makeTeam(0);
  findings.push_back(
      {"threads", "ok", std::to_string(heddle_team_threads(team.get())) + " by affinity and quota"});
  uint64_t memory =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  findings.push_back({"memory", "ok", formatBytes(memory)});
  std::string pages = firstLine("/sys/kernel/mm/transparent_hugepage/enabled");
  bool huge = pages.find("[always]") != pages.npos || pages.find("[madvise]") != pages.npos;
  findings.push_back({"huge pages", huge ? "ok" : "note",
                      huge ? printable(pages)
                           : "off; decoding may be a third slower: as root, echo madvise > "
                             "/sys/kernel/mm/transparent_hugepage/enabled"});
  bool code = canMapCode();
  findings.push_back({"executable memory", code ? "ok" : "problem",
                      code ? "memfd can be mapped read+execute"
                           : "this host forbids it; link the code in with heddle compile --emit obj"});
  try {
    std::string path = trustFile();
    bool exists = access(path.c_str(), F_OK) == 0;
    findings.push_back({"trust record", "ok", printable(path) + (exists ? "" : " (none yet)")});
  } catch (const Failure &failure) {
    findings.push_back({"trust record", "problem", failure.message});
  }
  Gpus gpus = findGpus();
  findings.push_back({"gpu", gpus.found.empty() ? "note" : "ok",
                      gpus.found.empty() ? printable(gpus.reason)
                                         : printable(gpus.found[0].name) + ", sm_" +
                                               std::to_string(gpus.found[0].architecture)});
  return findings;
}
} // namespace

void addDoctor(CLI::App &app, Action &action) {
  auto *verb = app.add_subcommand(
      "doctor", "Check this machine: processor, memory, huge pages, executable memory, trust");
  auto format = std::make_shared<Format>(Format::Text);
  addFormatOption(*verb, *format);
  verb->callback([&action, format] {
    action = [format] {
      std::vector<Finding> findings = examine();
      bool problem = false;
      llvm::json::Array rows;
      for (const Finding &finding : findings) {
        problem |= finding.state == "problem";
        rows.push_back(llvm::json::Object{
            {"subject", finding.subject}, {"state", finding.state}, {"detail", finding.detail}});
        if (*format == Format::Text)
          std::printf("%-8s %-18s %s\n", finding.state.c_str(), finding.subject.c_str(),
                      finding.detail.c_str());
      }
      if (*format == Format::Json)
        llvm::outs() << llvm::formatv("{0:2}\n", llvm::json::Value(std::move(rows)));
      return problem ? ExitUnsupported : ExitOk;
    };
  });
}

} // namespace heddle::cli
