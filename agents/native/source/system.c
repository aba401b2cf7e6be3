/* What the agent reads of the system it runs on. Interpreting it is the host's business. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

enum { MOST_BYTES = 256 << 10, MOST_FILES = 4096 };

uint64_t lw_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static size_t read_file(const char *path, char *data, size_t room) {
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  size_t size = 0;
  if (file < 0) return 0;
  for (ssize_t got; size < room && (got = read(file, data + size, room - size)) > 0;)
    size += (size_t)got;
  close(file);
  return size;
}

/* Only descriptions of the system: a host that is confused cannot read a user's files. */
static int readable(const char *path) {
  return (!strncmp(path, "/proc/", 6) || !strncmp(path, "/sys/", 5)) && !strstr(path, "..");
}

void lw_read_files(lw_out *out, const lw_json *json, int patterns) {
  static char data[MOST_BYTES];
  int files = 0;
  lw_put(out, "{");
  for (int n = json->nodes[patterns].child; n >= 0; n = json->nodes[n].next) {
    char pattern[256];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%.*s", json->nodes[n].length, json->nodes[n].text);
    if (!readable(pattern)) lw_fail("request", "only /proc and /sys are read");
    if (glob(pattern, 0, NULL, &found)) continue;
    for (size_t i = 0; i < found.gl_pathc && files < MOST_FILES; i++) {
      size_t size = read_file(found.gl_pathv[i], data, sizeof data);
      if (!size) continue;
      if (files++) lw_put(out, ",");
      lw_put_quoted(out, found.gl_pathv[i], strlen(found.gl_pathv[i]));
      lw_put(out, ":");
      lw_put_quoted(out, data, size);
    }
    globfree(&found);
  }
  lw_put(out, "}");
}

static void put_kilobytes(lw_out *out, const char *text, const char *line, const char *name) {
  const char *found = strstr(text, line);
  if (found)
    lw_put(out, ",\"%s\":%llu", name, 1024 * strtoull(found + strlen(line), NULL, 10));
}

void lw_usage(lw_out *out) {
  char text[8192];
  struct rusage used;
  struct timespec cpu;
  text[read_file("/proc/self/status", text, sizeof text - 1)] = 0;
  getrusage(RUSAGE_SELF, &used);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  lw_put(out, "{\"cpu_s\":%.9f", (double)cpu.tv_sec + 1e-9 * (double)cpu.tv_nsec);
  lw_put(out, ",\"major_faults\":%ld,\"voluntary_switches\":%ld,\"nonvoluntary_switches\":%ld",
         used.ru_majflt, used.ru_nvcsw, used.ru_nivcsw);
  put_kilobytes(out, text, "VmRSS:", "rss_bytes");
  put_kilobytes(out, text, "VmHWM:", "rss_peak_bytes");
  put_kilobytes(out, text, "RssAnon:", "rss_anon_bytes");
  put_kilobytes(out, text, "VmSwap:", "swap_bytes");
  lw_put(out, "}");
}

void lw_reset_peak(void) {
  int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  if (write(file, "5", 1) < 0) { /* the peak then includes what came before the model */ }
  close(file);
}

/* Processor time over the windows in which inferences are timed. */
typedef struct { double wall, own, busy, steal, capacity; int known; } reading;
static reading opened, total;
static int windows, is_open;

static reading take(void) {
  char text[512];
  struct timespec cpu;
  unsigned long long t[8] = {0};
  reading now = {.wall = 1e-9 * (double)lw_now()};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  now.own = (double)cpu.tv_sec + 1e-9 * (double)cpu.tv_nsec;
  text[read_file("/proc/stat", text, sizeof text - 1)] = 0;
  now.known = sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", t, t + 1, t + 2, t + 3,
                     t + 4, t + 5, t + 6, t + 7) == 8;
  double hertz = (double)sysconf(_SC_CLK_TCK);
  now.busy = (double)(t[0] + t[1] + t[2] + t[5] + t[6]) / hertz;
  now.steal = (double)t[7] / hertz;
  for (int i = 0; i < 8; i++) now.capacity += (double)t[i] / hertz;
  return now;
}

void lw_watch(int begins) {
  if (begins == is_open) return;
  reading now = take();
  is_open = begins;
  if (begins) {
    opened = now;
    return;
  }
  total.known = (windows++ == 0 || total.known) && opened.known && now.known;
  total.wall += now.wall - opened.wall, total.own += now.own - opened.own;
  total.busy += now.busy - opened.busy, total.steal += now.steal - opened.steal;
  total.capacity += now.capacity - opened.capacity;
}

void lw_watched(lw_out *out) {
  lw_put(out, "{\"windows\":%d,\"window_s\":%.9f,\"own_s\":%.9f", windows, total.wall, total.own);
  if (windows && total.known)
    lw_put(out, ",\"busy_s\":%.9f,\"steal_s\":%.9f,\"capacity_s\":%.9f", total.busy, total.steal,
           total.capacity);
  lw_put(out, "}");
}
