"""Random graphs before and after fusion, sharing and memory planning: orders, shared values and several results that no model has."""

import re
import sys
import unittest

import numpy as np

from e2e import support

sys.path[:0] = [str(support.SOURCE / "test/e2e/ops")]
from writing import File

PASSES = ("heddle-pack-parameters,heddle-fuse-for-target{target=cpu},heddle-share-kernels,heddle-plan-memory")
COLUMNS, ROWS, GRAPHS, OPS = 32, 5, 60, 14
TENSOR, HEADS = f"tensor<?x{COLUMNS}xf32>", f"tensor<?x2x{COLUMNS // 2}xf32>"


def graph(rng, weights):
    """Lines of a function over %x, %y and %i, and its results for these inputs."""
    index = rng.integers(0, ROWS, ROWS).astype(np.int32)
    x, y = (rng.integers(-8, 9, (ROWS, COLUMNS)).astype(np.float32) / 8 for _ in range(2))
    lines = [f"%w{k} = heddle.get_param @w{k} : {kind}" for k, (kind, _) in enumerate(weights)]
    values = [("x", x.astype(np.float64)), ("y", y.astype(np.float64))]
    pick = lambda: values[-1 - min(int(rng.exponential(2)), len(values) - 1)]  # recent ones first: chains are what fusion is for

    for number in range(OPS):
        name = f"v{number}"
        (a, left), (b, right) = pick(), pick()
        kind = rng.choice(["unary", "binary", "linear", "gated", "scale", "gather", "heads"])
        if kind == "unary":
            lines.append(f"%{name} = heddle.unary <tanh> %{a} : {TENSOR}")
            result = np.tanh(left)
        elif kind == "binary":
            op, formula = [("add", np.add), ("sub", np.subtract), ("max", np.maximum)][rng.integers(3)]
            lines.append(f"%{name} = heddle.binary <{op}> %{a}, %{b} : {TENSOR}")
            result = formula(left, right)
        elif kind == "linear":
            k = rng.integers(len(weights))
            lines.append(f"%{name} = heddle.linear %{a}, %w{k} : {TENSOR}, {weights[k][0]} -> {TENSOR}")
            result = left @ weights[k][1].T.astype(np.float64)
        elif kind == "gated":
            lines += [f"%{name}g = heddle.linear %{a}, %w0 : {TENSOR}, {weights[0][0]} -> {TENSOR}",
                      f"%{name}u = heddle.linear %{a}, %w1 : {TENSOR}, {weights[1][0]} -> {TENSOR}",
                      f"%{name}t = heddle.unary <tanh> %{name}g : {TENSOR}", f"%{name} = heddle.binary <mul> %{name}t, %{name}u : {TENSOR}"]
            result = np.tanh(left @ weights[0][1].T.astype(np.float64)) * (left @ weights[1][1].T.astype(np.float64))
        elif kind == "scale":
            lines.append(f"%{name} = heddle.scale %{a} by 0.5 : {TENSOR}")
            result = left / 2
        elif kind == "gather":
            lines.append(f"%{name} = heddle.gather_rows %{a}, %i : {TENSOR}, tensor<?xi32> -> {TENSOR}")
            result = left[index]
        else:
            lines += [f"%{name}h = heddle.reshape %{a} : {TENSOR} -> {HEADS}", f"%{name}t = heddle.unary <relu> %{name}h : {HEADS}",
                      f"%{name} = heddle.reshape %{name}t : {HEADS} -> {TENSOR}"]
            result = np.maximum(left, 0)
        values.append((name, result))
    results = [values[-1]] + [pick() for _ in range(rng.integers(3))]
    kinds = ", ".join([TENSOR] * len(results))
    lines.append(f"return {', '.join('%' + name for name, _ in results)} : {kinds}")
    return "\n".join(lines), [x, y, index], [value.astype(np.float32) for _, value in results]


LAUNCH = re.compile(r"(?:%(\w+)(?::\d+)? = )?heddle\.launch @\w+\((.*?)\) over \"n\" arena \[(.*?)\]( barrier)?")
BYTES = 32 * COLUMNS * 4  # of a result at the bound of File.function


class RandomGraphs(unittest.TestCase):
    def check_barriers(self, text):
        """Workers may be anywhere between two barriers: nothing there reads what is written there, or shares its bytes."""
        epoch, made, places = 0, {}, []  # made: result -> epoch; places: [offset, first epoch, last epoch] of results in the arena
        at = {}
        for name, operands, arena, barrier in LAUNCH.findall(text):
            epoch += bool(barrier)
            for operand in re.findall(r"%(\w+(?:#\d+)?)", operands):
                self.assertNotEqual(made.get(operand), epoch, f"%{operand} is read between the barriers between which it is written")
                if operand in at:
                    at[operand][2] = epoch
            offsets = arena.split(", ")
            for number, offset in enumerate(offsets):
                result = f"{name}#{number}" if len(offsets) > 1 else name
                made[result] = epoch
                if offset != "-1":
                    places.append([int(offset), epoch, epoch])
                    at[result] = places[-1]
        for number, (offset, first, last) in enumerate(places):
            for other, begin, end in places[:number]:
                self.assertFalse(abs(offset - other) < BYTES and begin <= last and first <= end, f"results at {offset} and {other} overlap")
        return len(made)

    def test_passes_keep_what_graphs_compute(self):
        rng = np.random.default_rng(2024)
        file = File("graphs", "random graphs")
        weights = []
        for k in range(3):
            matrix = (rng.integers(-8, 9, (COLUMNS, COLUMNS)) / 64).astype(np.float32)
            weights.append((file.stored(f"w{k}", "f32", matrix.tobytes(), COLUMNS, COLUMNS), matrix))
        for number in range(GRAPHS):
            body, inputs, expected = graph(rng, weights)
            file.function(f"graph{number}", [("x", TENSOR), ("y", TENSOR), ("i", "tensor<?xi32>")], [TENSOR] * len(expected), body, (inputs, expected))
        folder = support.WORK / "passes"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "graphs.mlir"
        path.write_text(file.text())
        done = support.run("heddle-run-ir", path, "--pass-pipeline", PASSES)
        self.assertEqual(done.stdout.count("numbers agree"), GRAPHS)

        planned = support.run("heddle-opt", path, f"--pass-pipeline=builtin.module({PASSES})").stdout
        functions = planned.split("func.func @graph")[1:]
        self.assertEqual(len(functions), GRAPHS)
        self.assertGreater(sum(map(self.check_barriers, functions)), 5 * GRAPHS)


if __name__ == "__main__":
    unittest.main()
