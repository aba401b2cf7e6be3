/* The threads that parallel kernels run on, and what kernels ask of TVM's runtime.
 *
 * The threads are made once and live as long as the process. Between two launches they
 * spin for a moment, so that the kernels of one inference find them awake, and then sleep,
 * so that they cost nothing while nothing is measured. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent.h"

enum { SPINS = 20000 };

typedef struct { void *handle; int32_t tasks; } environment;
typedef int (*parallel)(int task, environment *env, void *data);

static struct {
  int threads; /* the caller included */
  pthread_mutex_t lock;
  pthread_cond_t wake;
  atomic_uint launch;  /* number of the current launch */
  atomic_int next, left, failed;
  atomic_int arrived;
  atomic_uint barrier;
  parallel task;
  void *data;
  environment env;
} pool = {.threads = 1, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void work(int task) {
  if (pool.task(task, &pool.env, pool.data)) atomic_store(&pool.failed, 1);
  atomic_fetch_sub_explicit(&pool.left, 1, memory_order_release);
}

static void *thread(void *number) {
  int task = (int)(intptr_t)number;
  for (unsigned seen = 0;;) {
    for (int spins = 0; spins < SPINS && atomic_load(&pool.launch) == seen; spins++)
#if defined(__aarch64__) || defined(__arm__)
      __asm__ volatile("yield");
#else
      __asm__ volatile("");
#endif
    if (atomic_load(&pool.launch) == seen) {
      pthread_mutex_lock(&pool.lock);
      while (atomic_load(&pool.launch) == seen) pthread_cond_wait(&pool.wake, &pool.lock);
      pthread_mutex_unlock(&pool.lock);
    }
    seen = atomic_load(&pool.launch);
    if (task < pool.env.tasks) work(task);
    else atomic_fetch_sub_explicit(&pool.left, 1, memory_order_release);
  }
  return NULL;
}

void lw_pool_start(int threads) {
  for (; pool.threads < threads; pool.threads++) {
    pthread_t made;
    if (pthread_create(&made, NULL, thread, (void *)(intptr_t)pool.threads))
      lw_fail("memory", "cannot start %d threads", threads);
    pthread_detach(made);
  }
}

/* Every thread is waited for in every launch, also those without a task: a late one could
 * otherwise take part in the next. */
static int launch(parallel task, void *data, int tasks) {
  if (tasks <= 0 || tasks > pool.threads) tasks = pool.threads;
  pool.task = task, pool.data = data, pool.env = (environment){NULL, tasks};
  atomic_store(&pool.failed, 0);
  atomic_store(&pool.arrived, 0);
  atomic_store(&pool.left, pool.threads);
  if (pool.threads > 1) {
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.launch, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
  }
  work(0);
  for (int spins = 0; atomic_load_explicit(&pool.left, memory_order_acquire) > 0; spins++)
    if (spins > SPINS) sched_yield();
  return atomic_load(&pool.failed) ? -1 : 0;
}

static int barrier(int task, environment *env) {
  (void)task;
  unsigned now = atomic_load(&pool.barrier);
  if (atomic_fetch_add(&pool.arrived, 1) + 1 == env->tasks) {
    atomic_store(&pool.arrived, 0);
    atomic_fetch_add(&pool.barrier, 1);
    return 0;
  }
  for (int spins = 0; atomic_load(&pool.barrier) == now; spins++)
    if (spins > SPINS) sched_yield();
  return 0;
}

static void *allocate(int type, int id, uint64_t size, int code, int bits) {
  void *found = NULL;
  (void)type, (void)id, (void)code, (void)bits;
  return posix_memalign(&found, 64, size ? size : 1) ? NULL : found;
}

static int release(int type, int id, void *pointer) {
  (void)type, (void)id;
  free(pointer);
  return 0;
}

/* Kernels reach these through weak pointers that TVM's loader would set. */
void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int) = allocate;
int (*__TVMBackendFreeWorkspace)(int, int, void *) = release;
int (*__TVMBackendParallelLaunch)(parallel, void *, int) = launch;
int (*__TVMBackendParallelBarrier)(int, environment *) = barrier;

void TVMFFIErrorSetRaisedFromCStrParts(const char *kind, const char **parts, int32_t count) {
  fprintf(stderr, "%s: ", kind);
  for (int32_t i = 0; i < count; i++) fputs(parts[i] ? parts[i] : "", stderr);
  fputc('\n', stderr);
}
