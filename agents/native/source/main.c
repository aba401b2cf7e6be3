/* The native agent: answers one step after the other until its input ends.
 *
 * It speaks the frames of the ordinary agent and runs one network, whose kernels are linked
 * into it, on a device that needs nothing installed. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent.h"
#include "plan.h"

static jmp_buf failed;
static char kind[32], message[512];

_Noreturn void lw_fail(const char *what, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  snprintf(kind, sizeof kind, "%s", what);
  longjmp(failed, 1);
}

static void put_failure(lw_out *out) {
  int host = !strcmp(kind, "request") || !strcmp(kind, "protocol");
  lw_put(out, "\"error\":{\"kind\":\"%s\",\"transient\":%s,\"side\":\"%s\",\"message\":", kind,
         strcmp(kind, "blob") ? "false" : "true", /* a damaged file is carried again */
         host ? "host" : "device");
  lw_put_quoted(out, message, strlen(message));
  lw_put(out, "}}");
}

static void answer(const char *data, size_t size) {
  /* Static: what changes between setjmp and longjmp must not live in registers. */
  static lw_out out;
  static lw_json json;
  out.size = 0;
  if (lw_parse(&json, data, size)) {
    lw_put(&out, "{\"id\":null,");
    snprintf(kind, sizeof kind, "protocol");
    snprintf(message, sizeof message, "the request is no JSON");
    put_failure(&out);
    lw_send(&out);
    exit(1);
  }
  int id = lw_member(&json, 0, "id");
  lw_put(&out, "{\"id\":%.*s,", id < 0 ? 4 : json.nodes[id].length, id < 0 ? "null" : json.nodes[id].text);
  static size_t begun;
  begun = out.size;
  if (!setjmp(failed)) {
    lw_put(&out, "\"ok\":");
    lw_step(&json, lw_member(&json, 0, "step"), &out);
    lw_put(&out, "}");
  } else {
    out.size = begun;
    put_failure(&out);
  }
  if (lw_send(&out)) {
    out.size = begun;
    snprintf(kind, sizeof kind, "protocol");
    snprintf(message, sizeof message, "the answer is too long to be sent");
    put_failure(&out);
    lw_send(&out);
  }
  free(json.nodes);
}

int main(void) {
  struct rlimit none = {0, 0};
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* its shell is gone when the link is */
  setrlimit(RLIMIT_CORE, &none);
  lw_out hello = {0};
  lw_put(&hello, "{\"protocol\":1,\"pid\":%ld,\"agent_sha256\":\"%s\"}", (long)getpid(), lw_digest);
  if (lw_send(&hello)) return 1;
  free(hello.data);
  for (size_t size;;) {
    char *data = lw_receive(&size);
    if (!data) return 0;
    answer(data, size);
    free(data);
  }
}
