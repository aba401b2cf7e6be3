/* Reading JSON into a table of nodes. Texts stay where they are, escapes untouched: names
 * are only compared with, and sent back as, what the same host wrote. */
#include <stdlib.h>
#include <string.h>

#include "agent.h"

typedef struct { const char *at, *end; lw_json *json; int room, depth; } reader;

static int value(reader *r);

static void skip(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r')) r->at++;
}

static int add(reader *r, char kind, const char *text) {
  if (r->json->count == r->room) {
    r->room = r->room ? 2 * r->room : 256;
    lw_node *grown = realloc(r->json->nodes, (size_t)r->room * sizeof *grown);
    if (!grown) return -1;
    r->json->nodes = grown;
  }
  r->json->nodes[r->json->count] = (lw_node){kind, text, 0, -1, -1};
  return r->json->count++;
}

static int string(reader *r) {
  int node = add(r, '"', ++r->at);
  if (node < 0) return -1;
  while (r->at < r->end && *r->at != '"') r->at += *r->at == '\\' ? 2 : 1;
  if (r->at >= r->end) return -1;
  r->json->nodes[node].length = (int)(r->at++ - r->json->nodes[node].text);
  return node;
}

/* The members of an object are its keys and values in turn. */
static int many(reader *r, char kind, char close) {
  int node = add(r, kind, r->at++), last = -1;
  if (node < 0 || ++r->depth > 64) return -1;
  for (skip(r); r->at < r->end && *r->at != close; skip(r)) {
    if (last >= 0) {
      char expected = ',';
      if (kind == '{' && r->json->nodes[last].kind == 'k') expected = ':';
      if (*r->at++ != expected) return -1;
      skip(r);
      if (r->at >= r->end) return -1;
    }
    int key = kind == '{' && (last < 0 || r->json->nodes[last].kind != 'k');
    if (key && *r->at != '"') return -1;
    int next = key ? string(r) : value(r);
    if (next < 0) return -1;
    if (key) r->json->nodes[next].kind = 'k';
    if (last < 0) r->json->nodes[node].child = next;
    else r->json->nodes[last].next = next;
    last = next;
  }
  if (r->at >= r->end || (last >= 0 && r->json->nodes[last].kind == 'k')) return -1;
  r->at++, r->depth--;
  return node;
}

static int value(reader *r) {
  skip(r);
  if (r->at >= r->end) return -1;
  if (*r->at == '{') return many(r, '{', '}');
  if (*r->at == '[') return many(r, '[', ']');
  if (*r->at == '"') return string(r);
  int node = add(r, *r->at, r->at);
  if (node < 0) return -1;
  const char *start = r->at;
  while (r->at < r->end && !strchr(",]}: \n\t\r", *r->at)) r->at++;
  if (r->at == start) return -1;
  r->json->nodes[node].length = (int)(r->at - start);
  return node;
}

int lw_parse(lw_json *json, const char *text, size_t size) {
  reader r = {text, text + size, json, 0, 0};
  *json = (lw_json){NULL, 0};
  int root = value(&r);
  skip(&r);
  return root == 0 && r.at == r.end && json->nodes[0].kind == '{' ? 0 : -1;
}

int lw_is(const lw_json *json, int node, const char *text) {
  return node >= 0 && (size_t)json->nodes[node].length == strlen(text) &&
         !memcmp(json->nodes[node].text, text, strlen(text));
}

int lw_member(const lw_json *json, int object, const char *key) {
  if (object < 0 || json->nodes[object].kind != '{') return -1;
  for (int k = json->nodes[object].child; k >= 0;) {
    int found = json->nodes[k].next;
    if (lw_is(json, k, key)) return json->nodes[found].kind == 'n' ? -1 : found;
    k = json->nodes[found].next;
  }
  return -1;
}

double lw_number(const lw_json *json, int object, const char *key, double otherwise) {
  int node = lw_member(json, object, key);
  if (node < 0) return otherwise;
  char copy[64] = "", *end = copy;
  if (json->nodes[node].length < (int)sizeof copy)
    memcpy(copy, json->nodes[node].text, (size_t)json->nodes[node].length);
  double found = strtod(copy, &end);
  if (end == copy || *end || found != found) lw_fail("request", "%s is no number", key);
  return found;
}

char *lw_text(const lw_json *json, int object, const char *key) {
  int node = lw_member(json, object, key);
  if (node < 0) return NULL;
  const lw_node *found = &json->nodes[node];
  if (found->kind != '"') lw_fail("request", "%s is no text", key);
  char *copy = calloc(1, (size_t)found->length + 1), *to = copy;
  if (!copy) lw_fail("memory", "out of memory");
  for (int i = 0; i < found->length; i++) {
    if (found->text[i] == '\\') i++; /* paths are plain; only a quote or backslash can follow */
    *to++ = found->text[i];
  }
  return copy;
}
