#include "tools/heddle/Common.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

namespace heddle::cli {

void addVersion(CLI::App &app, Action &action) {
  auto *verb =
      app.add_subcommand("version", "Versions of this program, its artifact format and its code interface");
  auto format = std::make_shared<Format>(Format::Text);
  addFormatOption(*verb, *format);
  verb->callback([&action, format] {
    action = [format] {
      auto info = sized<heddle_version_info>();
      auto error = sized<heddle_error>();
      check(heddle_version(&info), error);
      if (*format == Format::Json) {
        llvm::json::OStream json(llvm::outs(), 2);
        json.object([&] {
          json.attribute("version", info.library);
          json.attribute("api", info.api);
          json.attribute("artifact_format_min", info.format_min);
          json.attribute("artifact_format_max", info.format_max);
          json.attribute("code_abi_min", info.code_abi_min);
          json.attribute("code_abi_max", info.code_abi_max);
          json.attribute("llvm", LLVM_VERSION_STRING);
        });
        llvm::outs() << "\n";
      } else {
        llvm::outs() << "heddle " << info.library << "\nartifact format " << info.format_min << " to "
                     << info.format_max << "\ncode interface " << info.code_abi_min << " to "
                     << info.code_abi_max << "\nC API " << info.api << "\nLLVM " << LLVM_VERSION_STRING
                     << "\n";
      }
      return ExitOk;
    };
  });
}

} // namespace heddle::cli
