"""Fits gates of attention heads in closed form: no training of the model.

A head that is off yields a constant, its mean over the rows for which it is off. What that costs a row is the squared distance
from the head's mean output in the metric in which the model's result moves (second moment of gradients behind the output
projection). Ridge regression predicts the cost's logarithm from the layer's input, which is all that a gate may see. Where a gate
opens is decided by what a head's rows cost on average at each prediction, measured by cross-validation: the cheapest rows of all
heads together are skipped. The mean over just those rows is another than that over all, so costs are taken anew around it, and all
is fitted again.
"""

import numpy

from models import Decoder, Encoder, Gates, Run, log_softmax

RIDGE = 3e-2  # of the mean variance of the input's elements
BINS = 48
REFITS = 2
DRAWS = {Decoder: 1, Encoder: 4}  # of gradients for a sequence: an embedding has one result, text one a row
ALWAYS = numpy.float32(1e30)


class Calibration:
    """What the model does on the calibration sequences."""

    def __init__(self, model, sequences, random, report=lambda *_: None):
        self.model = model
        inputs, outputs, ends = [], [], []
        self.metric = numpy.zeros((model.layers, model.width, model.width), numpy.float32)
        for number, tokens in enumerate(sequences):
            run = Run(observe=True, differentiate=True)
            result = model.evaluate(tokens, run)
            for _ in range(DRAWS[type(model)]):
                for layer, gradient in enumerate(model.gradients(run, result, random)):
                    self.metric[layer] += gradient.T @ gradient / DRAWS[type(model)]
            inputs.append(run.inputs)
            outputs.append(run.outputs)
            ends.append(numpy.full(len(tokens), number))
            report(f"calibrated {number + 1} of {len(sequences)} sequences")
        self.inputs = [numpy.concatenate(parts) for parts in zip(*inputs)]  # by layer: [rows, width], f16
        self.outputs = [numpy.concatenate(parts) for parts in zip(*outputs)]  # [rows, heads, head width], f16
        self.sequence = numpy.concatenate(ends)
        self.metric /= len(self.sequence)
        # The first row of a causal sequence sees only itself: it says nothing about others.
        first = numpy.flatnonzero(numpy.diff(self.sequence, prepend=-1))
        self.counts = numpy.ones(len(self.sequence), bool)
        if isinstance(model, Decoder):
            self.counts[first] = False


class Regression:
    """Ridge regression on the columns of x, whose squares are inverted once for many y."""

    def __init__(self, x):
        self.mean = x.mean(0)
        squares = (x - self.mean).T @ (x - self.mean)
        squares[numpy.diag_indices(len(squares))] += RIDGE * numpy.trace(squares) / len(squares)
        self.inverse = numpy.linalg.inv(squares.astype(numpy.float64))

    def solve(self, x, y):
        """Weights [columns of y, columns of x] and biases."""
        centre = y.mean(0)
        weight = (self.inverse @ ((x - self.mean).T @ (y - centre))).T.astype(numpy.float32)
        return weight, (centre - weight @ self.mean).astype(numpy.float32)


class Fit:
    """Gates of single heads or, with unit "group", of all query heads that share keys and values, which go off together. In what
    follows a unit is a head of `size` times the width."""

    def __init__(self, calibration, unit="head"):
        self.calibration = calibration
        model, counts = calibration.model, calibration.counts
        self.size = {"head": 1, "group": model.heads // model.kv_heads}[unit]
        self.units = model.heads // self.size
        shape = (model.layers, self.units)
        self.weight, self.bias = numpy.zeros((*shape, model.width), numpy.float32), numpy.zeros(shape, numpy.float32)
        self.predicted = numpy.empty((model.layers, len(counts), self.units), numpy.float32)
        self.costs = numpy.empty_like(self.predicted)
        halves = calibration.sequence % 2 == 0
        self.inputs = [x.astype(numpy.float32) for x in calibration.inputs]
        # Every row is predicted by a fit that has not seen its sequence.
        self.folds = [(halves & counts, ~halves), (~halves & counts, halves)]
        self.regressions = [[Regression(x[rows]) for rows in (counts, *(trained for trained, _ in self.folds))] for x in self.inputs]
        self.fit_around(self.means())
        self.explained = self.explained_variance()

    def means(self):
        """Of all rows: what a skipped unit yields at first."""
        return [self.outputs(layer)[self.calibration.counts].mean(0) for layer in range(self.calibration.model.layers)]

    def fit_around(self, skip):
        """Predicts what it costs a row that a unit yields `skip`."""
        counts = self.calibration.counts
        for layer, x in enumerate(self.inputs):
            self.costs[layer] = self.costs_around(layer, skip[layer])
            y = numpy.log(self.costs[layer] + 1e-12)
            whole, *halves = self.regressions[layer]
            for regression, (trained, others) in zip(halves, self.folds):
                weight, bias = regression.solve(x[trained], y[trained])
                self.predicted[layer, others] = x[others] @ weight.T + bias
            self.weight[layer], self.bias[layer] = whole.solve(x[counts], y[counts])
        self.bins = [[self.mean_costs(layer, unit) for unit in range(self.units)] for layer in range(len(self.inputs))]

    def outputs(self, layer):
        """[rows, units, width of a unit]"""
        outputs = self.calibration.outputs[layer].astype(numpy.float32)
        return outputs.reshape(len(outputs), self.units, -1)

    def costs_around(self, layer, skip):
        model, distance = self.calibration.model, self.outputs(layer) - skip
        projection, metric = model.output_weight(layer).reshape(model.width, self.units, -1), self.calibration.metric[layer]
        return numpy.stack([((distance[:, unit] @ (projection[:, unit].T @ metric @ projection[:, unit])) * distance[:, unit]).sum(-1)
                            for unit in range(self.units)], axis=1)

    def explained_variance(self):
        y, p = numpy.log(self.costs[:, self.calibration.counts] + 1e-12), self.predicted[:, self.calibration.counts]
        return float((1 - ((y - p) ** 2).sum(1) / ((y - y.mean(1, keepdims=True)) ** 2).sum(1)).mean())

    def mean_costs(self, layer, unit):
        """Predictions that end bins of equally many rows, and the mean cost of each bin, made ascending."""
        predicted, cost = self.predicted[layer, self.calibration.counts, unit], self.costs[layer, self.calibration.counts, unit]
        order = numpy.argsort(predicted)
        edges = numpy.linspace(0, len(order), BINS + 1).astype(int)
        means = [cost[order[begin:end]].mean() for begin, end in zip(edges, edges[1:])]
        return predicted[order[edges[1:] - 1]], numpy.maximum.accumulate(means)

    def gates(self, share):
        """Gates that skip about `share` of all heads of all rows."""
        model = self.calibration.model
        self.fit_around(self.means())
        threshold, skip = self.thresholds(share)
        for _ in range(REFITS):
            self.fit_around(skip)
            threshold, skip = self.thresholds(share)
        heads = lambda of_units: numpy.repeat(of_units, self.size, axis=1)
        return Gates(heads(self.weight), heads(self.bias - threshold), skip.reshape(model.layers, model.heads, model.head_width))

    def thresholds(self, share):
        """Predictions up to which units are skipped, and their means over the rows that are."""
        model, counts = self.calibration.model, self.calibration.counts
        every = numpy.sort(numpy.concatenate([costs for layer in self.bins for _, costs in layer]))
        limit = every[min(int(share * len(every)), len(every) - 1)]
        threshold = numpy.empty((model.layers, self.units), numpy.float32)
        skip = numpy.empty((model.layers, self.units, self.size * model.head_width), numpy.float32)
        for layer in range(model.layers):
            outputs = self.outputs(layer)
            for unit in range(self.units):
                ends, costs = self.bins[layer][unit]
                closed = int((costs < limit).sum())
                threshold[layer, unit] = -ALWAYS if closed == 0 else ALWAYS if closed == BINS else ends[closed - 1]
                off = (self.predicted[layer, :, unit] <= threshold[layer, unit]) & counts
                skip[layer, unit] = outputs[off if off.sum() > 20 else counts, unit].mean(0)
        return threshold, skip

    def static_mask(self, share):
        """[layers, heads], false for the heads that cost least when they are always off: the same number in every group
        of a layer, as heads that share keys and values need it."""
        model = self.calibration.model
        self.fit_around(self.means())
        size = model.heads // model.kv_heads
        costs = self.costs[:, self.calibration.counts].mean(1).reshape(model.layers, model.kv_heads, size)
        order = numpy.argsort(costs, axis=2)
        keep = numpy.ones(costs.shape, bool)
        # Steps: turning off one more head in every group of a layer.
        ranked = numpy.take_along_axis(costs, order, axis=2).sum(1)  # [layers, size]: cost of the n-th step
        steps = sorted((ranked[layer, n], layer, n) for layer in range(model.layers) for n in range(size if size > 1 else 1))
        if size == 1:  # no groups: heads one by one
            flat = numpy.argsort(costs.reshape(-1))[:round(share * costs.size)]
            keep.reshape(-1)[flat] = False
        else:
            removed = 0
            for _, layer, n in steps:
                if removed + model.kv_heads > share * costs.size + model.kv_heads / 2:
                    break
                if n == size - 1:
                    continue  # an attention keeps a head
                for group in range(model.kv_heads):
                    keep[layer, group, order[layer, group, n]] = False
                removed += model.kv_heads
        return keep.reshape(model.layers, model.heads)

    def masked(self, keep):
        """Gates that turn off exactly the heads that a static mask removes."""
        model = self.calibration.model
        bias = numpy.where(keep, ALWAYS, -ALWAYS).astype(numpy.float32)
        return Gates(numpy.zeros((*keep.shape, model.width), numpy.float32), bias, numpy.stack(self.means()).reshape(*keep.shape, -1))


class HeldOut:
    """Error on sequences that the fit has not seen, against the model without gates."""

    def __init__(self, model, sequences):
        self.model, self.sequences = model, sequences
        self.exact = []
        for tokens in sequences:
            result = model.evaluate(tokens, Run())
            self.exact.append(log_softmax(result).astype(numpy.float16) if isinstance(model, Decoder) else result)

    def measure(self, gates):
        figures, runs = [], []
        for tokens, exact in zip(self.sequences, self.exact):
            run = Run(gates)
            result = self.model.evaluate(tokens, run)
            runs.append((numpy.mean(run.off), numpy.mean(run.groups_off)))
            figures.append(self.compare_logits(exact.astype(numpy.float32), log_softmax(result), tokens)
                           if isinstance(self.model, Decoder) else {"cosine_distance": 1 - float(exact @ result)})
        mean = {name: float(numpy.mean([figure[name] for figure in figures])) for name in figures[0]}
        if "log_perplexity_change" in mean:
            mean["perplexity_change"] = float(numpy.expm1(mean.pop("log_perplexity_change")))
        skipped, groups = numpy.mean(runs, axis=0)
        return {"skipped": float(skipped), "groups_skipped": float(groups), **mean}

    @staticmethod
    def compare_logits(exact, gated, tokens):
        rows, labels = numpy.arange(len(tokens) - 1), numpy.asarray(tokens)[1:]
        return {"log_perplexity_change": float((exact[rows, labels] - gated[rows, labels]).mean()),
                "kl_nats": float((numpy.exp(exact) * (exact - gated)).sum(-1).mean()),
                "top1_agreement": float((exact.argmax(-1) == gated.argmax(-1)).mean())}
