/* What the parts of the agent offer to each other. */
#ifndef LW_AGENT_H
#define LW_AGENT_H

#include <stddef.h>
#include <stdint.h>

/* errors.c: leaves the current step; the host is told why. */
_Noreturn void lw_fail(const char *kind, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* json.c: one parsed message. Nodes are numbered; 0 is the message itself. */
typedef struct { char kind; const char *text; int length, child, next; } lw_node;
typedef struct { lw_node *nodes; int count; } lw_json;
int lw_parse(lw_json *json, const char *text, size_t size);
int lw_member(const lw_json *json, int object, const char *key); /* -1: absent or null */
int lw_is(const lw_json *json, int node, const char *text);
double lw_number(const lw_json *json, int object, const char *key, double otherwise);
char *lw_text(const lw_json *json, int object, const char *key); /* NULL: absent; caller frees */

/* output.c: text that grows, and frames. */
typedef struct { char *data; size_t size, room; } lw_out;
void lw_put(lw_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void lw_put_bytes(lw_out *out, const char *data, size_t size);
void lw_put_quoted(lw_out *out, const char *data, size_t size);
void lw_put_list(lw_out *out, const uint64_t *values, size_t count);
int lw_send(lw_out *out);
char *lw_receive(size_t *size); /* NULL: the host is gone */

/* pool.c: the threads that parallel kernels run on. */
void lw_pool_start(int threads);

/* system.c: clocks, memory, files of /proc and /sys. */
uint64_t lw_now(void); /* monotonic, ns */
void lw_read_files(lw_out *out, const lw_json *json, int patterns);
void lw_usage(lw_out *out);
void lw_reset_peak(void);
void lw_watch(int begins);
void lw_watched(lw_out *out);

/* session.c: one use of the network in memory of its own. */
typedef struct lw_session lw_session;
typedef struct {
  const char *weights, *inputs, *function; /* files; NULL: random numbers, the whole network */
  long repeats;
  int profile;
} lw_wanted;
lw_session *lw_load(const lw_wanted *wanted);
void lw_run(lw_session *session);
void lw_record(lw_session *session, int on); /* whether profiled runs are kept */
int lw_profiled(const lw_session *session);
void lw_save_outputs(const lw_session *session, const char *path);
void lw_put_outputs(lw_out *out);
void lw_put_profile(lw_session *session, lw_out *out);
void lw_unload(lw_session *session);

/* steps.c: what the host can ask for. */
void lw_step(const lw_json *json, int step, lw_out *out);

#endif
