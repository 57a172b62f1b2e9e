/* What a Python program sees and leaves behind (CONTRACT.md 3.4, 9; reference ragflow 3.3, 3.6). */
#include "tests/providers/wrapper_run.h"

#define GUARD "\nif __name__ == '__main__':\n    print('guard')\n"

static const struct run_case mains[] = {
    {.name = "def",
     .code = "def main(a, b=2):\n    print('hi')\n    return [a, b]" GUARD,
     .arguments = "{\"a\": 1}",
     .out = "hi\n",
     .doc = VALUE("[1, 2]")},
    {.name = "async def",
     .code = "import asyncio\nasync def main():\n    await asyncio.sleep(0)\n    return 'x'" GUARD,
     .out = "",
     .doc = VALUE("\"x\"")},
    {.name = "awaitable object",
     .code = "class Later:\n    def __await__(self):\n        yield from ()\n        return 7\n"
             "def main():\n    return Later()\n",
     .out = "",
     .doc = VALUE("7")},
    {.name = "types.coroutine",
     .code = "import types\n@types.coroutine\ndef main():\n    yield\n    return 8\n",
     .out = "",
     .doc = VALUE("8")},
    {.name = "lambda", .code = "main = lambda: 5" GUARD, .out = "", .doc = VALUE("5")},
    {.name = "annotated",
     .code = "from typing import Callable\nmain: Callable = lambda: 5" GUARD,
     .out = "",
     .doc = VALUE("5")},
    {.name = "tuple target",
     .code = "x, (main, *y) = 1, [lambda: 5, 2]" GUARD,
     .out = "",
     .doc = VALUE("5")},
    {.name = "import as",
     .code = "from lib import work as main" GUARD,
     .file = "lib.py",
     .file_text = "def work():\n    return 'lib'\n",
     .out = "",
     .doc = VALUE("\"lib\"")},
    {.name = "import",
     .code = "from lib import main" GUARD,
     .file = "lib.py",
     .file_text = "def main():\n    return __name__\n",
     .out = "",
     .doc = VALUE("\"lib\"")},
    {.name = "in if and try",
     .code = "if True:\n    try:\n        pass\n    finally:\n        def main():\n"
             "            return 1" GUARD,
     .out = "",
     .doc = VALUE("1")},
    {.name = "in except",
     .code = "try:\n    1/0\nexcept ZeroDivisionError:\n    def main():\n"
             "        return 1" GUARD,
     .out = "",
     .doc = VALUE("1")},
    {.name = "with target",
     .code = "import contextlib\n"
             "with contextlib.nullcontext(lambda: 3) as main:\n    pass" GUARD,
     .out = "",
     .doc = VALUE("3")},
    {.name = "last of several",
     .code = "def main():\n    return 1\ndef main():\n    return 2\n",
     .out = "",
     .doc = VALUE("2")},
    {.name = "unicode spelling",
     .code = "def ｍａｉｎ():\n    return 1" GUARD,
     .out = "",
     .doc = VALUE("1")},
    {.name = "keyword arguments of any name",
     .code = "def main(**kw):\n    return kw\n",
     .arguments = "{\"a b\": 1, \"__proto__\": true, \"π\": null}",
     .out = "",
     .doc = VALUE("{\"a b\": 1, \"__proto__\": true, \"π\": null}")},
    {.name = "modules know it twice",
     .code = "import sys, pickle\ndef f():\n    pass\ndef main():\n"
             "    return [__name__, sys.modules['main'] is sys.modules['__main__'],\n"
             "            pickle.loads(pickle.dumps(f)) is f]\n",
     .out = "",
     .doc = VALUE("[\"main\", true, true]")},
    {.name = "exit in main",
     .code = "import sys\ndef main():\n    sys.exit(7)\n",
     .out = "",
     .exit_code = 7,
     .doc = ""},
    {.name = "error in main",
     .code = "def main():\n    print('a')\n    raise ValueError('bad')\n",
     .out = "a\n",
     .exit_code = 1,
     .doc = "",
     .err = "line 3, in main\n    raise ValueError('bad')"},
    {.name = "error in an awaited main",
     .code = "async def main():\n    raise ValueError('bad')\n",
     .out = "",
     .exit_code = 1,
     .doc = "",
     .err = "ValueError: bad"},
    {.name = "surplus argument",
     .code = "def main():\n    pass\n",
     .arguments = "{\"a\": 1}",
     .out = "",
     .exit_code = 1,
     .doc = "",
     .err = "unexpected keyword argument 'a'"},
    {.name = "missing argument",
     .code = "def main(a):\n    pass\n",
     .out = "",
     .exit_code = 1,
     .doc = "",
     .err = "missing 1 required positional argument: 'a'"},
    {.name = "children see neither descriptor",
     .code = "import subprocess\ndef main():\n"
             "    print(subprocess.run(['ls', '/proc/self/fd'], capture_output=True, text=True,\n"
             "                         close_fds=False).stdout.split())\n",
     .out = "['0', '1', '2', '3']\n",
     .doc = VALUE("null")}, /* 3 is the listing's own */
    {.name = "a forked child answers nothing",
     .code = "import os\npid = os.fork()\nif pid:\n    os.waitpid(pid, 0)\ndef main():\n"
             "    return 'child' if pid == 0 else 'parent'\n",
     .out = "",
     .doc = VALUE("\"parent\"")},
    {.name = "a closed channel is an error",
     .code = "import os\nos.closerange(3, 64)\n"
             "def main():\n    return 1\n",
     .out = "",
     .exit_code = 1,
     .doc = "",
     .err = "closed the descriptor"},
    {.name = "another file in the channel's place stays whole",
     .code = "import os\nos.close(3)\nf = open('mine', 'w')\ndef main():\n    return 1\n"
             "import atexit\natexit.register(lambda: print(os.path.getsize('mine')))\n",
     .out = "0\n",
     .exit_code = 1,
     .doc = "",
     .err = "closed the descriptor"},
    {.name = "standard input is empty",
     .code = "import sys\ndef main():\n"
             "    return sys.stdin.read()\n",
     .out = "",
     .doc = VALUE("\"\"")},
    {.name = "files with names that the wrapper imports",
     .code = "import json, re\ndef main():\n    return [json.MINE, re.compile('a').pattern]\n",
     .file = "json.py",
     .file_text = "MINE = 1\n",
     .out = "",
     .doc = VALUE("[1, \"a\"]")},
    {.name = "a file that hides what asyncio imports",
     .code = "async def main():\n    return 1\n",
     .file = "queue.py",
     .file_text = "raise SystemExit('mine')\n",
     .out = "",
     .doc = VALUE("1")},
    {.name = "a patched json",
     .code = "import json\njson.dumps = json.loads = None\n"
             "def main(a):\n    return a\n",
     .arguments = "{\"a\": 1}",
     .out = "",
     .doc = VALUE("1")},
    {.name = "at exit and threads come after main",
     .code = "import atexit, threading, time\natexit.register(print, 'exit')\n"
             "def late():\n    time.sleep(0.05)\n    print('thread')\n"
             "def main():\n    threading.Thread(target=late).start()\n    return 1\n",
     .out = "thread\nexit\n",
     .doc = VALUE("1")},
};

SP_TABLE_TEST(wrapper_python, a_main_is_found_and_called, mains, row)
{
    run_check(SP_PYTHON, row);
}

static const struct run_case values[] = {
    {.name = "None", .code = "def main():\n    pass\n", .out = "", .doc = VALUE("null")},
    {.name = "big integers",
     .code = "def main(n):\n    return [n, -2**70, 10**5000 % 7]\n",
     .arguments = "{\"n\": 1180591620717411303424}",
     .out = "",
     .doc = VALUE("[1180591620717411303424, -1180591620717411303424, 2]")},
    {.name = "number spelling",
     .code = "def main(a):\n    return [a, 1.10, 1e100, -0.0]\n",
     .arguments = "{\"a\": 1.10}",
     .out = "",
     .doc = VALUE("[1.1, 1.1, 1e+100, -0.0]")},
    {.name = "json.dumps decides",
     .code = "def main():\n    return {1: (1, 2), None: True}\n",
     .out = "",
     .doc = VALUE("{\"1\": [1, 2], \"null\": true}")},
    {.name = "non-ASCII unescaped",
     .code = "def main():\n    return 'ü\\u2028😀\\x00'\n",
     .out = "",
     .doc = VALUE("\"ü\u2028😀\\u0000\"")},
    {.name = "lone surrogates",
     .code = "def main(a):\n    return [a, 'x\\udc80\\\\']\n",
     .arguments = "{\"a\": \"\\ud800\"}",
     .out = "",
     .doc = VALUE("[\"\\ud800\", \"x\\udc80\\\\\"]")},
    {.name = "NaN",
     .code = "def main():\n    return float('nan')\n",
     .out = "",
     .doc = WARNED("null")},
    {.name = "not finite at any depth, but not in text",
     .code = "def main():\n    return {'NaN': [float('inf'), -float('inf'), 'a\\\\\"NaN']}\n",
     .out = "",
     .doc = WARNED("{\"NaN\": [null, null, \"a\\\\\\\"NaN\"]}")},
    {.name = "only text speaks of NaN",
     .code = "def main():\n    return 'NaN Infinity'\n",
     .out = "",
     .doc = VALUE("\"NaN Infinity\"")},
    {.name = "true, false and null as arguments",
     .code = "def main(a):\n    return a == [True, False, None]\n",
     .arguments = "{\"a\": [true, false, null]}",
     .out = "",
     .doc = VALUE("true")},
    {.name = "set",
     .code = "def main():\n    return {1}\n",
     .out = "",
     .exit_code = 1,
     .doc = "",
     .err = "Object of type set is not JSON serializable"},
    {.name = "bytes",
     .code = "def main():\n    return b'x'\n",
     .out = "",
     .exit_code = 1,
     .doc = "",
     .err = "Object of type bytes is not JSON serializable"},
    {.name = "circular",
     .code = "def main():\n    a = []\n    a.append(a)\n    return a\n",
     .out = "",
     .exit_code = 1,
     .doc = "",
     .err = "Circular reference"},
    {.name = "too deep",
     .code = "def main():\n    a = []\n    for i in range(100000):\n"
             "        a = [a]\n    return a\n",
     .out = "",
     .exit_code = 1,
     .doc = "",
     .err = "RecursionError"},
    {.name = "the digit limit is the program's",
     .code = "import sys\ndef main():\n    try:\n        str(10**5000)\n"
             "    except ValueError:\n        return 'limited'\n"
             "    return 'limited' if not hasattr(sys, 'get_int_max_str_digits') else 'free'\n",
     .out = "",
     .doc = VALUE("\"limited\"")},
};

SP_TABLE_TEST(wrapper_python, a_value_is_what_json_dumps_makes_of_it, values, row)
{
    run_check(SP_PYTHON, row);
}

static const struct run_case plains[] = {
    {.name = "script", .code = "print('a')" GUARD, .out = "a\nguard\n", .doc = ""},
    {.name = "empty", .code = "", .out = "", .doc = ""},
    {.name = "arguments without main",
     .code = "print(1)\n",
     .arguments = "{\"a\": 1}",
     .out = "1\n",
     .doc = NO_MAIN},
    {.name = "no arguments to speak of",
     .code = "print(1)\n",
     .arguments = " { } ",
     .out = "1\n",
     .doc = ""},
    {.name = "arguments and an error",
     .code = "1/0\n",
     .arguments = "{\"a\": 1}",
     .out = "",
     .exit_code = 1,
     .doc = NO_MAIN,
     .err = "ZeroDivisionError"},
    {.name = "main in a function",
     .code = "def f():\n    def main():\n        pass\n" GUARD,
     .out = "guard\n",
     .doc = ""},
    {.name = "main in a class",
     .code = "class A:\n    def main(self):\n        pass" GUARD,
     .out = "guard\n",
     .doc = ""},
    {.name = "a class main", .code = "class main:\n    pass" GUARD, .out = "guard\n", .doc = ""},
    {.name = "main is only used",
     .code = "from lib import *\nmain()" GUARD,
     .file = "lib.py",
     .file_text = "def main():\n    print('called')\n",
     .out = "called\nguard\n",
     .doc = ""},
    {.name = "main is annotated only", .code = "main: int" GUARD, .out = "guard\n", .doc = ""},
    {.name = "main is no function",
     .code = "main = 5\nprint(__name__)\n",
     .arguments = "{\"a\":1}",
     .out = "main\n",
     .doc = NO_MAIN},
    {.name = "main was deleted", .code = "def main():\n    pass\ndel main\n", .out = "", .doc = ""},
    {.name = "never bound",
     .code = "if False:\n    def main():\n        pass" GUARD,
     .out = "",
     .doc = ""},
    {.name = "as python itself",
     .code = "import sys, os\nprint(sys.argv, sys.path[0] == os.getcwd(),\n"
             "      __file__ == os.getcwd() + '/main.py', __spec__, __package__, __doc__)\n"
             "print(sys.modules['__main__'].__dict__ is globals(), 'main' in sys.modules)\n"
             "print(sorted(set(globals()) - {'__annotations__', 'sys', 'os'}))\n",
     .out = "['main.py'] True True None None None\nTrue False\n['__builtins__', '__cached__', "
            "'__doc__', '__file__', '__loader__', '__name__', '__package__', '__spec__']\n",
     .doc = ""},
    {.name = "neither json nor asyncio is imported",
     .code = "import sys\nprint('json' in sys.modules, 'asyncio' in sys.modules)\n",
     .out = "False False\n",
     .doc = ""},
    {.name = "syntax error",
     .code = "print('a')\ndef f(:\n",
     .out = "",
     .exit_code = 1,
     .doc = "",
     .err = "main.py\", line 2\n    def f(:\n"},
    {.name = "one warning for one mistake",
     .code = "def main():\n    return 1 is 1\n",
     .out = "",
     .doc = VALUE("true"),
     .err = "SyntaxWarning"},
    {.name = "traceback",
     .code = "def f():\n    1/0\nf()\n",
     .out = "",
     .exit_code = 1,
     .doc = "",
     .err = "Traceback (most recent call last):\n  File \"/"},
    {.name = "chained traceback",
     .code = "try:\n    1/0\nexcept Exception as e:\n"
             "    raise KeyError('k') from e\n",
     .out = "",
     .exit_code = 1,
     .doc = "",
     .err = "direct cause"},
    {.name = "exit code", .code = "raise SystemExit(200)", .out = "", .exit_code = 200, .doc = ""},
    {.name = "exit text",
     .code = "raise SystemExit('bye')",
     .out = "",
     .exit_code = 1,
     .doc = "",
     .err = "bye\n"},
    {.name = "exit None", .code = "print(1)\nraise SystemExit", .out = "1\n", .doc = ""},
    {.name = "exit at once",
     .code = "import os\nos._exit(137)",
     .out = "",
     .exit_code = 137,
     .doc = ""},
    {.name = "interrupt",
     .code = "raise KeyboardInterrupt",
     .out = "",
     .exit_code = -2,
     .doc = "",
     .err = "KeyboardInterrupt"},
    {.name = "signal",
     .code = "import os\nos.kill(os.getpid(), 9)",
     .out = "",
     .exit_code = -9,
     .doc = ""},
    {.name = "own hook",
     .code = "import sys, traceback\n"
             "sys.excepthook = lambda k, e, tb: print(k.__name__,\n"
             "    [f.name for f in traceback.extract_tb(tb)])\n1/0\n",
     .out = "ZeroDivisionError ['<module>']\n",
     .exit_code = 1,
     .doc = ""},
    {.name = "memory",
     .code = "raise MemoryError",
     .out = "",
     .exit_code = 1,
     .doc = "{\"limit\":\"memory\"}",
     .err = "MemoryError"},
    {.name = "memory, with arguments to no main",
     .code = "raise MemoryError",
     .arguments = "{\"a\":1}",
     .out = "",
     .exit_code = 1,
     .doc = "{\"limit\":\"memory\"}",
     .err = "MemoryError"},
    {.name = "memory that was caught",
     .code = "try:\n    raise MemoryError\n"
             "except MemoryError:\n    print('ok')\n",
     .out = "ok\n",
     .doc = ""},
    {.name = "encoding line",
     .code = "# -*- coding: latin-1 -*-\nprint(len('\xe4'))\n",
     .out = "1\n",
     .doc = ""},
    {.name = "byte-order mark and CRLF",
     .code = "\xef\xbb\xbfprint('a')\r\nprint('b')\r\n",
     .out = "a\nb\n",
     .doc = ""},
    {.name = "text that would break out of a wrapper",
     .code = "print('''\\'\\'\\' \"\"\" __RAGFLOW_RESULT__: %s {} \\\\''')\n#",
     .out = "''' \"\"\" __RAGFLOW_RESULT__: %s {} \\\n",
     .doc = ""},
    {.name = "local import",
     .code = "import lib\nprint(lib.X)\n",
     .file = "lib.py",
     .file_text = "X = 4\n",
     .out = "4\n",
     .doc = ""},
    {.name = "multiprocessing from a script",
     .code =
         "import multiprocessing as m\ndef f(x):\n    return x * 2\n"
         "if __name__ == '__main__':\n"
         "    with m.get_context('spawn').Pool(1) as pool:\n        print(pool.map(f, [1, 2]))\n",
     .out = "[2, 4]\n",
     .doc = ""},
    {.name = "multiprocessing from a main",
     .code = "import multiprocessing as m\ndef f(x):\n    return x * 2\ndef main():\n"
             "    with m.get_context('spawn').Pool(1) as pool:\n"
             "        return pool.map(f, [1, 2])\n",
     .out = "",
     .doc = VALUE("[2, 4]")},
};

SP_TABLE_TEST(wrapper_python, a_program_runs_as_python_runs_it, plains, row)
{
    run_check(SP_PYTHON, row);
}

Test(wrapper_python, a_warning_of_the_compiler_is_shown_once)
{
    const struct run_case c = {.code = "def main():\n    return 1 is 1\n"};
    sp_auto(run_clear) struct run r = {0};

    run_program(&r, SP_PYTHON, &c, strlen(c.code));

    const char *first = strstr(sp_buf_str(&r.text[RUN_ERR]), "SyntaxWarning");
    cr_assert(first != NULL);
    cr_expect(strstr(first + 1, "SyntaxWarning") == NULL);
}

Test(wrapper_python, a_nul_in_the_program_is_an_error_of_the_program)
{
    const struct run_case c = {.code = "print(1)\n\0\n"};
    sp_auto(run_clear) struct run r = {0};

    run_program(&r, SP_PYTHON, &c, 11);

    cr_expect(eq(int, r.exit_code, 1));
    cr_expect(strstr(sp_buf_str(&r.text[RUN_ERR]), "null bytes") != NULL);
}

/* `count` times a text. */
static void repeat(struct sp_buf *buf, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_assert(eq(int, sp_buf_adds(buf, text), SP_OK));
}

Test(wrapper_python, arguments_of_512_levels_come_and_go)
{
    sp_auto(sp_buf_clear) struct sp_buf arguments = SP_BUF_INIT(1 << 20);
    sp_auto(run_clear) struct run r = {0};
    cr_assert(eq(int, sp_buf_adds(&arguments, "{\"a\":"), SP_OK));
    repeat(&arguments, "[", 511);
    repeat(&arguments, "]", 511);
    cr_assert(eq(int, sp_buf_addc(&arguments, '}'), SP_OK));
    const struct run_case c = {.code = "def main(a):\n    return a\n", .arguments = arguments.data};

    run_program(&r, SP_PYTHON, &c, strlen(c.code));

    cr_expect(eq(int, r.exit_code, 0));
    cr_expect(eq(sz, r.text[RUN_DOC].len, 2 * 511 + strlen(VALUE(""))));
}

Test(wrapper_python, large_arguments_and_values_pass_the_pipes)
{
    sp_auto(sp_buf_clear) struct sp_buf arguments = SP_BUF_INIT(8 << 20);
    sp_auto(run_clear) struct run r = {0};
    cr_assert(eq(int, sp_buf_adds(&arguments, "{\"a\":\""), SP_OK));
    repeat(&arguments, "0123456789abcdef", 64 << 10);
    cr_assert(eq(int, sp_buf_adds(&arguments, "\"}"), SP_OK));
    const struct run_case c = {.code = "def main(a):\n    print(len(a))\n    return a\n",
                               .arguments = arguments.data};

    run_program(&r, SP_PYTHON, &c, strlen(c.code));

    cr_expect(eq(str, (char *)sp_buf_str(&r.text[RUN_OUT]), "1048576\n"));
    cr_expect(eq(sz, r.text[RUN_DOC].len, (1 << 20) + strlen(VALUE("\"\""))));
}

Test(wrapper_python, a_program_of_a_mebibyte_runs)
{
    sp_auto(sp_buf_clear) struct sp_buf code = SP_BUF_INIT(2 << 20);
    sp_auto(run_clear) struct run r = {0};
    repeat(&code, "x = [1, 2, 3]  # 4567890123456789\n", 30000);
    cr_assert(eq(int, sp_buf_adds(&code, "def main():\n    return 'done'\n"), SP_OK));
    const struct run_case c = {.code = code.data};

    run_program(&r, SP_PYTHON, &c, code.len);

    cr_expect(eq(str, (char *)sp_buf_str(&r.text[RUN_DOC]), VALUE("\"done\"")));
}

Test(wrapper_python, a_program_too_nested_for_a_tree_still_has_its_main)
{
    sp_auto(sp_buf_clear) struct sp_buf code = SP_BUF_INIT(1 << 20);
    sp_auto(run_clear) struct run r = {0};
    cr_assert(eq(int, sp_buf_adds(&code, "def main():\n    return x\nx = 1"), SP_OK));
    repeat(&code, " + 1", 900);
    const struct run_case c = {.code = code.data};

    run_program(&r, SP_PYTHON, &c, code.len);

    cr_expect(eq(str, (char *)sp_buf_str(&r.text[RUN_DOC]), VALUE("901")));
}
