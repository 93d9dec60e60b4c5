#include "tools/heddle/KernelDump.h"
#include "ir/Heddle.h"
#include "ir/SourceNames.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <map>

namespace heddle::cli {

void addDumpOptions(CLI::App &app, DumpOptions &options) {
  app.add_option("--print-ir-after", options.printAfter,
                 "Print the IR on stderr after this pass (import: before all); may be given again")
      ->allow_extra_args(false)
      ->option_text("PASS");
  app.add_option("--dump-kernels", options.kernels,
                 "Write IR and assembly of every kernel, with its source nodes, to DIR instead of compiling")
      ->option_text("DIR");
}

PassPrinter::PassPrinter(const DumpOptions &request, CompileOptions &options) : wanted(request.printAfter) {
  if (wanted.empty())
    return;
  options.afterPass = [this, seen = seen](llvm::StringRef pass, mlir::ModuleOp module) {
    seen->push_back(pass.str());
    if (std::find(wanted.begin(), wanted.end(), pass) == wanted.end())
      return;
    llvm::errs() << "// ----- IR after " << pass << "\n";
    module.print(llvm::errs(), mlir::OpPrintingFlags().enableDebugInfo().useLocalScope());
    llvm::errs() << "\n";
  };
}

void PassPrinter::check() const {
  for (const std::string &pass : wanted)
    if (std::find(seen->begin(), seen->end(), pass) == seen->end())
      fail(ExitUsage,
           "--print-ir-after: no pass '" + printable(pass) + "' ran; these did: " + llvm::join(*seen, ", "));
}

namespace {
// What a kernel's file can be called: its symbol, which a plug-in may have made.
std::string fileName(llvm::StringRef symbol) {
  std::string name = symbol.str();
  for (char &c : name)
    if (!llvm::isAlnum(c) && c != '_' && c != '-')
      c = '_';
  return name;
}

// The lines of each function of a listing, from its label to its end.
std::map<std::string, std::string> splitFunctions(llvm::StringRef listing,
                                                  const std::map<std::string, std::string> &kernels) {
  std::map<std::string, std::string> functions;
  std::string *current = nullptr;
  for (llvm::StringRef line : llvm::split(listing, '\n')) {
    llvm::StringRef label = line.split(':').first;
    // PTX: .visible .entry NAME(
    if (size_t entry = line.find(".entry "); entry != line.npos)
      label = line.drop_front(entry + 7).split('(').first.trim();
    if (kernels.count(label.str()) && (line.contains(".entry ") || line.starts_with((label + ":").str())))
      current = &functions[label.str()];
    if (current)
      *current += line.str() + "\n";
    if (line.starts_with(".Lfunc_end") || line.starts_with("}"))
      current = nullptr;
  }
  return functions;
}
} // namespace

int dumpKernels(Importer &importer, CompileOptions options, const std::string &folder) {
  if (std::error_code problem = llvm::sys::fs::create_directories(folder))
    fail(ExitInputOutput, printable(folder) + ": cannot be created: " + problem.message());
  bool isCuda = options.target == "cuda";
  auto text = compileToText(importer.module(), options, isCuda ? "ptx" : "asm");
  if (!text)
    importer.raise(text.takeError());
  std::map<std::string, std::vector<std::string>> sources; // of the launches, by kernel
  for (auto function : importer.module().getOps<mlir::func::FuncOp>())
    for (auto launch : function.getBody().front().getOps<mlir::heddle::LaunchOp>())
      sources[launch.getKernel().str()].push_back(mlir::heddle::sourceNames(launch.getLoc()));
  std::map<std::string, std::string> heads; // comments on top of both files, by kernel
  for (auto kernel : importer.module().getOps<mlir::heddle::KernelOp>()) {
    std::vector<std::string> &names = sources[kernel.getSymName().str()];
    std::string head = "// " + printable(kernel.getSymName().str()) + ": " + std::to_string(names.size()) +
                       " launches, for\n";
    names.erase(std::unique(names.begin(), names.end()), names.end());
    for (const std::string &name : names)
      head += "//   " + printable(name) + "\n";
    heads[kernel.getSymName().str()] = head;
    std::string body;
    llvm::raw_string_ostream out(body);
    kernel.print(out, mlir::OpPrintingFlags().enableDebugInfo().useLocalScope());
    writeFileAtomically(folder + "/" + fileName(kernel.getSymName()) + ".mlir", head + body + "\n");
  }
  std::map<std::string, std::string> functions = splitFunctions(*text, heads);
  for (const auto &[symbol, lines] : functions) {
    std::string head = heads.at(symbol);
    if (!isCuda)
      for (size_t at = 0; (at = head.find("//", at)) != head.npos;)
        head.replace(at, 2, "#");
    writeFileAtomically(folder + "/" + fileName(symbol) + (isCuda ? ".ptx" : ".s"), head + lines);
  }
  llvm::outs() << printable(folder) << ": " << heads.size() << " kernels, " << functions.size()
               << " with code" << (isCuda ? "" : " for the last level") << "\n";
  return ExitOk;
}

} // namespace heddle::cli
