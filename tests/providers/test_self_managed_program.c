/*
 * The text behind the program, under real interpreters and an imitation of the executor manager's
 * runner (reference ragflow 3.3), up to the answer that is read: what a program does must be what
 * it does elsewhere.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json_out.h"
#include "base/json_slice.h"
#include "base/text.h"
#include "providers/self_managed/answer.h"
#include "providers/self_managed/program.h"
#include "tests/support.h"

#define SUFFIX "0123456789abcdef"

/* Like the manager's: the program is a module beside it, whose main gets the arguments. */
static const char python_runner[] =
    "import base64, json, os, sys\n"
    "sys.path.insert(0, os.path.dirname(__file__))\n"
    "from main import main\n"
    "if __name__ == '__main__':\n"
    "    value = main(**json.load(open('args.json', encoding='utf-8')))\n"
    "    text = json.dumps({'present': True, 'value': value, 'type': 'json'}, ensure_ascii=False)\n"
    "    print('__RAGFLOW_RESULT__:' + base64.b64encode(text.encode()).decode())\n";
static const char javascript_runner[] =
    "const loaded = require('./main.js');\n"
    "const main = typeof loaded === 'function' ? loaded : loaded.main;\n"
    "if (typeof main !== 'function') { console.error('no function'); process.exit(1); }\n"
    "const args = JSON.parse(require('fs').readFileSync('args.json', 'utf8'));\n"
    "Promise.resolve(main(args)).then((value) => {\n"
    "  if (value === undefined) { console.error('no value'); process.exit(1); }\n"
    "  const text = JSON.stringify({ present: true, value, type: 'json' });\n"
    "  console.log('__RAGFLOW_RESULT__:' + Buffer.from(text).toString('base64'));\n"
    "}).catch((error) => { console.error('Error in main:', error); process.exit(1); });\n";

/* How versions of the manager differ for JavaScript. */
static const char *const export_lines[] = {"\n\nmodule.exports = { main };", ""};

struct folder {
    char path[64];
};

static void folder_clear(struct folder *folder)
{
    static const char *const names[] = {"main.py", "main.js", "runner", "args.json", "out", "err"};
    char path[96];
    for (size_t i = 0; i < SP_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder->path, names[i]);
        unlink(path);
    }
    rmdir(folder->path);
}
SP_AUTO_CLEAR(struct folder, folder_clear)

static void put(const struct folder *folder, const char *name, const char *text, size_t len)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL && fwrite(text, 1, len, file) == len && fclose(file) == 0);
}

static void get(const struct folder *folder, const char *name, struct sp_buf *text)
{
    char path[96], piece[65536];
    snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL);
    for (size_t n; (n = fread(piece, 1, sizeof(piece), file)) > 0;)
        cr_assert(eq(int, sp_buf_add(text, piece, n), SP_OK));
    fclose(file);
}

/* What is sent for a program: the code, decoded, and the arguments as they stand there. */
static void make_sent(const struct sp_request *req, struct sp_buf *code, struct sp_buf *arguments)
{
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_value root, base64, object;

    cr_assert(eq(int, sp_program_body(req, SUFFIX, &body, NULL), SP_OK));
    cr_assert(eq(int, sp_json_scan(sp_buf_str(&body), body.len, &root, NULL), SP_OK));
    cr_assert(sp_json_get(&root, "code_b64", &base64) && sp_json_get(&root, "arguments", &object));
    cr_assert(eq(int, sp_base64_decode(base64.raw.data + 1, base64.raw.len - 2, code), SP_OK));
    cr_assert(eq(int, sp_buf_add(arguments, object.raw.data, object.raw.len), SP_OK));
}

static int run_interpreter(const struct folder *folder, bool python)
{
    static char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", NULL};
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        if (chdir(folder->path) != 0)
            _exit(126);
        dup2(open("/dev/null", O_RDONLY), 0);
        dup2(open("out", O_WRONLY | O_CREAT, 0600), 1);
        dup2(open("err", O_WRONLY | O_CREAT, 0600), 2);
        if (python)
            execle("/usr/bin/python3", "python", "-I", "-B", "runner", (char *)NULL, environment);
        else
            execle("/usr/bin/node", "nodejs", "runner", (char *)NULL, environment);
        _exit(127);
    }
    cr_assert(eq(int, waitpid(pid, &status, 0), pid));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The manager's answer: stdout of a failure is not in it, and its marker line goes. */
static void make_answer(const struct folder *folder, int exit_code, struct sp_buf *body)
{
    sp_auto(sp_buf_clear) struct sp_buf out = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf err = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    struct sp_json_out j = SP_JSON_OUT(body);

    get(folder, "out", &out);
    get(folder, "err", &err);
    sp_json_object(&j, NULL);
    sp_json_text(&j, "stdout", sp_buf_str(&out), exit_code == 0 ? out.len : 0);
    sp_json_text(&j, "stderr", sp_buf_str(&err), err.len);
    sp_json_int(&j, "exit_code", exit_code);
    sp_json_object_end(&j);
    cr_assert(eq(int, j.rc, SP_OK));
}

static void run_program(const struct sp_request *req, const char *export_line,
                        struct sp_result *result)
{
    static const struct sp_limits limits = {.output_bytes = 1 << 20};
    sp_auto(folder_clear) struct folder folder = {.path = "/tmp/sp-program-XXXXXX"};
    sp_auto(sp_buf_clear) struct sp_buf code = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf arguments = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf body = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    bool python = req->language == SP_PYTHON;
    const char *runner = python ? python_runner : javascript_runner;

    cr_assert(mkdtemp(folder.path) != NULL);
    make_sent(req, &code, &arguments);
    if (!python)
        cr_assert(eq(int, sp_buf_adds(&code, export_line), SP_OK));
    put(&folder, python ? "main.py" : "main.js", sp_buf_str(&code), code.len);
    put(&folder, "runner", runner, strlen(runner));
    put(&folder, "args.json", sp_buf_str(&arguments), arguments.len);
    int exit_code = run_interpreter(&folder, python);
    make_answer(&folder, exit_code, &body);
    const struct sp_service_answer answer = {
        .http = 200, .body = {sp_buf_str(&body), body.len}, .suffix = SUFFIX, .limits = &limits};
    cr_assert(eq(int, sp_service_answer_read(&answer, result, NULL), SP_OK));
}

struct program {
    const char *name, *code, *arguments; /* arguments: NULL for none */
    int exit_code;
    const char *out;
    const char *value;   /* NULL: none */
    const char *warning; /* NULL: none */
    const char *err;     /* part of stderr; NULL: nothing there */
    bool strict;
};

#define NO_MAIN "arguments were given, but the program defines no main"
#define NOT_FINITE "NaN and infinite numbers in the value became null"

static void check_program(enum sp_language language, const struct program *p,
                          const char *export_line)
{
    sp_auto(sp_result_clear) struct sp_result r = {0};
    sp_auto(sp_free_str) char *code = sp_strdup(p->code);
    sp_auto(sp_free_str) char *arguments = p->arguments ? sp_strdup(p->arguments) : NULL;
    const struct sp_request req = {.language = language,
                                   .code = code,
                                   .code_len = strlen(code),
                                   .arguments = arguments,
                                   .arguments_len = arguments ? strlen(arguments) : 0,
                                   .strict_result = p->strict};
    run_program(&req, export_line, &r);

    cr_expect(eq(int, r.exit_code, p->exit_code), "%s: %s", p->name, r.err.text);
    cr_expect(eq(str, r.out.text, (char *)p->out), "%s", p->name);
    cr_expect(eq(str, r.result_present ? r.result_value : "(none)",
                 (char *)(p->value ? p->value : "(none)")),
              "%s", p->name);
    cr_expect(
        eq(str, r.warning ? r.warning : "(none)", (char *)(p->warning ? p->warning : "(none)")),
        "%s", p->name);
    if (p->err)
        cr_expect(strstr(r.err.text, p->err) != NULL, "%s: %s", p->name, r.err.text);
    else
        cr_expect(eq(str, r.err.text, ""), "%s", p->name);
}

static const struct program python[] = {
    {.name = "a script", .code = "print('hi')", .out = "hi\n"},
    {.name = "no end of line", .code = "print('hi', end='')", .out = "hi"},
    {.name = "a comment at the end", .code = "print(1) # \\", .out = "1\n"},
    {.name = "an empty line of output", .code = "print()", .out = "\n"},
    {.name = "arguments for a script",
     .code = "x = 1",
     .arguments = "{\"a\":1}",
     .out = "",
     .warning = NO_MAIN},
    {.name = "a main that cannot be called", .code = "main = 5\nprint(main)", .out = "5\n"},
    {.name = "a main of a class only",
     .code = "class A:\n    def main(self):\n        return 1",
     .out = ""},
    {.name = "main",
     .code = "def main(a, b=2):\n    print(a)\n    return a + b",
     .arguments = "{\"a\":1}",
     .out = "1\n",
     .value = "3"},
    {.name = "a class is no main",
     .code = "class main:\n    pass\nprint(1)",
     .arguments = "{\"a\":1}",
     .out = "1\n",
     .warning = NO_MAIN},
    {.name = "a main of everything imported", .code = "from unittest import *", .out = ""},
    {.name = "a main bound while it runs",
     .code = "def f():\n    global main\n    def main():\n        return 1\nf()",
     .out = ""},
    {.name = "an attribute of what is called main",
     .code = "class main:\n    pass\nmain.x = 1\nfor main.y in [2]:\n    pass",
     .out = ""},
    {.name = "a main that was only announced",
     .code = "main: object\ndef f():\n    global main\n    main = len\nf()",
     .out = ""},
    {.name = "a main deep in other statements",
     .code = "import contextlib\n"
             "with contextlib.nullcontext():\n    try:\n        1 / 0\n"
             "    except ZeroDivisionError:\n        if 0:\n            pass\n        else:\n"
             "            [a, (b, *main)], main = [1, (2, 3)], lambda: 9",
     .out = "",
     .value = "9"},
    {.name = "a main that with binds",
     .code = "import contextlib\nwith contextlib.nullcontext(lambda: 4) as main:\n    pass",
     .out = "",
     .value = "4"},
    {.name = "a program too deep for a tree",
     .code = "def main():\n    return 1\nfrom sys import setrecursionlimit\n"
             "setrecursionlimit(40)",
     .out = "",
     .value = "1"},
    {.name = "warnings come once",
     .code = "import warnings\nwarnings.simplefilter('error', DeprecationWarning)\n"
             "def main():\n    return '\\d'",
     .out = "",
     .value = "\"\\\\d\""},
    {.name = "main as a lambda", .code = "main = lambda: 'x'", .out = "", .value = "\"x\""},
    {.name = "an imported main",
     .code = "from textwrap import dedent as main",
     .arguments = "{\"text\":\" a\"}",
     .out = "",
     .value = "\"a\""},
    {.name = "None", .code = "def main():\n    pass", .out = "", .value = "null"},
    {.name = "async",
     .code = "import importlib\nasync def main(n):\n"
             "    await importlib.import_module('asyncio').sleep(0)\n    return n",
     .arguments = "{\"n\":null}",
     .out = "",
     .value = "null"},
    {.name = "recursion is the program's own",
     .code = "def main(n=3):\n"
             "    return [main(n - 1)] if n else []",
     .out = "",
     .value = "[[[[]]]]"},
    {.name = "its own names",
     .code = "import json\nload = value = text = document = line = 7\n"
             "def main():\n    return [load, value, text, document, line]",
     .out = "",
     .value = "[7, 7, 7, 7, 7]"},
    {.name = "names of Python's own",
     .code = "any = callable = hasattr = vars = type = map = None\ndef main():\n    return 1",
     .out = "",
     .value = "1"},
    {.name = "closed output",
     .code = "import io\nfrom sys import stdout\nprint('a')\nstdout.close()\n"
             "def main():\n    return 1",
     .out = "a\n",
     .value = "1"},
    {.name = "no output",
     .code = "import importlib\nimportlib.import_module('sys').stdout = None",
     .out = ""},
    {.name = "values that serialisers change",
     .code = "def main():\n    return [2 ** n for n in (70,)], 1.10, 1e22, '\\ud800', 'é\\0', True",
     .out = "",
     .value = "[[1180591620717411303424], 1.1, 1e+22, \"\\ud800\", \"é\\u0000\", true]"},
    {.name = "NaN",
     .code = "def main():\n    return [float('nan'), -float('inf'), 'NaN \"NaN']",
     .out = "",
     .value = "[null, null, \"NaN \\\"NaN\"]",
     .warning = NOT_FINITE},
    {.name = "what JSON cannot carry",
     .code = "def main():\n    return {1}",
     .exit_code = 1,
     .out = "",
     .err = "TypeError: Object of type set is not JSON serializable"},
    {.name = "a surplus argument",
     .code = "def main():\n    return 1",
     .arguments = "{\"z\":1}",
     .exit_code = 1,
     .out = "",
     .err = "TypeError: main() got an unexpected keyword argument 'z'"},
    {.name = "an exception has its line",
     .code = "\n\ndef main():\n    1 / 0",
     .exit_code = 1,
     .out = "",
     .err = "main.py\", line 4, in main\n    1 / 0"},
    {.name = "an exception of a script",
     .code = "\nraise ValueError('boom')",
     .exit_code = 1,
     .out = "",
     .err = "main.py\", line 2, in <module>"},
    {.name = "exit in main",
     .code = "def main():\n    raise SystemExit(3)",
     .exit_code = 3,
     .out = ""},
    {.name = "exit 0 in main",
     .code = "def main():\n    print('x')\n    raise SystemExit",
     .out = "x\n"},
    {.name = "exit of a script",
     .code = "print('x')\nraise SystemExit(4)",
     .exit_code = 4,
     .out = ""},
    {.name = "its guard does not run",
     .code = "def main():\n    return 1\nif __name__ == '__main__':\n    print(main())",
     .out = "",
     .value = "1"},
    {.name = "a marker of the program's own",
     .code = "print('__RAGFLOW_RESULT__:eyJwcmVzZW50Ijp0cnVlLCJ2YWx1ZSI6N30=')",
     .out = "",
     .value = "7"},
    {.name = "redirected output",
     .code = "import io\nfrom contextlib import redirect_stdout\ndef main():\n"
             "    redirect_stdout(io.StringIO()).__enter__()\n    print('lost')\n    return 1",
     .out = "",
     .value = "1"},
    {.name = "from the future",
     .code = "from __future__ import annotations\n"
             "def main(a: Nothing = 1) -> Nothing:\n    return a",
     .out = "",
     .value = "1"},
    {.name = "an open bracket",
     .code = "x = (1,",
     .exit_code = 1,
     .out = "",
     .err = "main.py\", line 1\n    x = (1,\n        ^\nSyntaxError: '(' was never closed"},
    {.name = "an open string",
     .code = "x = 'abc",
     .exit_code = 1,
     .out = "",
     .err = "SyntaxError: unterminated string literal (detected at line 1)"},
    {.name = "an open long string",
     .code = "x = '''abc",
     .exit_code = 1,
     .out = "",
     .err = "main.py\", line 1\n"},
    {.name = "a line that goes on",
     .code = "x = 1 \\",
     .exit_code = 1,
     .out = "",
     .err = "SyntaxError"},
    {.name = "a block without a body",
     .code = "if 1:",
     .exit_code = 1,
     .out = "",
     .err = "after 'if' statement on line 1"},
    {.name = "a decorator without a function",
     .code = "@print",
     .exit_code = 1,
     .out = "",
     .err = "SyntaxError"},
    {.name = "a try without an except",
     .code = "try:\n    pass",
     .exit_code = 1,
     .out = "",
     .err = "SyntaxError"},
};

SP_TABLE_TEST(self_managed_program, python_is_run_as_it_is_elsewhere, python, row)
{
    check_program(SP_PYTHON, row, "");
}

Test(self_managed_program, an_integer_of_any_size_is_exact)
{
    sp_auto(sp_result_clear) struct sp_result r = {0};
    char code[] = "def main():\n    return 10 ** 9999";
    const struct sp_request req = {.code = code, .code_len = strlen(code)};

    run_program(&req, "", &r);

    cr_assert(eq(sz, r.result_value_len, 10000), "%s", r.err.text);
    cr_expect(eq(chr, r.result_value[0], '1'));
    cr_expect(eq(sz, strspn(r.result_value + 1, "0"), 9999));
}

/* What the manager itself would not carry to main. */
static const struct program awkward[] = {
    {.name = "a lone surrogate",
     .code = "def main(s):\n    return [s, len(s)]",
     .arguments = "{\"s\":\"\\ud800\"}",
     .out = "",
     .value = "[\"\\ud800\", 1]"},
    {.name = "a pair",
     .code = "def main(s):\n    return len(s)",
     .arguments = "{\"s\":\"\\uD83D\\uDE00\"}",
     .out = "",
     .value = "1"},
    {.name = "a number beyond a double",
     .code = "def main(n):\n    return n > 1e300",
     .arguments = "{\"n\":1e400}",
     .out = "",
     .value = "true"},
    {.name = "a quoted backslash",
     .code = "def main(s):\n    return s",
     .arguments = "{\"s\":\"\\\\ud800\"}",
     .out = "",
     .value = "\"\\\\ud800\""},
    {.name = "none for a script",
     .code = "print(1)",
     .arguments = "{\"s\":\"\\udfff\"}",
     .out = "1\n",
     .warning = NO_MAIN},
};

SP_TABLE_TEST(self_managed_program, arguments_are_exact_where_the_manager_is_not, awkward, row)
{
    check_program(SP_PYTHON, row, "");
}

Test(self_managed_program, arguments_with_an_integer_of_any_size_are_exact)
{
    sp_auto(sp_result_clear) struct sp_result r = {0};
    sp_auto(sp_buf_clear) struct sp_buf arguments = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    char code[] = "def main(n):\n    return [n, n == 10 ** 9999]";

    cr_assert(eq(int, sp_buf_adds(&arguments, "{\"n\":1"), SP_OK));
    for (int i = 0; i < 9999; i++)
        cr_assert(eq(int, sp_buf_addc(&arguments, '0'), SP_OK));
    cr_assert(eq(int, sp_buf_adds(&arguments, "}"), SP_OK));
    const struct sp_request req = {.code = code,
                                   .code_len = strlen(code),
                                   .arguments = arguments.data,
                                   .arguments_len = arguments.len};

    run_program(&req, "", &r);

    cr_assert(eq(sz, r.result_value_len, 10008), "%s", r.err.text);
    cr_expect(eq(str, r.result_value + 10001, ", true]"));
}

Test(self_managed_program, javascript_gets_such_arguments_too)
{
    static const struct program row = {.name = "a lone surrogate",
                                       .code = "const main = (args) => [args.s, args.s.length]",
                                       .arguments = "{\"s\":\"\\udc00\",\"n\":1e400}",
                                       .out = "",
                                       .value = "[\"\\udc00\",1]"};
    check_program(SP_JAVASCRIPT, &row, export_lines[0]);
}

static const struct program javascript[] = {
    {.name = "a script", .code = "console.log('hi')", .out = "hi\n"},
    {.name = "no end of line", .code = "process.stdout.write('hi')", .out = "hi"},
    {.name = "a comment at the end", .code = "console.log(1) // x", .out = "1\n"},
    {.name = "a script that goes on",
     .code = "process.stdout.write('a'); setTimeout(() => console.log('b'), 20)",
     .out = "ab\n"},
    {.name = "arguments for a script",
     .code = "let x = 1",
     .arguments = "{\"a\":1}",
     .out = "",
     .warning = NO_MAIN},
    {.name = "a main that cannot be called", .code = "let main; var y = 1", .out = ""},
    {.name = "a class is no main", .code = "class main {}", .out = ""},
    {.name = "a function",
     .code = "function main({ a }) { console.log(a); return a + 1; }",
     .arguments = "{\"a\":1}",
     .out = "1\n",
     .value = "2"},
    {.name = "a constant",
     .code = "const main = (args) => args",
     .arguments = "{\"__proto__\":1}",
     .out = "",
     .value = "{\"__proto__\":1}"},
    {.name = "async",
     .code = "const main = async () => { await null; return [1]; }",
     .out = "",
     .value = "[1]"},
    {.name = "exports.main", .code = "exports.main = () => 1", .out = "", .value = "1"},
    {.name = "module.exports.main",
     .code = "module.exports = { main() { return 2; } }",
     .out = "",
     .value = "2"},
    {.name = "module.exports itself", .code = "module.exports = () => 3", .out = "", .value = "3"},
    {.name = "what main sees of its module",
     .code = "exports.k = 5; exports.main = () => [module.exports.k, require(__filename).k]",
     .out = "",
     .value = "[5,5]"},
    {.name = "a global main", .code = "main = () => 4", .out = "", .value = "4"},
    {.name = "recursion is the program's own",
     .code = "function main({ n = 2 }) { return n ? [main({ n: n - 1 })] : []; }",
     .out = "",
     .value = "[[[]]]"},
    {.name = "strict",
     .code = "'use strict';\nconst main = () => this === undefined",
     .out = "",
     .value = "false"},
    {.name = "its own names",
     .code = "const process = 1, Buffer = 2, Promise = 3, run = 4, print = 5, encode = 6;\n"
             "exports.main = () => [process, Buffer, Promise, run, print, encode]",
     .out = "",
     .value = "[1,2,3,4,5,6]"},
    {.name = "output caught by the program",
     .code = "process.stdout.write = process.stderr.write = () => true;\n"
             "exports.main = () => { console.log('lost'); return 1; }",
     .out = "",
     .value = "1"},
    {.name = "undefined", .code = "function main() {}", .out = ""},
    {.name = "undefined, strict",
     .code = "function main() {}",
     .exit_code = 1,
     .out = "",
     .err = "TypeError: main returned no value that JSON can carry (strict_result)",
     .strict = true},
    {.name = "null", .code = "const main = () => null", .out = "", .value = "null"},
    {.name = "values that serialisers change",
     .code = "const main = () => [2 ** 70, 1e21, '\\ud800', 'é\\0', undefined, new Date(0)]",
     .out = "",
     .value = "[1.1805916207174113e+21,1e+21,\"\\ud800\",\"é\\u0000\",null,"
              "\"1970-01-01T00:00:00.000Z\"]"},
    {.name = "NaN",
     .code = "const main = () => [NaN, -Infinity, 'NaN']",
     .out = "",
     .value = "[null,null,\"NaN\"]",
     .warning = NOT_FINITE},
    {.name = "what JSON cannot carry",
     .code = "const main = () => 10n",
     .exit_code = 1,
     .out = "",
     .err = "TypeError: Do not know how to serialize a BigInt"},
    {.name = "an exception has its line",
     .code = "\nfunction main() {\n  throw new Error('boom');\n}",
     .exit_code = 1,
     .out = "",
     .err = "main.js:3\n"},
    {.name = "a rejection",
     .code = "async function main() { throw new RangeError('boom'); }",
     .exit_code = 1,
     .out = "",
     .err = "RangeError: boom"},
    {.name = "an exception of a script",
     .code = "\nnull.x",
     .exit_code = 1,
     .out = "",
     .err = "main.js:2\n"},
    {.name = "exit in main",
     .code = "function main() { process.exit(3); }",
     .exit_code = 3,
     .out = ""},
    {.name = "an exit code",
     .code = "function main() { process.exitCode = 4; return 1; }",
     .exit_code = 4,
     .out = ""},
    {.name = "what main leaves open ends with it",
     .code = "function main() { setInterval(() => {}, 1000); return 1; }",
     .out = "",
     .value = "1"},
    {.name = "a promise that never settles",
     .code = "const main = () => new Promise(() => {})",
     .exit_code = 13,
     .out = "",
     .err = "the promise of main can never settle"},
    {.name = "a statement without a body",
     .code = "if (1)",
     .exit_code = 1,
     .out = "",
     .err = "SyntaxError"},
    {.name = "an open expression",
     .code = "const x =",
     .exit_code = 1,
     .out = "",
     .err = "SyntaxError"},
    {.name = "an open template",
     .code = "const x = `abc",
     .exit_code = 1,
     .out = "",
     .err = "SyntaxError"},
    {.name = "an open comment", .code = "/* abc", .exit_code = 1, .out = "", .err = "SyntaxError"},
    {.name = "no semicolon", .code = "let a = 1\na", .out = ""},
};

SP_TABLE_TEST(self_managed_program, javascript_is_run_as_it_is_elsewhere, javascript, row)
{
    check_program(SP_JAVASCRIPT, row, export_lines[0]);
}

/* An old manager appends no line of its own. What it takes for the module's is ours all the same.
 */
SP_TABLE_TEST(self_managed_program, javascript_needs_no_line_of_the_manager, javascript, row)
{
    check_program(SP_JAVASCRIPT, row, export_lines[1]);
}

/* Words of the manager's static check (reference ragflow 4.3). */
static const char *const python_words[] = {
    "import os", "import sys", "import asyncio", "import builtins", "import threading", " eval(",
    " exec(",    " open(",     "__import__(",    "compile(",        "input(",           "getattr(",
    "setattr(",  "globals(",   "locals(",        "system(",         "popen(",           "remove(",
    "rename(",   "os.",        "sys.",           "asyncio.",        "\"\"\"",           "'''",
};
static const char *const javascript_words[] = {
    "require(", "require (", "eval(", "eval (", "Function(", "Function (", "binding(", "`", "*/",
};

static void expect_no_word(enum sp_language language, const char *const *words, size_t n)
{
    sp_auto(sp_buf_clear) struct sp_buf code = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    sp_auto(sp_buf_clear) struct sp_buf arguments = SP_BUF_INIT(SP_BUF_UNBOUNDED);
    char empty[] = "";
    const struct sp_request req = {.language = language, .code = empty};

    make_sent(&req, &code, &arguments);

    for (size_t i = 0; i < n; i++)
        cr_expect(strstr(sp_buf_str(&code), words[i]) == NULL, "%s", words[i]);
    cr_expect(strstr(sp_buf_str(&code), "RUNID") == NULL);
    cr_expect(strstr(sp_buf_str(&code), "STRICT") == NULL);
    cr_expect(strstr(sp_buf_str(&code), "_sandpiper_" SUFFIX) != NULL);
}

Test(self_managed_program, the_static_check_finds_nothing_in_the_text)
{
    expect_no_word(SP_PYTHON, python_words, SP_COUNT(python_words));
    expect_no_word(SP_JAVASCRIPT, javascript_words, SP_COUNT(javascript_words));
}
