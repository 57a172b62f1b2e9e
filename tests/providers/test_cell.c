/* What is sent to a kernel, executed by an imitation of one for each language: global names that
 * live on, a loop that runs already. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "providers/cell.h"
#include "tests/providers/wrapper_run.h"
#include "tests/support.h"

static const char python_kernel[] =
    "import asyncio, os, sys\n"
    "async def serve(space):\n"
    "    for name in sys.argv[1:]:\n"
    "        exec(compile(open(name).read(), name, 'exec'), space)\n"
    "        os.write(1, b'\\n-- cell\\n')\n"
    "space = vars(sys.modules['__main__'])\n"
    "asyncio.run(serve(space))\n";

static const char javascript_kernel[] =
    "const vm = require('vm'), fs = require('fs');\n"
    "globalThis.require = require;\n"
    "(async () => { for (const name of process.argv.slice(2)) {\n"
    "  await vm.runInThisContext(fs.readFileSync(name, 'utf8'), {filename: name});\n"
    "  console.log('\\n-- cell');\n"
    "} process.exit(0); })();\n";

#define CELL_END "\n-- cell\n"

/* One program after the other in one kernel. */
struct program {
    const char *code, *arguments;
    const char *out;   /* all of stdout */
    const char *value; /* NULL: none */
    int exit_code;
    const char *warning; /* NULL: none */
    bool strict;
};

static const struct kernel_case {
    const char *name;
    enum sp_language language;
    struct program programs[2];
    const char *err; /* part of stderr; NULL: it is empty */
} cases[] = {
    {"a plain script", SP_PYTHON, {{"print('one')\nprint('two')", .out = "one\ntwo\n"}}, NULL},
    {"output without an end of line",
     SP_PYTHON,
     {{"print('one', end='')\ndef main(): return 1", .out = "one", .value = "1"}},
     NULL},
    {"main with arguments, exactly",
     SP_PYTHON,
     {{"def main(n, s): return {'n': n + 1, 's': s}",
       "{\"n\":1180591620717411303424,\"s\":\"\xC3\xA9\"}", .out = "",
       .value = "{\"n\": 1180591620717411303425, \"s\": \"\xC3\xA9\"}"}},
     NULL},
    {"main that is awaited while the kernel's loop runs",
     SP_PYTHON,
     {{"import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    return [1]", .out = "",
       .value = "[1]"}},
     NULL},
    {"names live on, an earlier main does not",
     SP_PYTHON,
     {{"kept = 41\ndef main(): return kept", .out = "", .value = "41"},
      {"print(f'{kept + 1}')\nif False:\n    def main(): pass", .out = "42\n"}},
     NULL},
    {"a program with a main is called main, others are __main__",
     SP_PYTHON,
     {{"name = __name__\ndef main(): return name", .out = "", .value = "\"main\""},
      {"print(__name__)", .out = "__main__\n"}},
     NULL},
    {"an error is shown as Python would, with the program's frames alone",
     SP_PYTHON,
     {{"def main():\n    raise ValueError('no')", .out = "", .exit_code = 1}},
     "line 2, in main\n    raise ValueError('no')\nValueError: no\n"},
    {"a syntax error", SP_PYTHON, {{"def main(:", .out = "", .exit_code = 1}}, "SyntaxError"},
    {"sys.exit", SP_PYTHON, {{"import sys\nsys.exit(3)", .out = "", .exit_code = 3}}, NULL},
    {"sys.exit with a text",
     SP_PYTHON,
     {{"import sys\nsys.exit('bye')", .out = "", .exit_code = 1}},
     "bye\n"},
    {"arguments without a main",
     SP_PYTHON,
     {{"print(1)", "{\"a\":1}", .out = "1\n",
       .warning = "arguments were given, but the program defines no main"}},
     NULL},
    {"NaN",
     SP_PYTHON,
     {{"def main(): return [float('nan')]", .out = "", .value = "[null]",
       .warning = "NaN and infinite numbers in the value became null"}},
     NULL},
    {"a program that closes its output, or replaces it",
     SP_PYTHON,
     {{"import sys\nprint(1)\nsys.stdout.close()\nsys.stderr.close()\ndef main(): return 1",
       .out = "1\n", .value = "1"},
      {"import sys, io\nsys.stdout.write = lambda text: None\nsys.stdout = io.StringIO()\n"
       "sys.stderr = None\nsys.exit(4)",
       .out = "", .exit_code = 4}},
     NULL},
    {"output comes back for the next program",
     SP_PYTHON,
     {{"import sys, io\nsys.stdout = io.StringIO()\nprint(1)", .out = ""},
      {"print(2)", .out = "2\n"}},
     NULL},
    {"a program that takes the interpreter apart",
     SP_PYTHON,
     {{"import builtins, sys\nfor name in ('base64', 'json', 're', 'traceback', 'time', 'os'):\n"
       "    sys.modules[name] = None\n"
       "for name in ('print', 'open', 'callable', '__import__'):\n"
       "    setattr(builtins, name, None)\n"
       "def main(): return {'a': 1}",
       .out = "", .value = "{\"a\": 1}"}},
     NULL},
    {"the next program starts where the first one did",
     SP_PYTHON,
     {{"import os\nos.mkdir('aside')\nos.chdir('aside')", .out = ""},
      {"import os\nprint(os.path.basename(os.getcwd()), open('data/x.txt').read())",
       .out = "work x\n"}},
     NULL},
    {"a loop of the program's own, beside the kernel's",
     SP_PYTHON,
     {{"import asyncio\nasync def go():\n    await asyncio.sleep(0)\n    print('gone')\n"
       "asyncio.run(go())\nasync def main(): return asyncio.current_task() is not None",
       .out = "gone\n", .value = "true"},
      {"import asyncio\nloop = asyncio.get_event_loop()\n"
       "print(loop.run_until_complete(asyncio.sleep(0, 'done')))",
       .out = "done\n"}},
     NULL},
    {"threads are waited for",
     SP_PYTHON,
     {{"import threading, time\ndef late():\n    time.sleep(0.2)\n    print('late')\n"
       "threading.Thread(target=late).start()\n"
       "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
       "def main(): return 1",
       .out = "late\n", .value = "1"},
      {"threading.Thread(target=late).start()\nraise SystemExit(3)", .out = "late\n",
       .exit_code = 3}},
     NULL},
    {"what is left for the end of the process",
     SP_PYTHON,
     {{"import atexit\natexit.register(print, 'last')\natexit.register(print, 'first')\n"
       "atexit.register(len)\natexit.register(exit)\natexit.unregister(exit)\n"
       "print('now')\ndef main(): return 1",
       .out = "now\nfirst\nlast\n", .value = "1"},
      {"print('then')", .out = "then\n"}},
     "TypeError: len() takes exactly one argument"},
    {"processes are waited for",
     SP_PYTHON,
     {{"import multiprocessing, time\ndef late():\n    time.sleep(0.2)\n"
       "    print('late', flush=True)\n"
       "multiprocessing.get_context('fork').Process(target=late).start()",
       .out = "late\n"}},
     NULL},
    {"a pool of threads that was not shut down",
     SP_PYTHON,
     {{"import time\nfrom concurrent.futures import ThreadPoolExecutor\n"
       "pool = ThreadPoolExecutor(2)\n"
       "jobs = [pool.submit(lambda n=n: (time.sleep(0.1), print(n))) for n in range(1)]",
       .out = "0\n"},
      {"with ThreadPoolExecutor(2) as other:\n    print(list(other.map(str, [1, 2])))",
       .out = "['1', '2']\n"}},
     NULL},
    {"exit() where it is IPython's",
     SP_PYTHON,
     {{"class Later:\n    def __call__(self): pass\n"
       "Later.__module__ = 'IPython.core.autocall'\nexit = Later()",
       .out = ""},
      {"exit(3)", .out = "", .exit_code = 3}},
     NULL},
    {"the working folder has artifacts and the program's file",
     SP_PYTHON,
     {{"import os\nprint(sorted(os.listdir()), os.path.basename(__file__))",
       .out = "['artifacts', 'data', 'main.py'] main.py\n"}},
     NULL},
    {"a plain script", SP_JAVASCRIPT, {{"console.log('one')", .out = "one\n"}}, NULL},
    {"a plain script ends when nothing is left to do",
     SP_JAVASCRIPT,
     {{"setTimeout(() => console.log('late'), 30)", .out = "late\n"}},
     NULL},
    {"main with arguments",
     SP_JAVASCRIPT,
     {{"const main = async ({a}) => ({a})", "{\"a\":[1,null]}", .out = "",
       .value = "{\"a\":[1,null]}"}},
     NULL},
    {"main among the exports",
     SP_JAVASCRIPT,
     {{"module.exports = { main: () => 'm' }", .out = "", .value = "\"m\""},
      {"exports.main = () => 2", .out = "", .value = "2"}},
     NULL},
    {"an ES module",
     SP_JAVASCRIPT,
     {{"import os from 'os';\nexport const main = () => typeof os.cpus;", .out = "",
       .value = "\"function\""}},
     NULL},
    {"names live on",
     SP_JAVASCRIPT,
     {{"var kept = 41", .out = ""}, {"console.log(kept + 1)", .out = "42\n"}},
     NULL},
    {"a return at the top level",
     SP_JAVASCRIPT,
     {{"console.log(1); return; console.log(2)", .out = "1\n"}},
     NULL},
    {"undefined is no value", SP_JAVASCRIPT, {{"function main() {}", .out = ""}}, NULL},
    {"undefined is an error where that was asked for",
     SP_JAVASCRIPT,
     {{"function main() {}", .out = "", .exit_code = 1, .strict = true}},
     "strict_result"},
    {"an error",
     SP_JAVASCRIPT,
     {{"function main() { throw new TypeError('no') }", .out = "", .exit_code = 1}},
     "/main.js:1:25)"},
    {"an error in a callback",
     SP_JAVASCRIPT,
     {{"setTimeout(() => { throw new Error('late') }, 1)", .out = "", .exit_code = 1}},
     "Error: late"},
    {"process.exit", SP_JAVASCRIPT, {{"process.exit(3)", .out = "", .exit_code = 3}}, NULL},
    {"process.exitCode",
     SP_JAVASCRIPT,
     {{"process.exitCode = 4", .out = "", .exit_code = 4}, {"1", .out = ""}},
     NULL},
    {"a program that replaces its output",
     SP_JAVASCRIPT,
     {{"process.stdout.write = () => true; console.log = () => {};\n"
       "const main = () => 1",
       .out = "", .value = "1"},
      {"process.stdout.write('2\\n')", .out = "2\n"}},
     NULL},
    {"the next program starts where the first one did",
     SP_JAVASCRIPT,
     {{"require('fs').mkdirSync('aside'); process.chdir('aside')", .out = ""},
      {"console.log(require('path').basename(process.cwd()))", .out = "work\n"}},
     NULL},
    {"a syntax error", SP_JAVASCRIPT, {{"function (", .out = "", .exit_code = 1}}, "SyntaxError"},
};

static void write_cell(const char *folder, const char *name, const struct kernel_case *c,
                       const struct program *p, struct sp_cell *cell)
{
    sp_auto(sp_buf_clear) struct sp_buf text = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    static char data[] = "x", data_name[] = "data/x.txt";
    struct sp_file file = {.name = data_name, .data = data, .len = 1};
    const struct sp_request req = {.language = c->language,
                                   .code = (char *)(uintptr_t)p->code,
                                   .code_len = strlen(p->code),
                                   .arguments = (char *)(uintptr_t)p->arguments,
                                   .arguments_len = p->arguments ? strlen(p->arguments) : 0,
                                   .files = &file,
                                   .n_files = 1,
                                   .strict_result = p->strict};

    cr_assert(eq(int, sp_cell_write(cell, &req, &text, NULL), SP_OK));
    run_write(folder, name, text.data, text.len);
}

static void read_file(const char *folder, const char *name, struct sp_buf *out)
{
    char path[256], piece[4096];
    size_t n;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL);
    while ((n = fread(piece, 1, sizeof(piece), file)) > 0)
        cr_assert(eq(int, sp_buf_add(out, piece, n), SP_OK));
    fclose(file);
}

static void start_kernel(const struct kernel_case *c, const char *folder)
{
    static const char *const kernels[] = {
        [SP_PYTHON] = python_kernel, [SP_JAVASCRIPT] = javascript_kernel};
    char command[512];
    run_write(folder, "kernel", kernels[c->language], strlen(kernels[c->language]));
    snprintf(command, sizeof(command),
             "mkdir %s/work && cd %s/work && %s ../kernel ../cell0 %s >../out 2>../err", folder,
             folder, run_interpreter(c->language), c->programs[1].code ? "../cell1" : "");
    cr_assert(eq(int, system(command), 0), "%s", c->name);
}

static void expect_result(const struct kernel_case *c, const struct program *p,
                          const struct sp_cell *cell, struct sp_buf *out)
{
    sp_auto(sp_result_clear) struct sp_result result = {0};
    struct sp_error err = {0};
    bool ended = false;

    cr_assert(eq(int, sp_cell_read(cell, out, &result, &ended, &err), SP_OK), "%s: %s", c->name,
              err.msg);

    cr_expect(ended, "%s: no marker in: %s", c->name, sp_buf_str(out));
    cr_expect(eq(str, (char *)(uintptr_t)sp_buf_str(out), (char *)(uintptr_t)p->out), "%s",
              c->name);
    cr_expect(eq(int, result.exit_code, p->exit_code), "%s", c->name);
    cr_expect(0 < result.execution_us, "%s", c->name);
    cr_expect(eq(int, result.result_present, p->value != NULL), "%s", c->name);
    if (p->value && result.result_present) {
        cr_expect(eq(sz, result.result_value_len, strlen(p->value)), "%s", c->name);
        cr_expect(strncmp(result.result_value, p->value, result.result_value_len) == 0, "%s: %.*s",
                  c->name, (int)result.result_value_len, result.result_value);
    }
    cr_expect(eq(str, result.warning ? result.warning : (char[]){""},
                 (char *)(uintptr_t)(p->warning ? p->warning : "")),
              "%s", c->name);
}

SP_TABLE_TEST(cell, a_program_runs_in_a_kernel_as_anywhere, cases, c)
{
    char folder[] = "/tmp/sandpiper-cell-XXXXXX";
    struct sp_cell cells[2];
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf err = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    cr_assert(mkdtemp(folder) != NULL);
    for (size_t i = 0; i < 2 && c->programs[i].code; i++)
        write_cell(folder, i ? "cell1" : "cell0", c, &c->programs[i], &cells[i]);

    start_kernel(c, folder);

    read_file(folder, "out", &out);
    read_file(folder, "err", &err);
    char *at = out.data;
    for (size_t i = 0; i < 2 && c->programs[i].code; i++) {
        sp_auto(sp_buf_clear) struct sp_buf part = SP_BUF_INIT(SP_BUF_UNBOUNDED);
        char *end = at ? strstr(at, CELL_END) : NULL;
        cr_assert(end != NULL, "%s: %s", c->name, sp_buf_str(&out));
        cr_assert(eq(int, sp_buf_add(&part, at, (size_t)(end - at)), SP_OK));
        expect_result(c, &c->programs[i], &cells[i], &part);
        at = end + strlen(CELL_END);
    }
    cr_expect(c->err ? strstr(sp_buf_str(&err), c->err) != NULL : err.len == 0, "%s: stderr: %s",
              c->name, sp_buf_str(&err));
    cr_expect(strstr(sp_buf_str(&err), "sandpiper_cell") == NULL, "%s: %s", c->name,
              sp_buf_str(&err));
    run_remove(folder);
}

Test(cell, output_without_a_marker_is_a_program_that_did_not_end)
{
    struct sp_cell cell = {.marker = "__RAGFLOW_RESULT_x__:"};
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_result_clear) struct sp_result result = {0};
    bool ended = true;
    cr_assert(eq(int, sp_buf_adds(&out, "text __RAGFLOW_RESULT_x__:e30="), SP_OK));

    cr_assert(eq(int, sp_cell_read(&cell, &out, &result, &ended, NULL), SP_OK));

    cr_expect(not(ended));
    cr_expect(eq(str, out.data, "text __RAGFLOW_RESULT_x__:e30="));
}
