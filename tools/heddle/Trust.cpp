#include "tools/heddle/Common.h"
#include <cstdio>

namespace heddle::cli {

// Shows what the artifact is, then records it.
static int trust(const std::string &file) {
  ModelPtr model = openForInspection(file);
  heddle_model_info info = modelInfo(model.get());
  std::string digest = "sha256:" + hex(info.digest, 32);
  std::printf("%s\n", printable(file).c_str());
  for (uint32_t index = 0; index < info.entry_count; ++index) {
    auto entry = sized<heddle_entry_info>();
    call(file, heddle_model_entry_at, model.get(), index, &entry);
    std::printf("  entry %s: %u inputs, %u outputs\n", printable(entry.name).c_str(), entry.input_count,
                entry.output_count);
  }
  for (uint32_t index = 0; index < info.member_count; ++index) {
    auto member = sized<heddle_member_info>();
    call(file, heddle_model_member, model.get(), index, &member);
    std::printf("  %-28s %12s  sha256:%s\n", printable(member.name).c_str(), formatBytes(member.size).c_str(),
                hex(member.digest, 32).c_str());
  }
  bool known = isTrusted(info.digest);
  recordTrust(info.digest);
  std::printf("%s %s (recorded in %s)\n", known ? "already trusted:" : "trusted from now on:", digest.c_str(),
              printable(trustFile()).c_str());
  return ExitOk;
}

void addTrust(CLI::App &app, Action &action) {
  auto *verb =
      app.add_subcommand("trust", "Show what a compiled model is and let its code run for this user");
  auto file = std::make_shared<std::string>();
  verb->add_option("file", *file, "Compiled model (.heddle)")->required()->option_text("FILE");
  verb->callback([&action, file] { action = [file] { return trust(*file); }; });
}

} // namespace heddle::cli
