// filesystem.Filesystem of envd, on the sandbox's folder.
import { Code, ConnectError } from "@connectrpc/connect";
import { lstat, mkdir, readdir, readlink, realpath, rename, rm, stat } from "node:fs/promises";
import { readFileSync } from "node:fs";
import path from "node:path";
import { callerOf } from "./rpc.mjs";

const PERMISSIONS = ["---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx"];
const KIND_LETTERS = [
  ["isSymbolicLink", "L"],
  ["isDirectory", "d"],
  ["isFIFO", "p"],
  ["isSocket", "S"],
];

function namesById(file) {
  const rows = readFileSync(file, "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  return new Map(rows.map(([name, , id]) => [Number(id), name]));
}

const owners = namesById("/etc/passwd");
const groups = namesById("/etc/group");

function permissionText(info) {
  const letter = KIND_LETTERS.find(([test]) => info[test]())?.[1] ?? "-";
  return letter + [6, 3, 0].map((shift) => PERMISSIONS[(info.mode >> shift) & 7]).join("");
}

// A link has its target's type; one that leads nowhere has none, like a FIFO.
async function typeOf(name) {
  const info = await stat(name).catch(() => undefined);
  if (info?.isFile()) return 1;
  return info?.isDirectory() ? 2 : 0;
}

async function entry(name) {
  const info = await lstat(name);
  const link = info.isSymbolicLink();
  const target = link ? await realpath(name).catch(() => readlink(name)) : undefined;
  return {
    name: path.basename(name),
    type: await typeOf(name),
    path: name,
    size: BigInt(info.size),
    mode: info.mode & 0o777,
    permissions: permissionText(info),
    owner: owners.get(info.uid) ?? String(info.uid),
    group: groups.get(info.gid) ?? String(info.gid),
    modifiedTime: { seconds: BigInt(Math.floor(info.mtimeMs / 1000)), nanos: Math.floor((info.mtimeMs % 1000) * 1e6) },
    symlinkTarget: target,
  };
}

async function existing(name, what) {
  try {
    return await stat(name);
  } catch {
    throw new ConnectError(`${what} not found: stat ${name}: no such file or directory`, Code.NotFound);
  }
}

// Depth first, as directories are walked; linked directories are not entered.
async function walk(dir, depth, found) {
  const names = (await readdir(dir)).sort();
  for (const name of names) {
    const full = path.join(dir, name);
    found.push(await entry(full));
    if (depth > 1 && (await lstat(full)).isDirectory()) await walk(full, depth - 1, found);
  }
}

export const filesystemService = {
  async stat(request, context) {
    const name = callerOf(context).resolve(request.path);
    await lstat(name).catch(() => existing(name, "file"));
    return { entry: await entry(name) };
  },

  async makeDir(request, context) {
    const name = callerOf(context).resolve(request.path);
    const before = await stat(name).catch(() => undefined);
    if (before?.isDirectory()) throw new ConnectError(`directory already exists: ${name}`, Code.AlreadyExists);
    if (before) throw new ConnectError(`path already exists but it is not a directory: ${name}`, Code.InvalidArgument);
    await mkdir(name, { recursive: true }).catch((error) => {
      throw new ConnectError(`error creating directory: ${error.message}`, Code.Internal);
    });
    return { entry: await entry(name) };
  },

  async listDir(request, context) {
    const name = callerOf(context).resolve(request.path);
    const info = await existing(name, "directory");
    if (!info.isDirectory()) throw new ConnectError(`path is not a directory: ${name}`, Code.InvalidArgument);
    const entries = [];
    await walk(name, request.depth || 1, entries);
    return { entries };
  },

  async move(request, context) {
    const [source, destination] = [request.source, request.destination].map((name) => callerOf(context).resolve(name));
    await lstat(source).catch(() => existing(source, "source file"));
    await mkdir(path.dirname(destination), { recursive: true });
    await rename(source, destination);
    return { entry: await entry(destination) };
  },

  async remove(request, context) {
    await rm(callerOf(context).resolve(request.path), { recursive: true, force: true });
    return {};
  },
};
