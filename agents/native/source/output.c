/* Text that grows, and frames: a little-endian length of 32 bits, then that many bytes. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

enum { MOST = 64 << 20 };

static void reserve(lw_out *out, size_t more) {
  if (out->size + more <= out->room) return;
  size_t room = 2 * (out->size + more) + 4096;
  char *grown = realloc(out->data, room);
  if (!grown) lw_fail("memory", "out of memory");
  out->data = grown, out->room = room;
}

void lw_put_bytes(lw_out *out, const char *data, size_t size) {
  reserve(out, size);
  memcpy(out->data + out->size, data, size);
  out->size += size;
}

void lw_put(lw_out *out, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char text[512];
  int size = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (size < 0 || (size_t)size >= sizeof text) lw_fail("internal", "a text is too long");
  lw_put_bytes(out, text, (size_t)size);
}

void lw_put_quoted(lw_out *out, const char *data, size_t size) {
  lw_put_bytes(out, "\"", 1);
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)data[i];
    if (c == '"' || c == '\\') lw_put(out, "\\%c", c);
    else if (c < 0x20 || c >= 0x7f) lw_put(out, "\\u%04x", c);
    else lw_put_bytes(out, data + i, 1);
  }
  lw_put_bytes(out, "\"", 1);
}

void lw_put_list(lw_out *out, const uint64_t *values, size_t count) {
  for (size_t i = 0; i < count; i++)
    lw_put(out, "%s%llu", i ? "," : "[", (unsigned long long)values[i]);
  lw_put(out, count ? "]" : "[]");
}

int lw_send(lw_out *out) {
  if (out->size > MOST) return -1;
  uint32_t size = (uint32_t)out->size;
  unsigned char head[4] = {size, size >> 8, size >> 16, size >> 24};
  for (size_t part = 0; part < 2; part++) {
    const char *at = part ? out->data : (const char *)head;
    for (size_t left = part ? out->size : 4; left;) {
      ssize_t written = write(1, at, left);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) _exit(0); /* nobody listens any more */
      at += written, left -= (size_t)written;
    }
  }
  return 0;
}

static int fill(void *to, size_t size) {
  for (char *at = to; size;) {
    ssize_t got = read(0, at, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return -1;
    at += got, size -= (size_t)got;
  }
  return 0;
}

char *lw_receive(size_t *size) {
  unsigned char head[4];
  if (fill(head, 4)) return NULL;
  *size = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
  char *data = *size <= MOST ? malloc(*size + 1) : NULL;
  if (!data || fill(data, *size)) return NULL;
  data[*size] = 0;
  return data;
}
