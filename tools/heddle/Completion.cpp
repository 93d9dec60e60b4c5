// Shell completion, made from the very options that the parser knows.
#include "tools/heddle/Common.h"
#include <cstdio>

namespace heddle::cli {

static std::string joined(const std::vector<std::string> &words) {
  std::string out;
  for (const std::string &word : words)
    out += (out.empty() ? "" : " ") + word;
  return out;
}

static std::vector<std::string> verbs(const CLI::App &app) {
  std::vector<std::string> names;
  for (const CLI::App *verb : app.get_subcommands([](const CLI::App *) { return true; }))
    names.push_back(verb->get_name());
  return names;
}

static std::vector<std::string> longOptions(const CLI::App &verb) {
  std::vector<std::string> names;
  for (const CLI::Option *option : verb.get_options([](const CLI::Option *) { return true; }))
    for (const std::string &name : option->get_lnames())
      names.push_back("--" + name);
  return names;
}

static void printBash(const CLI::App &app) {
  std::printf("_heddle() {\n  local word=${COMP_WORDS[COMP_CWORD]} words=\n"
              "  if [ \"$COMP_CWORD\" = 1 ]; then\n    words='%s'\n  else\n    case ${COMP_WORDS[1]} in\n",
              joined(verbs(app)).c_str());
  for (const CLI::App *verb : app.get_subcommands([](const CLI::App *) { return true; }))
    std::printf("    %s) words='%s' ;;\n", verb->get_name().c_str(), joined(longOptions(*verb)).c_str());
  std::printf("    esac\n  fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
              "complete -o default -F _heddle heddle\n");
}

static void printZsh(const CLI::App &app) {
  std::printf("#compdef heddle\nautoload -U +X bashcompinit && bashcompinit\n");
  printBash(app);
}

static void printFish(const CLI::App &app) {
  for (const CLI::App *verb : app.get_subcommands([](const CLI::App *) { return true; })) {
    std::printf("complete -c heddle -n __fish_use_subcommand -a %s -d '%s'\n", verb->get_name().c_str(),
                verb->get_description().c_str());
    for (const CLI::Option *option : verb->get_options([](const CLI::Option *) { return true; }))
      for (const std::string &name : option->get_lnames())
        std::printf("complete -c heddle -n '__fish_seen_subcommand_from %s' -l %s\n",
                    verb->get_name().c_str(), name.c_str());
  }
}

void addCompletion(CLI::App &app, Action &action) {
  auto *verb = app.add_subcommand("completion",
                                  "Print a completion script, for example: source <(heddle completion bash)");
  auto shell = std::make_shared<std::string>();
  verb->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}))
      ->option_text("SHELL");
  verb->callback([&app, &action, shell] {
    action = [&app, shell] {
      (*shell == "bash" ? printBash : *shell == "zsh" ? printZsh : printFish)(app);
      return ExitOk;
    };
  });
}

} // namespace heddle::cli
