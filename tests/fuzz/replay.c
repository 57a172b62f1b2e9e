/* Stands in for libFuzzer: feeds each file of the given folders to the target once. */
#include <dirent.h>
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

static void replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");

    if (!file || fseek(file, 0, SEEK_END) != 0)
        err(1, "%s", path);

    long size = ftell(file);
    /* Of exactly this size, so that a sanitizer sees a read past the end. */
    uint8_t *data = size > 0 ? malloc((size_t)size) : NULL;

    rewind(file);
    if (size < 0 || (size > 0 && (!data || fread(data, 1, (size_t)size, file) != (size_t)size)))
        err(1, "%s", path);
    fclose(file);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
}

static size_t replay_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    size_t n = 0;

    if (!dir)
        err(1, "%s", folder);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char path[4096];

        if (entry->d_name[0] == '.')
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) >= (int)sizeof(path))
            errx(1, "%s: the path is too long", entry->d_name);
        replay_file(path);
        n++;
    }
    closedir(dir);
    return n;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (replay_folder(argv[i]) == 0)
            errx(1, "%s: no file to replay", argv[i]);
    }
    return 0;
}
