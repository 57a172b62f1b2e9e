// What the two test programs share: a server of their own, which ends with them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import readline from "node:readline";
import { fileURLToPath } from "node:url";

export const API_KEY = `e2b_${"0".repeat(40)}`;

export async function startServer(...options) {
  const program = fileURLToPath(new URL("server.mjs", import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, program, ...options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the server ended with code ${code}`);
  });
  const [line] = await Promise.race([once(readline.createInterface({ input: child.stdout }), "line"), ended]);
  ended.catch(() => {}); // how it ends later is the tests' own doing
  const url = line.replace("ready ", "");
  const call = async (method, name, body) => {
    const answer = await fetch(`${url}/_test/${name}`, { method, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  };
  return {
    url,
    state: () => call("GET", "state"),
    fault: (...list) => call("POST", "faults", list),
    config: (values) => call("POST", "config", values),
    end: (id) => call("POST", "end", id ? { id } : {}),
    reset: () => call("POST", "reset"),
    async stop() {
      child.kill();
      await once(child, "exit");
    },
  };
}
