"""llama.cpp through llama-cpp-python's low-level API, in this process: what Heddle is compared with."""

import ctypes
import os

import llama_cpp
import numpy


@llama_cpp.llama_log_callback
def _silent(level, text, data):
    pass


llama_cpp.llama_log_set(_silent, ctypes.c_void_p())
llama_cpp.llama_backend_init()


def has_amx():
    """Whether this build of llama.cpp multiplies with AMX on this machine."""
    with open("/proc/cpuinfo") as cpuinfo:
        return b"AMX_INT8 = 1" in llama_cpp.llama_print_system_info() and " amx_int8" in cpuinfo.read()


class LlamaCpp:
    """One model and one context. `flash` is flash attention on or off; sequences share one batch. Without `repack`
    weights stay as the file has them, which also switches AMX off."""

    def __init__(self, path, threads, flash=False, ubatch=512, context=1024, sequences=1, embeddings=False, repack=True):
        model_params = llama_cpp.llama_model_default_params()
        model_params.use_extra_bufts = repack
        self.model = llama_cpp.llama_model_load_from_file(os.fsencode(path), model_params)
        if not self.model:
            raise OSError(f"llama.cpp cannot load {path}")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = max(ubatch, 512)
        params.n_ubatch = ubatch
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = 1 if flash else 0
        params.embeddings = embeddings
        params.no_perf = True
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.width = llama_cpp.llama_model_n_embd(self.model)
        self.batch = llama_cpp.llama_batch_init(params.n_batch, 0, 1)

    def close(self):
        llama_cpp.llama_batch_free(self.batch)
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)

    def clear(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), False)

    def tokenize(self, text, special=False, add_special=True):
        data = text.encode()
        out = (llama_cpp.llama_token * (len(data) + 16))()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), out, len(out), add_special, special)
        return list(out[:count])

    def fill(self, tokens, positions, sequences, wanted):
        batch = self.batch
        batch.n_tokens = len(tokens)
        for row, token in enumerate(tokens):
            batch.token[row] = token
            batch.pos[row] = positions[row]
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = sequences[row]
            batch.logits[row] = wanted[row]

    def decode(self):
        status = llama_cpp.llama_decode(self.context, self.batch)
        if status:
            raise RuntimeError(f"llama_decode failed: {status}")

    def step(self, tokens, position, wanted="last"):
        """Runs one sequence's next tokens; the pointer to logits stays with the library until the next step."""
        count = len(tokens)
        want = [wanted == "all" or (wanted == "last" and row == count - 1) for row in range(count)]
        self.fill(tokens, range(position, position + count), [0] * count, want)
        self.decode()

    def logits(self, tokens, chunk):
        """[len(tokens), vocabulary] of one sequence from position 0, in chunks."""
        self.clear()
        rows = []
        for begin in range(0, len(tokens), chunk):
            piece = tokens[begin:begin + chunk]
            self.step(piece, begin, "all")
            for row in range(len(piece)):
                pointer = llama_cpp.llama_get_logits_ith(self.context, row)
                rows.append(numpy.ctypeslib.as_array(pointer, (self.vocabulary,)).copy())
        return numpy.stack(rows)

    def embed(self, sentences):
        """[len(sentences), width]: pooled embeddings of sentences given as token ids."""
        self.clear()
        tokens = [token for sentence in sentences for token in sentence]
        positions = [place for sentence in sentences for place in range(len(sentence))]
        sequences = [index for index, sentence in enumerate(sentences) for _ in sentence]
        self.fill(tokens, positions, sequences, [True] * len(tokens))
        self.decode()
        return numpy.stack([
            numpy.ctypeslib.as_array(llama_cpp.llama_get_embeddings_seq(self.context, index), (self.width,)).copy()
            for index in range(len(sentences))])
