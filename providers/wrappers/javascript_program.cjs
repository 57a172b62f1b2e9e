// What a user's JavaScript program and the value of its main are: the first part of
// sandpiper_run.cjs, which starts a program, and of sandpiper_cell.cjs, which runs one inside a
// kernel.
'use strict';

const fs = require('fs');
const Module = require('module');
const path = require('path');
const vm = require('vm');

const NO_MAIN = 'arguments were given, but the program defines no main';
const NOT_FINITE = 'NaN and infinite numbers in the value became null';
const PARAMETERS = ['exports', 'require', 'module', '__filename', '__dirname'];

// What the compiler says of a CommonJS program whose syntax or names are those of an ES module.
const ES_MODULE_SIGNS = [
  'Cannot use import statement outside a module',
  "Unexpected token 'export'",
  "Cannot use 'import.meta' outside a module",
  'await is only valid in async functions and the top level bodies of modules',
  'Unexpected reserved word',
  ...PARAMETERS.map((name) => `Identifier '${name}' has already been declared`),
];

// Taken before the program can change them.
const { parse, stringify } = JSON;
const { process, Buffer, setImmediate, Promise } = globalThis;

// The text of a value, and whether a number in it had to become null.
function encode(value) {
  let finite = true;
  const text = stringify(value, (key, member) => {
    const isNumber = typeof member === 'number' || member instanceof Number;
    if (isNumber && !Number.isFinite(Number(member))) finite = false;
    return member;
  });
  return { text, finite };
}

// Lines of this file say nothing about the program.
function cleanStack(error) {
  const text = typeof error?.stack === 'string' ? error.stack : String(error);
  return text.split('\n').filter((line) => !line.includes(__filename)).join('\n');
}

function isMain(value) {
  return typeof value === 'function' && !/^class\b/.test(Function.prototype.toString.call(value));
}

// A name that the program cannot know. The line is reached unless the program returns or throws.
function makeHandover() {
  const name = `handover_${process.hrtime.bigint()}${Math.random().toString(36).slice(2)}`;
  const line = `\n;${name}(typeof main === 'undefined' ? undefined : main);\n`;
  const handover = { line, main: undefined };
  Object.defineProperty(globalThis, name, {
    configurable: true,
    value: (main) => {
      delete globalThis[name];
      handover.main = main;
    },
  });
  return handover;
}

// Asked for with care: after a circular require, reading what is not there makes Node warn.
function mainOf(exported) {
  return Object(exported) === exported && 'main' in exported ? exported.main : undefined;
}

function isEsModule(source, file) {
  try {
    vm.compileFunction(source, PARAMETERS, { filename: file });
    return false;
  } catch (error) {
    if (ES_MODULE_SIGNS.some((sign) => error.message.startsWith(sign))) return true;
    throw error;
  }
}
