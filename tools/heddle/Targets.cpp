#include "codegen/cpu/Level.h"
#include "codegen/npu/Emit.h"
#include "tools/HostFeatures.h"
#include "tools/heddle/Common.h"
#include "tools/heddle/Devices.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

namespace heddle::cli {

void addTargets(CLI::App &app, Action &action) {
  auto *verb =
      app.add_subcommand("targets", "What models can be compiled for, and what of it this machine runs");
  auto format = std::make_shared<Format>(Format::Text);
  addFormatOption(*verb, *format);
  verb->callback([&action, format] {
    action = [format] {
      uint32_t host = hostCpuFeatures();
      llvm::json::Array rows;
      for (const cpu::CpuLevel &level : cpu::cpuLevels()) {
        bool runs = (level.features & ~host) == 0;
        std::string name = "cpu:" + std::string(level.name);
        if (*format == Format::Text)
          llvm::outs() << llvm::format("%-20s %-14s needs %s\n", name.c_str(),
                                       runs ? "runs here" : "not on this host",
                                       cpuFeatureNames(level.features).c_str());
        rows.push_back(llvm::json::Object{{"target", name},
                                          {"runs_here", runs},
                                          {"needs", cpuFeatureNames(level.features)},
                                          {"f32_lanes", level.lanes}});
      }
      Gpus gpus = findGpus();
      bool runs = llvm::any_of(gpus.found, [](const Gpu &gpu) { return gpu.architecture >= 80; });
      const char *name = "cuda:sm_80";
      const char *needs = "an NVIDIA GPU of sm_80 or later; device 'cuda-sim' runs it anywhere";
      if (*format == Format::Text) {
        llvm::outs() << llvm::format("%-20s %-14s needs %s\n", name, runs ? "runs here" : "not on this host",
                                     needs);
        for (const Gpu &gpu : gpus.found)
          llvm::outs() << "  GPU " << printable(gpu.name) << ", sm_" << gpu.architecture << "\n";
        if (gpus.found.empty())
          llvm::outs() << "  " << printable(gpus.reason) << "\n";
      }
      llvm::json::Array devices;
      for (const Gpu &gpu : gpus.found)
        devices.push_back(llvm::json::Object{{"name", llvm::json::fixUTF8(gpu.name)},
                                             {"architecture", static_cast<int64_t>(gpu.architecture)}});
      rows.push_back(llvm::json::Object{
          {"target", name}, {"runs_here", runs}, {"needs", needs}, {"gpus", std::move(devices)}});
      for (const npu::Machine &machine : heddle_npu_machines) {
        std::string target = "npu:" + std::string(machine.name);
        const char *here = "not on this host",
                   *driver = "a driver of the machine; device 'npu-sim' runs it anywhere";
        if (*format == Format::Text)
          llvm::outs() << llvm::format("%-20s %-14s needs %s\n", target.c_str(), here, driver);
        rows.push_back(llvm::json::Object{{"target", target}, {"runs_here", false}, {"needs", driver}});
      }
      if (*format == Format::Json)
        llvm::outs() << llvm::formatv("{0:2}\n", llvm::json::Value(std::move(rows)));
      return ExitOk;
    };
  });
}

} // namespace heddle::cli
