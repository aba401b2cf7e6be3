/* One use of the network: its buffers, its arguments, and the times of its kernels. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "plan.h"

enum { TENSOR_POINTER = 7, CPU = 1, GAP_RUNS = 50 };

struct lw_session {
  lw_dltensor *tensors;
  lw_any *arguments;
  char **storages, *inputs, *constants;
  uint64_t mapped; /* bytes of the constants, where they are a file's */
  int call;        /* the one kernel to run; -1: all */
  long repeats;
  int profile, recording;
  uint64_t *stamps, *rows, *runs, *biases; /* rows: one duration per kernel */
  size_t kept, room;
};

static void *allocated(uint64_t size) {
  void *found = NULL;
  if (size > SIZE_MAX || posix_memalign(&found, 64, size ? (size_t)size : 1))
    lw_fail("memory", "no memory for %llu bytes", (unsigned long long)size);
  return found;
}

/* Numbers between -1 and 1, never denormal: those slow some processors a hundredfold. */
static void randomise(char *data, uint64_t bytes, lw_dtype dtype) {
  static uint64_t state = 0x9E3779B97F4A7C15u;
  if (dtype.code == 2 && dtype.bits == 32) {
    float *numbers = (float *)(void *)data;
    for (uint64_t i = 0; i < bytes / 4; i++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      numbers[i] = (float)((int32_t)(state >> 33) - 0x40000000) / 0x40000000;
    }
    return;
  }
  memset(data, 0, (size_t)bytes); /* whole numbers are indices or shapes: 0 is always right */
}

static char *mapped(const char *path, uint64_t expected) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (file < 0 || fstat(file, &status)) lw_fail("blob", "cannot read %s: %s", path, strerror(errno));
  if ((uint64_t)status.st_size != expected)
    lw_fail("blob", "%s holds another number of bytes than the network needs", path);
  void *found = mmap(NULL, (size_t)expected, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, file, 0);
  close(file);
  if (found == MAP_FAILED) lw_fail("memory", "cannot map %s: %s", path, strerror(errno));
  return found;
}

static char *filled(int kind, uint64_t bytes) {
  char *data = allocated(bytes);
  memset(data, 0, (size_t)bytes);
  for (int i = 0; i < lw_tensor_count; i++)
    if (lw_tensors[i].kind == kind)
      randomise(data + lw_tensors[i].offset, lw_tensors[i].bytes, lw_tensors[i].dtype);
  return data;
}

static void describe(lw_session *session, int index) {
  const lw_tensor *plan = &lw_tensors[index];
  lw_dltensor *made = &session->tensors[index];
  char *base = plan->kind == LW_STORAGE   ? session->storages[plan->storage]
               : plan->kind == LW_CONSTANT ? session->constants
                                           : session->inputs;
  int64_t *strides = allocated(sizeof *strides * (size_t)(plan->ndim + 1)), step = 1;
  for (int d = plan->ndim - 1; d >= 0; d--) strides[d] = step, step *= plan->shape[d];
  *made = (lw_dltensor){base + plan->offset, {CPU, 0}, plan->ndim, plan->dtype,
                        (int64_t *)plan->shape, strides, 0};
}

static int find(const char *function) {
  for (int i = 0; i < lw_call_count; i++)
    if (!strcmp(lw_calls[i].function, function)) return i;
  lw_fail("model", "no such kernel in this program: %.200s", function);
}

lw_session *lw_load(const lw_wanted *wanted) {
  lw_session *session = calloc(1, sizeof *session);
  if (!session) lw_fail("memory", "out of memory");
  session->call = wanted->function ? find(wanted->function) : -1;
  session->repeats = wanted->repeats;
  session->profile = wanted->profile;
  if (wanted->weights && lw_constant_bytes) {
    session->constants = mapped(wanted->weights, lw_constant_bytes);
    session->mapped = lw_constant_bytes;
  } else {
    session->constants = filled(LW_CONSTANT, lw_constant_bytes);
  }
  if (wanted->inputs && lw_input_bytes) {
    /* Copied, so that all sessions of a process read memory of the same kind. */
    char *data = mapped(wanted->inputs, lw_input_bytes);
    session->inputs = allocated(lw_input_bytes);
    memcpy(session->inputs, data, (size_t)lw_input_bytes);
    munmap(data, (size_t)lw_input_bytes);
  } else {
    session->inputs = filled(LW_INPUT, lw_input_bytes);
  }
  session->storages = allocated(sizeof(char *) * (size_t)(lw_storage_count + 1));
  for (int i = 0; i < lw_storage_count; i++) {
    session->storages[i] = allocated(lw_storages[i]);
    /* Touched here, so that no page is first seen in a timed run. */
    memset(session->storages[i], 0, (size_t)lw_storages[i]);
  }
  session->tensors = allocated(sizeof(lw_dltensor) * (size_t)(lw_tensor_count + 1));
  for (int i = 0; i < lw_tensor_count; i++) describe(session, i);
  session->arguments = allocated(sizeof(lw_any) * (size_t)(lw_argument_count + 1));
  for (int i = 0; i < lw_argument_count; i++) {
    session->arguments[i] = (lw_any){TENSOR_POINTER, 0, {0}};
    session->arguments[i].value.pointer = &session->tensors[lw_arguments[i]];
  }
  session->stamps = allocated(sizeof(uint64_t) * (size_t)(2 * lw_call_count + 2));
  return session;
}

static void call(const lw_session *session, int index) {
  const lw_call *plan = &lw_calls[index];
  lw_any result = {0};
  if (plan->run(NULL, session->arguments + plan->first, plan->count, &result))
    lw_fail("model", "the kernel %.200s refused its arguments", plan->name);
}

static void keep(lw_session *session, uint64_t run) {
  size_t width = (size_t)lw_call_count;
  if (session->kept == session->room) {
    session->room = session->room ? 2 * session->room : 64;
    uint64_t **lists[] = {&session->rows, &session->runs, &session->biases};
    for (int i = 0; i < 3; i++) {
      void *grown = realloc(*lists[i], sizeof(uint64_t) * session->room * (i ? 1 : width));
      if (!grown) lw_fail("memory", "no memory for the times of %zu runs", session->room);
      *lists[i] = grown;
    }
  }
  uint64_t *row = session->rows + session->kept * width;
  for (size_t i = 0; i < width; i++) row[i] = session->stamps[2 * i + 3] - session->stamps[2 * i + 2];
  session->biases[session->kept] = session->stamps[1] - session->stamps[0];
  session->runs[session->kept++] = run;
}

static void run_profiled(lw_session *session) {
  uint64_t *stamp = session->stamps, start = lw_now();
  *stamp++ = lw_now(), *stamp++ = lw_now(); /* what one reading adds to a kernel's time */
  for (int i = 0; i < lw_call_count; i++) {
    *stamp++ = lw_now();
    call(session, i);
    *stamp++ = lw_now();
  }
  uint64_t end = lw_now();
  if (session->recording) keep(session, end - start);
}

void lw_run(lw_session *session) {
  if (session->profile) {
    run_profiled(session);
  } else if (session->call >= 0) {
    for (long i = 0; i <= session->repeats; i++) call(session, session->call);
  } else {
    for (int i = 0; i < lw_call_count; i++) call(session, i);
  }
}

void lw_record(lw_session *session, int on) { session->recording = on; }
int lw_profiled(const lw_session *session) { return session->profile; }

static int nothing(void *self, const lw_any *arguments, int32_t count, lw_any *result) {
  (void)self, (void)arguments, (void)count, (void)result;
  return 0;
}

/* Runs without the kernels: what lies between them, measured by itself. */
static void put_gap(lw_session *session, lw_out *out) {
  volatile lw_function empty = nothing;
  uint64_t taken[GAP_RUNS + 1];
  for (int run = 0; run <= GAP_RUNS; run++) {
    uint64_t start = lw_now();
    for (int i = 0; i < lw_call_count; i++) {
      lw_any result = {0};
      if (empty(NULL, session->arguments + lw_calls[i].first, lw_calls[i].count, &result)) return;
    }
    taken[run] = lw_now() - start;
  }
  lw_put_list(out, taken + 1, GAP_RUNS);
}

void lw_put_profile(lw_session *session, lw_out *out) {
  lw_put(out, "{\"nodes\":[");
  for (int i = 0; i < lw_call_count; i++) {
    lw_put(out, "%s{\"name\":", i ? "," : "");
    lw_put_quoted(out, lw_calls[i].name, strlen(lw_calls[i].name));
    lw_put(out, ",\"provider\":\"tvm\",\"index\":%d}", i);
  }
  lw_put(out, "],\"durations_ns\":[");
  for (size_t i = 0; i < session->kept; i++) {
    if (i) lw_put(out, ",");
    lw_put_list(out, session->rows + i * (size_t)lw_call_count, (size_t)lw_call_count);
  }
  lw_put(out, "],\"run_ns\":");
  lw_put_list(out, session->runs, session->kept);
  lw_put(out, ",\"bias_ns\":");
  lw_put_list(out, session->biases, session->kept);
  lw_put(out, ",\"gap_ns\":");
  put_gap(session, out);
  lw_put(out, "}");
  session->profile = 0;
}

void lw_put_outputs(lw_out *out) {
  lw_put(out, "[");
  for (int i = 0; i < lw_output_count; i++) {
    const lw_tensor *plan = &lw_tensors[lw_outputs[i].tensor];
    lw_put(out, "%s{\"name\":", i ? "," : "");
    lw_put_quoted(out, lw_outputs[i].name, strlen(lw_outputs[i].name));
    lw_put(out, ",\"dtype\":\"%s\",\"shape\":[", lw_outputs[i].dtype);
    for (int d = 0; d < plan->ndim; d++) lw_put(out, "%s%lld", d ? "," : "", (long long)plan->shape[d]);
    lw_put(out, "]}");
  }
  lw_put(out, "]");
}

void lw_save_outputs(const lw_session *session, const char *path) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) lw_fail("workdir", "cannot write %s: %s", path, strerror(errno));
  for (int i = 0; i < lw_output_count; i++) {
    const lw_dltensor *made = &session->tensors[lw_outputs[i].tensor];
    const char *at = made->data;
    for (uint64_t left = lw_tensors[lw_outputs[i].tensor].bytes; left;) {
      ssize_t written = write(file, at, (size_t)left);
      if (written <= 0) {
        close(file);
        lw_fail("workdir", "cannot write %s: %s", path, strerror(errno));
      }
      at += written, left -= (uint64_t)written;
    }
  }
  close(file);
}

void lw_unload(lw_session *session) {
  for (int i = 0; i < lw_storage_count; i++) free(session->storages[i]);
  for (int i = 0; i < lw_tensor_count; i++) free(session->tensors[i].strides);
  if (session->mapped) munmap(session->constants, (size_t)session->mapped);
  else free(session->constants);
  void *rest[] = {session->storages, session->inputs, session->tensors, session->arguments,
                  session->stamps, session->rows, session->runs, session->biases, session};
  for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) free(rest[i]);
}
