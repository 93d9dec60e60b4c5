"""What a mutant is: fixed operators over passes and generators, drawn by a seed."""

import dataclasses
import random
import re

# (area, its share of what is drawn, its files)
AREAS = (
    ("ir", 10, ("ir/AttentionOps.cpp", "ir/ElementwiseOps.cpp", "ir/GatingOps.cpp", "ir/ParameterOps.cpp", "ir/StorageFormat.cpp",
                "ir/TensorOps.cpp", "ir/WeightEncoding.cpp")),
    ("passes", 35, ("passes/ApplyAttention.cpp", "passes/ChoosePrecision.cpp", "passes/ExpandMath.cpp", "passes/FoldQuantization.cpp",
                    "passes/FuseForTarget.cpp", "passes/InferShapes.cpp", "passes/InsertHeadGating.cpp", "passes/InsertQuantization.cpp",
                    "passes/LowerHeadGating.cpp", "passes/PackParameters.cpp", "passes/PlanMemory.cpp", "passes/RowDims.cpp",
                    "passes/ShareKernels.cpp", "passes/SpecializeHeadMask.cpp", "passes/SpecializeRows.cpp", "passes/SplitAttention.cpp",
                    "passes/SplitCacheAppend.cpp")),
    ("cpu", 35, ("codegen/Emitter.cpp", "codegen/Epilogue.cpp", "codegen/KernelOperands.cpp", "codegen/RowValues.cpp",
                 "codegen/cpu/Attention.cpp", "codegen/cpu/AttentionBuilder.cpp", "codegen/cpu/AttentionRegion.cpp",
                 "codegen/cpu/AttentionScores.cpp", "codegen/cpu/AttentionSelection.cpp", "codegen/cpu/AttentionTopK.cpp",
                 "codegen/cpu/Contraction.cpp", "codegen/cpu/ContractionKernel.cpp", "codegen/cpu/ContractionPlan.cpp",
                 "codegen/cpu/ContractionTiles.cpp", "codegen/cpu/ContractionWeights.cpp", "codegen/cpu/Emit.cpp",
                 "codegen/cpu/RowsBuilder.cpp", "codegen/cpu/RowsEmbedding.cpp", "codegen/cpu/RowsGating.cpp",
                 "codegen/cpu/RowsMerge.cpp", "codegen/cpu/RowsNorms.cpp", "codegen/cpu/RowsPositions.cpp",
                 "codegen/cpu/RowsQuantize.cpp", "codegen/cpu/RowsSelection.cpp")),
    ("package", 10, ("codegen/package/KernelTable.cpp", "codegen/package/Pack.cpp", "codegen/package/Program.cpp",
                     "codegen/package/StoredRows.cpp", "codegen/package/Weights.cpp")),
    ("cuda", 10, ("codegen/cuda/AsyncCopy.cpp", "codegen/cuda/AttentionKernel.cpp", "codegen/cuda/BlockContraction.cpp",
                  "codegen/cuda/DenseContraction.cpp", "codegen/cuda/FlashAttention.cpp", "codegen/cuda/PlainAttention.cpp",
                  "codegen/cuda/RowsBuilder.cpp", "codegen/cuda/RowsNorms.cpp", "codegen/cuda/RowsQuantize.cpp",
                  "codegen/cuda/RowsTables.cpp", "codegen/cuda/WeightFragments.cpp")),
)  # fmt: skip

STATEMENT, EXPRESSION = "statement", "expression"
CALL = r"(?m)^ *(?!return|if|for|while|switch|delete)[a-z][\w.]*(?:->\w+|\.\w+)*\([^\n]*\);$"

# (name, what is changed, pattern, replacement). A match is one mutant.
OPERATORS = (
    ("off by one", EXPRESSION, r"(?<=[\w)\]] )<(?= [\w(])", "<="),
    ("off by one", EXPRESSION, r"(?<=[\w)\]] )<=(?= [\w(])", "<"),
    ("off by one", EXPRESSION, r"(?<=[\w)\]] )>(?= [\w(])", ">="),
    ("off by one", EXPRESSION, r"(?<=[\w)\]] [+-] )1\b(?!\.)", "2"),
    ("wrong tail", EXPRESSION, r"(?<=[\w)\]] )%(?= \w)", "/"),
    ("wrong tail", EXPRESSION, r"\be\.remU\(", "e.divU("),
    ("wrong stride", EXPRESSION, r"(?<=[\w)\]] )\*(?= [\w(])", "+"),
    ("wrong stride", EXPRESSION, r"\be\.mul\(", "e.add("),
    ("wrong offset", EXPRESSION, r"(?<=[\w)\]] )\+(?= [\w(])", "-"),
    ("wrong offset", EXPRESSION, r"\be\.add\(", "e.sub("),
    ("wrong offset", STATEMENT, r"(?m)(?<=\w )\+=(?= [^\n]*;$)", "-="),
    ("wrong fold", EXPRESSION, r"(?<=[\w)\]] )==(?= [\w(-])", "!="),
    ("wrong fold", EXPRESSION, r"(?<=[\w)\]] )!=(?= [\w(-])", "=="),
    ("dropped condition", EXPRESSION, r"(?<=[ (])!(?=[a-zA-Z]\w*)", ""),
    ("dropped condition", EXPRESSION, r"(?<=\bif \()(?!auto|[A-Z]\w* )(?=\w[\w.\->]*\))", "!"),
    ("wrong join", EXPRESSION, r"(?<= )&&(?= )", "||"),
    ("wrong join", EXPRESSION, r"(?<= )\|\|(?= )", "&&"),
    ("swapped minimum", EXPRESSION, r"\bstd::max\b", "std::min"),
    ("swapped minimum", EXPRESSION, r"\bstd::min\b", "std::max"),
    ("swapped minimum", EXPRESSION, r"\be\.minS\(", "e.maxS("),
    ("swapped minimum", EXPRESSION, r"\be\.maxS\(", "e.minS("),
    ("wrong arithmetic", EXPRESSION, r"\bAddFOp\b", "SubFOp"),
    ("wrong arithmetic", EXPRESSION, r"\bMulFOp\b", "AddFOp"),
    ("wrong arithmetic", EXPRESSION, r"\be\.addF\(", "e.subF("),
    ("wrong arithmetic", EXPRESSION, r"\be\.subF\(", "e.addF("),
    ("wrong arithmetic", EXPRESSION, r"\be\.mulF\(", "e.addF("),
    ("wrong extension", EXPRESSION, r"\be\.extendS\(", "e.extendU("),
    ("wrong extension", EXPRESSION, r"\be\.extendU\(", "e.extendS("),
    ("dropped mask", EXPRESSION, r"\bPredicate::slt\b", "Predicate::sle"),
    ("dropped mask", EXPRESSION, r"\bPredicate::ult\b", "Predicate::ule"),
    ("dropped mask", EXPRESSION, r"\bPredicate::sle\b", "Predicate::sge"),
    ("dropped mask", EXPRESSION, r"\be\.select\((?=\w+, \w+, \w+\))(\w+), (\w+), (\w+)", r"e.select(\1, \3, \2"),
    ("dropped mask", EXPRESSION, r"(?:(?<=[=,:] )|(?<=\()|(?<=return ))\w[\w.]*(?:\(\))?(?= \? )", "!{}"),
    ("swapped scale", EXPRESSION, r"\bscale\b(?=\()", "minimum"),
    ("swapped scale", EXPRESSION, r"\bminimum\b(?=\()", "scale"),
    ("swapped operands", EXPRESSION, r"(?<=\w\()([a-z]\w*), ([a-z]\w*)(?=[,)])", r"\2, \1"),
    ("missing barrier", EXPRESSION, r"\bsetBarrier\(\w+\)", "setBarrier(false)"),
    ("missing barrier", STATEMENT, r"(?m)^ *e\.(?:barrier|wait\w*|commit\w*)\([^\n]*\);", ";"),
    ("dropped statement", STATEMENT, CALL, ";"),
    ("early end", STATEMENT, r"(?m)^ *continue;", "break;"),
    ("flipped flag", EXPRESSION, r"(?<=[ (])true(?=[,)])", "false"),
    ("flipped flag", EXPRESSION, r"(?<=[ (])false(?=[,)])", "true"),
    ("wrong constant", EXPRESSION, r"(?<=[ (])(?:[248]|16|32|64|128|256)\b(?=[,)])", "(2 * {})"),
    ("wrong constant", EXPRESSION, r"(?<=, )[01](?=[,)])", "(1 + {})"),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Mutant:
    """Text [start, end) of a file becomes `text`; all of [first, last) is what the build chooses between."""

    file: str
    line: int
    operator: str
    kind: str
    start: int
    end: int
    text: str
    first: int
    last: int

    def label(self, source):
        begin, stop = source.rfind("\n", 0, self.start) + 1, source.find("\n", self.end)
        old, new = source[begin:stop].strip(), (source[begin : self.start] + self.text + source[self.end : stop]).strip()
        return f"{self.file}:{self.line}: {self.operator}: '{old}' -> '{new or ';'}'"


def code_only(source):
    """The same text with comments, strings and preprocessor lines blanked."""

    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])

    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|^#[^\n]*', blank, source, flags=re.S | re.M)


def expression_around(code, start, end):
    """The whole expression that a piece of code lies in: up to the brackets, commas and semicolons that enclose it."""
    depth, first = 0, start
    if "," in code[start:end]:  # several arguments: the call is meant
        first = code.rfind("(", 0, start)
    start = first
    while first > 0:
        c = code[first - 1]
        if c in ")]":
            depth += 1
        elif c in "([" and depth:
            depth -= 1
        elif c in "([{};" or (depth == 0 and c in ",?"):
            break
        elif depth == 0:
            if c == ":" and ":" not in (code[first - 2], code[first]):
                break
            if c == "=" and code[first - 2] not in "=!<>" and code[first] != "=":
                break
            if code[:first].endswith("return") and not code[first].isalnum():
                break
        first -= 1
    depth, last = 0, start
    while last < len(code):
        c = code[last]
        if c in "([{":
            depth += 1
        elif c in ")]}":
            if depth == 0:
                break
            depth -= 1
        elif depth == 0 and (c in ",;?" or (c == ":" and ":" not in (code[last - 1], code[last + 1]))):
            break
        last += 1
    while first < start and code[first].isspace():
        first += 1
    while last > start and code[last - 1].isspace():
        last -= 1
    return first, last


def candidates(file, source):
    """Every mutant of a file. Lines with messages, asserts and declarations of types are left alone."""
    code = code_only(source)
    for operator, kind, pattern, replacement in OPERATORS:
        for match in re.finditer(pattern, code):
            start, end = match.span()
            begin, stop = source.rfind("\n", 0, start) + 1, source.find("\n", end)
            line = source[begin:stop]
            if '"' in line or re.match(r" *(assert|static_assert|using|template|case)\b|.*\bconstexpr\b", line):
                continue
            text = match.expand(replacement).replace("{}", match[0])
            if kind == STATEMENT:
                if text == ";":
                    start = begin + len(line) - len(line.lstrip())
                elif text == "break;":
                    start = end - len("continue;")
                first = begin + len(line) - len(line.lstrip()) if text != "break;" else start
                last = source.find(";", end - 1) + 1
            else:
                first, last = expression_around(code, start, end)
            yield Mutant(file, source.count("\n", 0, start) + 1, operator, kind, start, end, text, first, last)


def draw(sources, seed):
    """Mutants without end, as the seed draws them: first the area by its share, then an operator, then a place."""
    pools = {}
    for area, _, files in AREAS:
        pools[area] = {}
        seen = set()
        for file in files:
            for mutant in candidates(file, sources[file]):
                change = (file, mutant.start, mutant.end, mutant.text)
                if change not in seen:
                    seen.add(change)
                    pools[area].setdefault(mutant.operator, []).append(mutant)
    generator = random.Random(seed)
    while any(pools.values()):
        areas = [(area, share) for area, share, _ in AREAS if pools[area]]
        area = generator.choices([area for area, _ in areas], [share for _, share in areas])[0]
        operator = generator.choice(sorted(pools[area]))
        pool = pools[area][operator]
        yield pool.pop(generator.randrange(len(pool)))
        if not pool:
            del pools[area][operator]
