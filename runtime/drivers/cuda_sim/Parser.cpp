// Text -> Syntax: declarations, scopes and names. What instructions mean is left to Decode.cpp.
#include "drivers/cuda_sim/Lexer.h"
#include <algorithm>
#include <cstring>
#include <unordered_map>

namespace heddle::cuda_sim {

namespace {

constexpr size_t textLimit = size_t(64) << 20;
constexpr size_t statementLimit = 1u << 21; // of a module
constexpr size_t registerLimit = 1u << 20;  // of a function
constexpr size_t nameLimit = 4096;
constexpr size_t nestingLimit = 32;
constexpr uint64_t variableLimit = uint64_t(1) << 30; // bytes
constexpr uint64_t initializedLimit = uint64_t(64) << 20;

struct Special {
  const char *name;
  SpecialRegister first;
  bool vector;
};
constexpr Special specials[] = {
    {"%tid", SpecialRegister::TidX, true},
    {"%ntid", SpecialRegister::NtidX, true},
    {"%ctaid", SpecialRegister::CtaidX, true},
    {"%nctaid", SpecialRegister::NctaidX, true},
    {"%laneid", SpecialRegister::LaneId, false},
    {"%warpid", SpecialRegister::WarpId, false},
    {"%nwarpid", SpecialRegister::NwarpId, false},
    {"%lanemask_eq", SpecialRegister::LaneMaskEq, false},
    {"%lanemask_le", SpecialRegister::LaneMaskLe, false},
    {"%lanemask_lt", SpecialRegister::LaneMaskLt, false},
    {"%lanemask_ge", SpecialRegister::LaneMaskGe, false},
    {"%lanemask_gt", SpecialRegister::LaneMaskGt, false},
    {"%smid", SpecialRegister::SmId, false},
    {"%nsmid", SpecialRegister::NsmId, false},
    {"%gridid", SpecialRegister::GridId, false},
    {"%dynamic_smem_size", SpecialRegister::DynamicSharedSize, false},
    {"%total_smem_size", SpecialRegister::TotalSharedSize, false},
    {"%clock", SpecialRegister::Clock, false},
    {"%clock64", SpecialRegister::Clock64, false},
    {"%globaltimer", SpecialRegister::GlobalTimer, false},
};

struct Scope {
  struct Range { // %r<50>
    uint64_t count;
    Type type;
  };
  std::unordered_map<std::string, Range> ranges;
  std::unordered_map<std::string, int64_t> registers, variables, labels;
  uint32_t id = 0, parent = 0;
};

class Parser {
public:
  explicit Parser(std::string_view text) : lexer(text) {
    advance();
    advance();
  }

  Syntax run() {
    while (token.kind != Token::Kind::End)
      moduleItem();
    return std::move(syntax);
  }

private:
  // --- tokens
  void advance() {
    token = ahead;
    ahead = lexer.next();
  }
  [[noreturn]] void fail(const std::string &message) const { throw TextError{token.line, message}; }
  std::string found() const {
    if (token.kind == Token::Kind::End)
      return "the end of the text";
    std::string out = token.kind == Token::Kind::Dotted ? "'." : "'";
    for (char c : token.text.substr(0, 60))
      out += c >= ' ' && c < 127 ? c : '?';
    return out + "'";
  }
  bool take(char c) {
    if (!token.is(c))
      return false;
    advance();
    return true;
  }
  void expect(char c) {
    if (!take(c))
      fail(std::string("expected '") + c + "', found " + found());
  }
  bool isDotted(std::string_view name) const {
    return token.kind == Token::Kind::Dotted && token.text == name;
  }
  bool takeDotted(std::string_view name) {
    if (!isDotted(name))
      return false;
    advance();
    return true;
  }
  std::string word(const char *what) {
    if (token.kind != Token::Kind::Word)
      fail(std::string("expected ") + what + ", found " + found());
    if (token.text.size() > nameLimit)
      fail("a name of " + std::to_string(token.text.size()) + " characters; at most " +
           std::to_string(nameLimit) + " are allowed");
    std::string out(token.text);
    advance();
    return out;
  }
  uint64_t integer(const char *what) {
    if (token.kind != Token::Kind::Integer)
      fail(std::string("expected ") + what + ", found " + found());
    uint64_t value = token.value;
    advance();
    return value;
  }
  int64_t signedInteger(const char *what) {
    bool negative = take('-');
    uint64_t value = integer(what);
    return static_cast<int64_t>(negative ? 0 - value : value);
  }
  /// Skips one group of brackets that starts here.
  void skipGroup() {
    size_t depth = 0;
    do {
      if (token.kind == Token::Kind::End)
        fail("a group has no end");
      depth += token.is('{') || token.is('(') || token.is('[');
      depth -= token.is('}') || token.is(')') || token.is(']');
      advance();
    } while (depth);
  }
  void skipTo(char end) {
    while (!token.is(end) && token.kind != Token::Kind::End)
      advance();
    expect(end);
  }

  // --- module
  void moduleItem() {
    if (takeDotted("version") || takeDotted("address_size")) {
      if (token.kind != Token::Kind::Integer && token.kind != Token::Kind::Float64)
        fail("expected a number, found " + found());
      advance();
    } else if (takeDotted("target")) {
      word("a target");
      while (take(','))
        word("a target");
    } else if (takeDotted("file")) {
      uint32_t number = static_cast<uint32_t>(integer("the number of a file"));
      if (token.kind != Token::Kind::String)
        fail("expected the name of a file, found " + found());
      syntax.files.push_back({number, std::string(token.text.substr(0, nameLimit))});
      advance();
      while (take(',')) // time and size
        integer("a number");
    } else if (takeDotted("section")) {
      if (token.kind == Token::Kind::Dotted || token.kind == Token::Kind::Word)
        advance();
      skipGroup();
    } else if (takeDotted("alias") || takeDotted("pragma")) {
      skipTo(';');
    } else {
      linkage();
    }
  }

  void linkage() {
    bool external = false;
    for (;; advance()) {
      if (isDotted("extern"))
        external = true;
      else if (!isDotted("visible") && !isDotted("weak") && !isDotted("common"))
        break;
    }
    if (takeDotted("entry"))
      functionDefinition(true);
    else if (takeDotted("func"))
      functionDefinition(false);
    else if (isDotted("global") || isDotted("shared") || isDotted("const"))
      variables(nullptr, external);
    else
      fail("expected a declaration, found " + found());
  }

  // --- variables
  static Space spaceNamed(std::string_view name) {
    return name == "global"   ? Space::Global
           : name == "shared" ? Space::Shared
           : name == "local"  ? Space::Local
           : name == "const"  ? Space::Const
                              : Space::Param;
  }

  /// .space .align N .type name[dims] without what follows.
  Variable variableHead() {
    Variable variable;
    variable.space = spaceNamed(token.text);
    advance();
    uint64_t lanes = 1;
    Type type = Type::None;
    while (token.kind == Token::Kind::Dotted) {
      if (takeDotted("align")) {
        uint64_t alignment = integer("an alignment");
        if (alignment == 0 || alignment > 4096 || (alignment & (alignment - 1)))
          fail("alignment " + std::to_string(alignment) + " is no power of two up to 4096");
        variable.alignment = std::max(variable.alignment, static_cast<uint32_t>(alignment));
      } else if (isDotted("v2") || isDotted("v4")) {
        lanes = token.text == "v2" ? 2 : 4;
        advance();
      } else if (takeDotted("attribute")) {
        skipGroup();
      } else if (isDotted("ptr") || isDotted("global") || isDotted("shared") || isDotted("const") ||
                 isDotted("local") || isDotted("managed")) {
        advance();
      } else if ((type = typeNamed(token.text)) != Type::None && bitsOf(type) >= 8) {
        variable.elementBytes = bytesOf(type);
        advance();
        // .param .u64 .ptr .global .align 16: what the parameter points to
        bool pointer = takeDotted("ptr");
        while (pointer && token.kind == Token::Kind::Dotted) {
          bool alignment = isDotted("align");
          advance();
          if (alignment)
            integer("an alignment");
        }
        break;
      } else {
        fail("expected the type of a variable, found " + found());
      }
    }
    if (type == Type::None)
      fail("expected the type of a variable, found " + found());
    variable.alignment = std::max(variable.alignment, static_cast<uint32_t>(variable.elementBytes * lanes));
    variable.name = word("a name");
    variable.bytes = variable.elementBytes * lanes;
    while (take('[')) {
      if (take(']')) {
        variable.bytes = 0;
        continue;
      }
      uint64_t count = integer("the size of an array");
      if (count && variable.bytes > variableLimit / count)
        fail("variable '" + variable.name + "' is larger than " + std::to_string(variableLimit) + " bytes");
      variable.bytes *= count;
      expect(']');
    }
    return variable;
  }

  void initializer(Variable &variable) {
    size_t depth = 0;
    uint64_t at = 0;
    do {
      if (take('{')) {
        if (++depth > nestingLimit)
          fail("braces are nested too deeply");
      } else if (take('}')) {
        --depth;
      } else if (take(',')) {
      } else {
        initialValue(variable, at);
        at += variable.elementBytes;
      }
    } while (depth);
    if (variable.bytes == 0)
      variable.bytes = at;
  }

  void initialValue(Variable &variable, uint64_t at) {
    uint64_t size = variable.elementBytes;
    if (at + size > initializedLimit || (variable.bytes && at + size > variable.bytes))
      fail("the values of variable '" + variable.name + "' do not fit its size");
    uint64_t bits = 0;
    if (token.kind == Token::Kind::Word) {
      bool generic = token.text == "generic";
      std::string name = word("a value");
      if (generic) {
        expect('(');
        name = word("a variable");
        expect(')');
      }
      int64_t addend = take('+') ? signedInteger("an offset") : 0;
      auto found = moduleNames.find(name);
      if (found == moduleNames.end())
        fail("unknown variable '" + name + "' in the value of '" + variable.name + "'");
      variable.addresses.push_back({at, found->second, addend});
    } else {
      bool negative = take('-');
      if (token.kind == Token::Kind::Integer) {
        bits = negative ? 0 - token.value : token.value;
      } else if (token.kind == Token::Kind::Float32 && size == 4) {
        bits = token.value ^ (negative ? 0x80000000u : 0);
      } else if (token.kind == Token::Kind::Float64) {
        double value;
        std::memcpy(&value, &token.value, 8);
        value = negative ? -value : value;
        float narrow = static_cast<float>(value);
        if (size == 4)
          std::memcpy(&bits, &narrow, 4);
        else
          std::memcpy(&bits, &value, 8);
      } else {
        fail("expected a value for variable '" + variable.name + "', found " + found());
      }
      advance();
    }
    variable.contents.resize(at + size);
    std::memcpy(variable.contents.data() + at, &bits, std::min<uint64_t>(size, 8));
  }

  /// Declarations up to ';', of the module or of a function.
  void variables(Function *function, bool external) {
    Variable variable = variableHead();
    variable.external = external || (variable.bytes == 0 && !token.is('='));
    if (take('='))
      initializer(variable);
    expect(';');
    if (variable.bytes == 0 && variable.space != Space::Shared && !external)
      fail("variable '" + variable.name + "' has no size");
    if (function)
      declare(*function, std::move(variable));
    else
      declareInModule(std::move(variable));
  }

  void declareInModule(Variable variable) {
    auto [at, isNew] = moduleNames.try_emplace(variable.name, syntax.variables.size());
    if (isNew) {
      syntax.variables.push_back(std::move(variable));
      return;
    }
    Variable &earlier = syntax.variables[at->second];
    if (!earlier.external && !variable.external)
      fail("variable '" + variable.name + "' is defined twice");
    if (earlier.external)
      earlier = std::move(variable);
  }

  int64_t declare(Function &function, Variable variable) {
    int64_t index = static_cast<int64_t>(function.variables.size());
    if (!scopes.back().variables.try_emplace(variable.name, index).second)
      fail("variable '" + variable.name + "' is defined twice");
    function.variables.push_back(std::move(variable));
    return index;
  }

  // --- functions
  std::vector<int64_t> parameterList(Function &function) {
    std::vector<int64_t> out;
    expect('(');
    while (!take(')')) {
      if (!isDotted("param"))
        fail("expected a .param, found " + found());
      out.push_back(declare(function, variableHead()));
      if (!token.is(')'))
        expect(',');
    }
    return out;
  }

  void functionDefinition(bool isEntry) {
    Function function;
    function.isEntry = isEntry;
    function.line = token.line;
    scopes.assign(1, Scope());
    scopeParents.assign(1, 0);
    if (takeDotted("attribute"))
      skipGroup();
    if (!isEntry && token.is('('))
      function.results = parameterList(function);
    function.name = word("the name of a function");
    if (token.is('('))
      function.parameters = parameterList(function);
    while (token.kind == Token::Kind::Dotted) {
      bool required = isDotted("reqntid");
      advance();
      for (size_t i = 0; token.kind == Token::Kind::Integer; ++i) {
        uint64_t value = integer("a number");
        if (required && i < 3)
          function.requiredBlock[i] = static_cast<uint32_t>(std::min<uint64_t>(value, UINT32_MAX));
        if (!take(','))
          break;
      }
      if (required)
        for (uint32_t &size : function.requiredBlock)
          size = std::max(size, 1u);
    }
    if (!take(';')) {
      function.hasBody = true;
      body(function);
    }
    addFunction(std::move(function));
  }

  void addFunction(Function function) {
    auto [at, isNew] = functionNames.try_emplace(function.name, syntax.functions.size());
    if (isNew)
      return syntax.functions.push_back(std::move(function));
    Function &earlier = syntax.functions[at->second];
    if (earlier.hasBody && function.hasBody)
      throw TextError{function.line, "function '" + function.name + "' is defined twice"};
    if (function.hasBody)
      earlier = std::move(function);
  }

  void body(Function &function) {
    expect('{');
    size_t depth = 1;
    location = {};
    while (depth) {
      if (token.kind == Token::Kind::End)
        fail("function '" + function.name + "' has no end");
      if (take('{')) {
        if (++depth > nestingLimit)
          fail("braces are nested too deeply");
        Scope scope;
        scope.id = static_cast<uint32_t>(scopeParents.size());
        scope.parent = scopes.back().id;
        scopeParents.push_back(scope.parent);
        scopes.push_back(std::move(scope));
      } else if (take('}')) {
        if (--depth)
          scopes.pop_back();
      } else if (token.kind == Token::Kind::Word && ahead.is(':')) {
        defineLabel(function);
      } else if (token.kind == Token::Kind::Dotted) {
        directive(function);
      } else {
        instruction(function);
      }
    }
    resolveLabels(function);
  }

  void directive(Function &function) {
    if (takeDotted("reg")) {
      registerDeclaration();
    } else if (isDotted("shared") || isDotted("local") || isDotted("param") || isDotted("const") ||
               isDotted("global")) {
      variables(&function, false);
    } else if (takeDotted("extern")) {
      variables(&function, true);
    } else if (takeDotted("loc")) {
      sourceLocation();
    } else if (takeDotted("pragma")) {
      skipTo(';');
    } else {
      fail("unknown directive " + found() + " in function '" + function.name + "'");
    }
  }

  /// .loc file line column [, function_name label [+ n], inlined_at file line column]
  void sourceLocation() {
    Location own, inlined;
    auto place = [&](Location &out) {
      out.file = static_cast<uint32_t>(integer("the number of a file"));
      out.line = static_cast<uint32_t>(integer("a line"));
      out.column = static_cast<uint32_t>(integer("a column"));
    };
    place(own);
    while (take(',')) {
      std::string what = word("'function_name' or 'inlined_at'");
      if (what == "inlined_at") {
        place(inlined);
      } else {
        word("a label");
        if (take('+'))
          integer("an offset");
      }
    }
    if (own.line || own.file)
      location = own;
  }

  void registerDeclaration() {
    if (token.kind != Token::Kind::Dotted)
      fail("expected the type of a register, found " + found());
    Type type = typeNamed(token.text);
    if (type == Type::None || type == Type::S4 || type == Type::U4)
      fail("registers of type " + found() + " are not supported");
    advance();
    do {
      std::string name = word("the name of a register");
      Scope &scope = scopes.back();
      if (take('<')) {
        scope.ranges[name] = {integer("a number of registers"), type};
        expect('>');
      } else {
        scope.ranges["\1" + name] = {1, type}; // one register of exactly this name
        scope.registers.erase(name);
      }
    } while (take(','));
    expect(';');
  }

  /// Index of a register of this name, made at its first use; -1: there is none.
  int64_t findRegister(Function &function, const std::string &name) {
    size_t digits = name.size();
    while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9')
      --digits;
    bool numbered = digits < name.size() && name.size() - digits <= 10 &&
                    (name[digits] != '0' || name.size() - digits == 1);
    for (size_t i = scopes.size(); i-- > 0;) {
      Scope &scope = scopes[i];
      if (auto at = scope.registers.find(name); at != scope.registers.end())
        return at->second;
      auto range = scope.ranges.find("\1" + name);
      if (range == scope.ranges.end() && numbered) {
        range = scope.ranges.find(name.substr(0, digits));
        if (range != scope.ranges.end() && std::stoull(name.substr(digits)) >= range->second.count)
          range = scope.ranges.end();
      }
      if (range == scope.ranges.end())
        continue;
      if (function.registers.size() >= registerLimit)
        fail("function '" + function.name + "' uses more than " + std::to_string(registerLimit) +
             " registers");
      function.registers.push_back(range->second.type);
      return scope.registers[name] = static_cast<int64_t>(function.registers.size()) - 1;
    }
    return -1;
  }

  // --- labels
  int64_t labelInScope(Function &function, Scope &scope, const std::string &name) {
    auto [at, isNew] = scope.labels.try_emplace(name, function.labels.size());
    if (isNew) {
      Label label;
      label.name = name;
      label.scope = scope.id;
      label.line = token.line;
      function.labels.push_back(std::move(label));
    }
    return at->second;
  }

  void defineLabel(Function &function) {
    std::string name = word("a label");
    expect(':');
    int64_t index = labelInScope(function, scopes.back(), name);
    if (function.labels[index].defined)
      fail("label '" + name + "' is defined twice");
    function.labels[index].defined = true;
    function.labels[index].statement = static_cast<uint32_t>(function.statements.size());
    if (takeDotted("branchtargets")) {
      do {
        std::string target = word("a label");
        int64_t targetIndex = labelInScope(function, scopes.back(), target);
        function.labels[index].branchTargets.push_back(static_cast<uint32_t>(targetIndex));
      } while (take(','));
      expect(';');
    } else if (isDotted("callprototype") || isDotted("calltargets")) {
      fail("indirect calls are not supported");
    }
  }

  /// References of inner scopes to labels of outer ones.
  void resolveLabels(Function &function) {
    std::unordered_map<std::string, std::vector<uint32_t>> byName;
    for (uint32_t i = 0; i < function.labels.size(); ++i)
      if (function.labels[i].defined)
        byName[function.labels[i].name].push_back(i);
    std::vector<uint32_t> meaning(function.labels.size());
    for (uint32_t i = 0; i < function.labels.size(); ++i) {
      const Label &label = function.labels[i];
      meaning[i] = i;
      if (label.defined)
        continue;
      const std::vector<uint32_t> &candidates = byName[label.name];
      bool known = false;
      for (uint32_t scope = label.scope; !known; scope = scopeParents[scope]) {
        for (uint32_t candidate : candidates)
          if (function.labels[candidate].scope == scope) {
            meaning[i] = candidate;
            known = true;
          }
        if (scope == 0)
          break;
      }
      if (!known)
        throw TextError{label.line, "unknown name '" + label.name + "' in function '" + function.name + "'"};
    }
    for (Label &label : function.labels)
      for (uint32_t &target : label.branchTargets)
        target = meaning[target];
    for (Statement &statement : function.statements)
      for (Operand &operand : statement.operands)
        if (operand.kind == Operand::Kind::Label)
          operand.index = meaning[operand.index];
  }

  // --- instructions
  void instruction(Function &function) {
    if (++statementCount > statementLimit)
      fail("the text has more than " + std::to_string(statementLimit) + " instructions");
    Statement statement;
    statement.line = token.line;
    statement.location = location;
    if (take('@')) {
      statement.guardNegated = take('!');
      std::string name = word("a predicate");
      statement.guard = findRegister(function, name);
      if (statement.guard < 0 || function.registers[statement.guard] != Type::Pred)
        fail("'" + name + "' is no predicate register");
    }
    statement.line = token.line;
    statement.opcode = word("an instruction");
    while (token.kind == Token::Kind::Dotted) {
      statement.modifiers.emplace_back(token.text.substr(0, 64));
      advance();
    }
    if (!token.is(';'))
      do {
        statement.operands.push_back(operand(function, 0));
        if (statement.operands.size() > 64)
          fail("an instruction has more than 64 operands");
      } while (take(','));
    expect(';');
    function.statements.push_back(std::move(statement));
  }

  std::vector<Operand> operandList(Function &function, char end, size_t depth) {
    std::vector<Operand> out;
    while (!take(end)) {
      out.push_back(operand(function, depth + 1));
      if (out.size() > 1024)
        fail("a list has more than 1024 elements");
      if (!token.is(end))
        expect(',');
    }
    return out;
  }

  Operand operand(Function &function, size_t depth) {
    if (depth > 4)
      fail("operands are nested too deeply");
    Operand out;
    out.line = token.line;
    if (take('{')) {
      out.kind = Operand::Kind::Vector;
      out.elements = operandList(function, '}', depth);
    } else if (take('(')) {
      out.kind = Operand::Kind::List;
      out.elements = operandList(function, ')', depth);
    } else if (take('[')) {
      out.kind = Operand::Kind::Address;
      if (token.kind == Token::Kind::Integer || token.is('-')) {
        out.value = signedInteger("an address");
      } else {
        Operand base = operand(function, depth + 1);
        out.value = base.value; // operand() has read "+ offset" of a variable
        base.value = 0;
        if (base.kind == Operand::Kind::Register) {
          if (take('+'))
            out.value = signedInteger("an offset");
          else if (token.is('-'))
            out.value = signedInteger("an offset");
        }
        out.elements.push_back(std::move(base));
      }
      expect(']');
    } else if (take('!')) {
      out = operand(function, depth + 1);
      out.negated = !out.negated;
    } else if (token.is('-') || token.kind == Token::Kind::Integer || token.kind == Token::Kind::Float32 ||
               token.kind == Token::Kind::Float64) {
      number(out);
    } else {
      name(function, out);
    }
    if (take('|'))
      out.second.push_back(operand(function, depth + 1));
    return out;
  }

  void number(Operand &out) {
    bool negative = take('-');
    if (token.kind == Token::Kind::Integer) {
      out.kind = Operand::Kind::Integer;
      out.value = static_cast<int64_t>(negative ? 0 - token.value : token.value);
    } else if (token.kind == Token::Kind::Float32) {
      out.kind = Operand::Kind::Float32;
      out.value = static_cast<int64_t>(token.value ^ (negative ? 0x80000000u : 0));
    } else if (token.kind == Token::Kind::Float64) {
      out.kind = Operand::Kind::Float64;
      out.value = static_cast<int64_t>(token.value ^ (negative ? uint64_t(1) << 63 : 0));
    } else {
      fail("expected a number, found " + found());
    }
    advance();
  }

  void name(Function &function, Operand &out) {
    if (token.kind == Token::Kind::Word && token.text == "_") {
      advance();
      return;
    }
    std::string text = word("an operand");
    if (int64_t index = findRegister(function, text); index >= 0) {
      out.kind = Operand::Kind::Register;
      out.index = index;
      return;
    }
    if (text[0] == '%' && special(text, out))
      return;
    out.kind = Operand::Kind::Variable;
    bool known = false;
    for (size_t i = scopes.size(); i-- > 0 && !known;)
      if (auto at = scopes[i].variables.find(text); at != scopes[i].variables.end()) {
        out.index = at->second;
        known = true;
      }
    if (auto at = moduleNames.find(text); !known && at != moduleNames.end()) {
      out.index = ~at->second;
      known = true;
    }
    if (known) {
      if (take('+'))
        out.value = signedInteger("an offset");
      else if (token.is('-'))
        out.value = signedInteger("an offset");
      return;
    }
    if (auto at = functionNames.find(text); at != functionNames.end() && text != function.name) {
      out.kind = Operand::Kind::Function;
      out.index = at->second;
      return;
    }
    if (text == function.name)
      fail("function '" + text + "' calls itself, which is not supported");
    out.kind = Operand::Kind::Label;
    out.index = labelInScope(function, scopes.back(), text);
  }

  bool special(const std::string &text, Operand &out) {
    for (const Special &special : specials) {
      if (text != special.name)
        continue;
      out.kind = Operand::Kind::Special;
      uint32_t component = 0;
      if (special.vector) {
        component = isDotted("x") ? 0 : isDotted("y") ? 1 : isDotted("z") ? 2 : isDotted("w") ? 3 : 4;
        if (component == 4)
          fail("expected .x, .y or .z after '" + text + "', found " + found());
        advance();
      }
      out.index = component == 3 ? static_cast<int64_t>(SpecialRegister::Zero)
                                 : static_cast<int64_t>(special.first) + component;
      return true;
    }
    return false;
  }

  Lexer lexer;
  Token token, ahead;
  Syntax syntax;
  Location location;
  size_t statementCount = 0;
  std::vector<Scope> scopes;
  std::vector<uint32_t> scopeParents;
  std::unordered_map<std::string, int64_t> moduleNames, functionNames;
};

} // namespace

Syntax parseText(std::string_view text) {
  if (text.size() > textLimit)
    throw TextError{1, "the text has " + std::to_string(text.size()) + " bytes; at most " +
                           std::to_string(textLimit) + " are allowed"};
  // A NUL at the end, as artifacts store it for drivers, is not part of the text.
  while (!text.empty() && text.back() == '\0')
    text.remove_suffix(1);
  return Parser(text).run();
}

} // namespace heddle::cuda_sim
