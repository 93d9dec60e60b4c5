// Continues a text, given as token ids, with a model that Heddle compiled:
//
//     cc example.c $(pkg-config --cflags --libs heddle) -o example
//     ./example model.heddle 16 1 2 3        16 tokens after the tokens 1 2 3; prints their ids
#include <heddle/runtime.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const heddle_error *error) {
  fprintf(stderr, "example: %s\n", error->message);
  return 1;
}

static int32_t most_likely(const float *logits, int64_t count) {
  int64_t best = 0;
  for (int64_t i = 1; i < count; ++i)
    if (logits[i] > logits[best])
      best = i;
  return (int32_t)best;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: example MODEL COUNT TOKEN...\n");
    return 2;
  }
  heddle_error error = {.struct_size = sizeof error};
  heddle_source source = {.struct_size = sizeof source, .kind = HEDDLE_SOURCE_PATH, .path = argv[1]};
  // An artifact is a program. Whoever runs this example says that it may run.
  heddle_model_options options = {.struct_size = sizeof options, .trust = HEDDLE_TRUST_EMBEDDER_VOUCHES};
  heddle_model *model;
  if (heddle_model_open(&source, &options, &model, &error))
    return fail(&error);
  heddle_team *team;
  if (heddle_team_create(NULL, &team, &error))
    return fail(&error);
  heddle_session_options session_options = {.struct_size = sizeof session_options, .team = team};
  heddle_session *session;
  if (heddle_session_create(model, &session_options, &session, &error))
    return fail(&error);

  // The prompt is one step of many rows; each token after it is a step of one row.
  uint32_t count = (uint32_t)argc - 3;
  int32_t *tokens = calloc(3 * (size_t)count, sizeof *tokens);
  int32_t *slots = tokens + count, *positions = slots + count, wanted = (int32_t)count - 1;
  for (uint32_t i = 0; i < count; ++i) {
    tokens[i] = (int32_t)strtol(argv[3 + i], NULL, 10);
    positions[i] = (int32_t)i;
  }
  heddle_step step = {.struct_size = sizeof step,
                      .tokens = tokens,
                      .slots = slots,
                      .positions = positions,
                      .count = count,
                      .wanted = &wanted,
                      .wanted_count = 1};
  for (long left = strtol(argv[2], NULL, 10); left > 0; --left) {
    heddle_view logits = {.struct_size = sizeof logits};
    if (heddle_session_step(session, NULL, &step, &error) ||
        heddle_session_output(session, NULL, 0, &logits, &error))
      return fail(&error);
    positions[0] += (int32_t)step.count;
    tokens[0] = most_likely(logits.data, logits.dimension[1]);
    step.count = 1;
    wanted = 0;
    printf("%d\n", tokens[0]);
  }

  free(tokens);
  heddle_session_destroy(session);
  if (heddle_team_destroy(team, &error) || heddle_model_close(model, &error))
    return fail(&error);
  return 0;
}
