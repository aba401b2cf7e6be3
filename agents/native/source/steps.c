/* The steps that the host can ask for: those of the ordinary agent's workers. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent.h"
#include "plan.h"

enum { MOST_SESSIONS = 64, MOST_TIMES = 1000000, MOST_PROFILED = 5000 };

/* Names stay as the host wrote them, escapes and all. */
static struct { char *name; lw_session *session; } loaded[MOST_SESSIONS];
static unsigned long long rss_start;

typedef struct { uint64_t *times; size_t count, room; } slice;

static int find(const lw_json *json, int name) {
  for (int i = 0; i < MOST_SESSIONS; i++)
    if (loaded[i].name && lw_is(json, name, loaded[i].name)) return i;
  lw_fail("request", "no such session is loaded");
}

static void start(const lw_json *json, int step, lw_out *out) {
  int cpus = lw_member(json, step, "affinity");
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpus >= 0) {
    for (int n = json->nodes[cpus].child; n >= 0; n = json->nodes[n].next)
      CPU_SET((size_t)atoi(json->nodes[n].text) % CPU_SETSIZE, &set);
    if (sched_setaffinity(0, sizeof set, &set))
      lw_fail("request", "cannot run on the processors that were asked for");
  }
  if (lw_member(json, step, "nice") >= 0)
    setpriority(PRIO_PROCESS, 0, (int)lw_number(json, step, "nice", 0)); /* what it is, is told */
  sched_getaffinity(0, sizeof set, &set);
  lw_put(out, "{\"pid\":%ld,\"nice\":%d,\"affinity\":[", (long)getpid(), getpriority(PRIO_PROCESS, 0));
  for (int cpu = 0, first = 1; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &set)) lw_put(out, "%s%d", first ? "" : ",", cpu), first = 0;
  lw_put(out, "]}");
}

static unsigned long long resident(void) {
  lw_out text = {0};
  lw_usage(&text);
  lw_put_bytes(&text, "", 1);
  const char *found = strstr(text.data, "\"rss_bytes\":");
  unsigned long long bytes = found ? strtoull(found + 12, NULL, 10) : 0;
  free(text.data);
  return bytes;
}

static void load(const lw_json *json, int step, lw_out *out) {
  int options = lw_member(json, step, "options"), name = lw_member(json, step, "session"), place = 0;
  int kernel = lw_member(json, options, "kernel"), profile = lw_member(json, options, "profile");
  if (name < 0) lw_fail("request", "a session needs a name");
  while (place < MOST_SESSIONS && loaded[place].name) place++;
  if (place == MOST_SESSIONS) lw_fail("request", "more than %d sessions", MOST_SESSIONS);
  if (!rss_start) lw_reset_peak(), rss_start = resident();
  char *weights = lw_text(json, step, "weights"), *inputs = lw_text(json, step, "inputs");
  char *function = lw_text(json, kernel, "function"), *into = lw_text(json, step, "outputs_to");
  lw_wanted wanted = {weights, inputs, function, (long)lw_number(json, kernel, "repeats", 1),
                      lw_is(json, profile, "true")};
  lw_pool_start((int)lw_number(json, options, "threads", 1));
  uint64_t begun = lw_now();
  lw_session *session = lw_load(&wanted);
  uint64_t ready = lw_now();
  lw_run(session);
  uint64_t ran = lw_now();
  if (into) lw_save_outputs(session, into);
  loaded[place].session = session;
  loaded[place].name = strndup(json->nodes[name].text, (size_t)json->nodes[name].length);
  free(weights), free(inputs), free(function), free(into);
  lw_put(out, "{\"load_s\":%.9f,\"first_inference_s\":%.9f,\"providers\":[\"tvm\"],"
         "\"node_providers\":{\"tvm\":%d},\"outputs\":", 1e-9 * (double)(ready - begun),
         1e-9 * (double)(ran - ready), lw_call_count);
  lw_put_outputs(out);
  lw_put(out, "}");
}

/* The sessions of a step, as places in the table; their number. */
static int chosen(const lw_json *json, int step, int *places) {
  int list = lw_member(json, step, "sessions"), count = 0;
  if (list < 0 || json->nodes[list].kind != '[') lw_fail("request", "sessions is no list");
  for (int n = json->nodes[list].child; n >= 0; n = json->nodes[n].next) {
    if (count == MOST_SESSIONS) lw_fail("request", "too many sessions");
    places[count] = find(json, n);
    for (int i = 0; i < count; i++)
      if (places[i] == places[count]) lw_fail("request", "a session is named twice");
    count++;
  }
  if (!count) lw_fail("request", "no session is named");
  return count;
}

static void warm(const lw_json *json, int step, lw_out *out) {
  int places[MOST_SESSIONS], count = chosen(json, step, places), waiting = count;
  uint64_t runs[MOST_SESSIONS] = {0}, spent[MOST_SESSIONS] = {0}, begun = lw_now();
  double min_n = lw_number(json, step, "min_n", 1), min_s = lw_number(json, step, "min_s", 0);
  double max_s = lw_number(json, step, "max_s", 60);
  int over = 0, done[MOST_SESSIONS] = {0};
  while (waiting && !over)
    for (int i = 0; i < count && !over; i++) {
      uint64_t start = lw_now();
      if (done[i]) continue;
      if ((over = 1e-9 * (double)(start - begun) >= max_s)) break;
      lw_run(loaded[places[i]].session);
      runs[i]++, spent[i] += lw_now() - start;
      done[i] = (double)runs[i] >= min_n && 1e-9 * (double)spent[i] >= min_s;
      waiting -= done[i];
    }
  lw_put(out, "{\"duration_s\":%.9f,\"runs\":{", 1e-9 * (double)(lw_now() - begun));
  for (int i = 0; i < count; i++)
    lw_put(out, "%s\"%.200s\":%llu", i ? "," : "", loaded[places[i]].name, (unsigned long long)runs[i]);
  lw_put(out, "}}");
}

/* Nothing but the inference lies between two readings of the clock. */
static void exactly(lw_session *session, slice *to, size_t n) {
  if (to->count + n > to->room) {
    to->room = to->count + n > 2 * to->room ? to->count + n : 2 * to->room;
    to->times = realloc(to->times, to->room * sizeof *to->times);
    if (!to->times) lw_fail("memory", "no memory for the times");
  }
  uint64_t *times = to->times + to->count;
  for (size_t i = 0; i < n; i++) {
    uint64_t start = lw_now();
    lw_run(session);
    times[i] = lw_now() - start;
  }
  to->count += n;
}

/* Batches double, so that a short inference is not followed by bookkeeping each time. */
static void as_many_as_fit(lw_session *session, slice *to, double seconds, size_t most) {
  uint64_t end = lw_now() + (uint64_t)(seconds * 1e9), sum = 0;
  for (size_t size = 1; to->count < most;) {
    size_t before = to->count;
    exactly(session, to, size < most - before ? size : most - before);
    for (size_t i = before; i < to->count; i++) sum += to->times[i];
    uint64_t now = lw_now();
    if (now >= end) break;
    size_t fits = (size_t)((double)(end - now) / ((double)sum / (double)to->count + 1));
    size = fits < 2 * size ? fits : 2 * size;
    if (size < 1) size = 1;
  }
}

static void timed(const lw_json *json, int step, lw_out *out) {
  int places[MOST_SESSIONS], count = chosen(json, step, places);
  int fixed = lw_member(json, step, "n") >= 0, done = 0;
  double n = lw_number(json, step, "n", 0), slice_s = lw_number(json, step, "slice_s", -1);
  double slices = lw_number(json, step, "slices", 1), max_s = lw_number(json, step, "max_s", 600);
  int order = lw_member(json, step, "order");
  if (fixed ? n < 1 || n * slices > MOST_TIMES : slice_s < 0) lw_fail("request", "n or slice_s is wrong");
  if (slices < 1 || slices > 100000) lw_fail("request", "slices is wrong");
  if (order >= 0 && !lw_is(json, order, "abba")) lw_fail("request", "only the order abba is known");
  lw_out ran = {0}, parts[MOST_SESSIONS] = {{0}};
  uint64_t begun = lw_now();
  slice one = {0};
  for (int round = 0; round < (int)slices; round++) {
    /* The step ends between rounds, so that all sessions have the same slices. */
    if (round && 1e-9 * (double)(lw_now() - begun) >= max_s) break;
    for (int i = 0; i < count; i++, done++) {
      int at = round % 2 ? count - 1 - i : i;
      lw_session *session = loaded[places[at]].session;
      size_t most = (size_t)((lw_profiled(session) ? MOST_PROFILED : MOST_TIMES) / slices);
      one.count = 0;
      lw_record(session, 1);
      if (fixed) exactly(session, &one, (size_t)n);
      else as_many_as_fit(session, &one, slice_s, most ? most : 1);
      lw_record(session, 0);
      if (round) lw_put(&parts[at], ",");
      lw_put_list(&parts[at], one.times, one.count);
      lw_put(&ran, "%s\"%.200s\"", done ? "," : "", loaded[places[at]].name);
    }
  }
  lw_put(out, "{\"duration_s\":%.9f,\"order\":[", 1e-9 * (double)(lw_now() - begun));
  lw_put_bytes(out, ran.data, ran.size);
  lw_put(out, "],\"times_ns\":{");
  for (int i = 0; i < count; i++) {
    lw_put(out, "%s\"%.200s\":[", i ? "," : "", loaded[places[i]].name);
    lw_put_bytes(out, parts[i].data, parts[i].size);
    lw_put(out, "]");
    free(parts[i].data);
  }
  lw_put(out, "}}");
  free(ran.data), free(one.times);
}

static void profile(const lw_json *json, int step, lw_out *out) {
  lw_session *session = loaded[find(json, lw_member(json, step, "session"))].session;
  if (!lw_profiled(session)) lw_fail("request", "this session was loaded without profiling");
  lw_put_profile(session, out);
}

static void unload(const lw_json *json, int step, lw_out *out) {
  int place = find(json, lw_member(json, step, "session"));
  lw_unload(loaded[place].session);
  free(loaded[place].name);
  loaded[place].name = NULL;
  lw_put(out, "{}");
}

static void finish(const lw_json *json, int step, lw_out *out) {
  (void)json, (void)step;
  lw_watch(0);
  lw_put(out, "{\"rss_start_bytes\":%llu,\"usage\":", rss_start);
  lw_usage(out);
  lw_put(out, ",\"watch\":");
  lw_watched(out);
  lw_put(out, "}");
}

static void read_files(const lw_json *json, int step, lw_out *out) {
  int files = lw_member(json, step, "files");
  lw_put(out, "{\"monotonic_ns\":%llu,\"files\":", (unsigned long long)lw_now());
  if (files < 0) lw_put(out, "{}");
  else lw_read_files(out, json, files);
  lw_put(out, "}");
}

static const struct {
  const char *name;
  void (*run)(const lw_json *, int, lw_out *);
} steps[] = {{"start", start},   {"load", load},     {"warm", warm},     {"time", timed},
             {"profile", profile}, {"unload", unload}, {"finish", finish}, {"read", read_files}};

void lw_step(const lw_json *json, int step, lw_out *out) {
  int wanted = lw_member(json, step, "do");
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
    if (lw_is(json, wanted, steps[i].name)) {
      lw_watch(steps[i].run == timed);
      steps[i].run(json, step, out);
      return;
    }
  lw_fail("request", "no such step");
}
