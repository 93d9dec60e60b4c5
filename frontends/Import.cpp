#include "frontends/Import.h"

#include "frontends/common/ByteReader.h"
#include "frontends/common/InputError.h"
#include "frontends/gguf/GgufImport.h"

namespace heddle {

llvm::Expected<ImportedModel> importModel(mlir::MLIRContext &context, llvm::StringRef path,
                                          const ImportOptions &options) {
  context.loadDialect<mlir::heddle::HeddleDialect, mlir::func::FuncDialect, mlir::arith::ArithDialect,
                      mlir::math::MathDialect>();
  llvm::Expected<std::shared_ptr<InputFile>> file = InputFile::open(path);
  if (!file)
    return file.takeError();
  llvm::StringRef magic = asString((*file)->bytes().take_front(4));
  // GGUF is the one format so far, so its reader says what is wrong with any other file.
  if (magic == "PK\x03\x04")
    return invalidInput((*file)->name() +
                        ": is a zip archive, such as a compiled model, expected a GGUF model");
  return gguf::importGguf(context, *file, path, options);
}

} // namespace heddle
