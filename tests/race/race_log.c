/* Many threads log at once: every line arrives whole, and none is lost. */
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/log.h"

#define THREADS 4
#define LINES_EACH 500

static void *log_lines(void *thread)
{
    for (int64_t i = 0; i < LINES_EACH; i++)
        sp_log(SP_INFO, "race", sp_s("text", "quoted \"text\" of some length"), sp_i("line", i),
               sp_i("thread", *(const int64_t *)thread));
    return NULL;
}

/* stderr is the pipe under test, so complaints go to stdout. */
static void fail(const char *what, const char *line)
{
    printf("%s: %s\n", what, line);
    exit(1);
}

static void check_line(const char *line, int64_t *next)
{
    const char *text = strstr(line, "\"event\":");
    long i = -1, thread = -1;
    int end = 0;

    if (!text)
        fail("a broken line", line);
    sscanf(text,
           "\"event\":\"race\",\"text\":\"quoted \\\"text\\\" of some length\","
           "\"line\":%ld,\"thread\":%ld}%n",
           &i, &thread, &end);
    if (end == 0 || text[end] != '\n' || thread < 0 || thread >= THREADS)
        fail("a broken line", line);
    if (next[thread]++ != i)
        fail("a line out of order", line);
}

static void *read_lines(void *stream)
{
    int64_t next[THREADS] = {0};
    char line[4096];

    for (int i = 0; i < THREADS * LINES_EACH; i++) {
        if (!fgets(line, sizeof(line), stream))
            fail("a line is missing", "end of the pipe");
        check_line(line, next);
    }
    return NULL;
}

int main(void)
{
    pthread_t reader, writers[THREADS];
    int64_t numbers[THREADS];
    int ends[2];

    if (pipe(ends) != 0 || dup2(ends[1], STDERR_FILENO) < 0)
        err(1, "pipe");

    FILE *stream = fdopen(ends[0], "r");

    if (!stream || pthread_create(&reader, NULL, read_lines, stream) != 0)
        err(1, "reader");
    for (size_t i = 0; i < THREADS; i++) {
        numbers[i] = (int64_t)i;
        if (pthread_create(&writers[i], NULL, log_lines, &numbers[i]) != 0)
            err(1, "writer");
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(writers[i], NULL);
    pthread_join(reader, NULL);
    fclose(stream);
    return 0;
}
