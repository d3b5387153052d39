import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Child, eventually, startChild } from "./child.ts";
import { freePort } from "./ports.ts";

const BIN = fileURLToPath(new URL("../../bin/codomain.js", import.meta.url));

export interface ProxyOptions {
  /** Address the proxy listens on, ports 5060 (UDP, TCP) and 5066 (WebSocket). */
  readonly host: string;
  /** Server name -> URI, or a line of YAML settings in braces. */
  readonly servers: Readonly<Record<string, string>>;
  /** Further lines of configuration. */
  readonly more?: string;
  /** Default: embedded, in a directory of its own that goes away with it. */
  readonly database?: string;
}

/** A plan, as far as tests read it. */
export interface Explained {
  readonly kind: string;
  readonly server?: string;
  readonly stages?: ReadonlyArray<readonly string[]>;
  readonly status?: number;
  readonly reasons: readonly string[];
}

/** The product as its user starts it: `codomain start --config FILE`, in a process of its own. */
export interface RunningProxy {
  readonly host: string;
  readonly port: number;
  readonly admin: string;
  readonly directory: string;
  readonly child: Child;
  /** The command line against this proxy: exit code and output. */
  run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  /** The admin API: the JSON of a 2xx, else an error. */
  api(method: string, path: string, body?: unknown): Promise<unknown>;
  /** The plan for a request that nobody sent; `from`: the server it would come from. */
  explain(method: string, aor: string, from?: string): Promise<Explained>;
  metric(name: string): Promise<number>;
  /** `kill -9`, then the same configuration and data again. */
  crashAndRestart(): Promise<void>;
  stop(): Promise<number | null>;
}

export async function startProxy(options: ProxyOptions): Promise<RunningProxy> {
  const directory = mkdtempSync(join(tmpdir(), "codomain-"));
  // The embedded Postgres runs as another user where this one is root.
  chmodSync(directory, 0o755);
  const admin = `http://${options.host}:${await freePort(options.host)}`;
  const file = join(directory, "codomain.yaml");
  writeFileSync(file, configuration(options, directory, admin));
  let child = await launch(file, admin);
  const run = (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
    new Promise((resolve) => {
      execFile(process.execPath, [BIN, ...args, "--admin", admin], { timeout: 30_000 }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
      );
    });
  const api = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const json =
      body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
    const response = await fetch(`${admin}${path}`, { method, ...json });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  };
  return {
    host: options.host,
    port: 5060,
    admin,
    directory,
    get child() {
      return child;
    },
    run,
    api,
    explain: async (method, aor, from) => {
      const query = new URLSearchParams({ method, aor, ...(from === undefined ? {} : { from }) });
      const answer = (await api("GET", `/api/v1/explain?${query}`)) as {
        readonly explanation: { readonly plan: Explained };
      };
      return answer.explanation.plan;
    },
    metric: async (name) => {
      const text = await (await fetch(`${admin}/metrics`)).text();
      return text
        .split("\n")
        .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
        .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
    },
    crashAndRestart: async () => {
      child.signal("SIGKILL");
      await child.exited;
      child = await launch(file, admin);
    },
    stop: async () => {
      const code = await child.stop(20_000);
      rmSync(directory, { recursive: true, force: true });
      return code;
    },
  };
}

function configuration(options: ProxyOptions, directory: string, admin: string): string {
  const servers = Object.entries(options.servers).map(
    ([name, value]) => `  ${name}: ${value.startsWith("{") ? value : `{ uri: "${value}" }`}`,
  );
  return [
    "domain: example.com",
    "listen:",
    ...["udp", "tcp"].map((transport) => `  - { url: "${transport}://${options.host}:5060", unknown: client }`),
    `  - { url: "ws://${options.host}:5066", unknown: client }`,
    `database: "${options.database ?? `embedded:${directory}/data`}"`,
    `admin: { url: "${admin}" }`,
    "servers:",
    ...servers,
    options.more ?? "",
    "",
  ].join("\n");
}

async function launch(file: string, admin: string): Promise<Child> {
  const child = startChild(process.execPath, [BIN, "start", "--config", file]);
  let ended = false;
  void child.exited.then(() => {
    ended = true;
  });
  try {
    await eventually(
      `${admin}/readyz`,
      async () => {
        if (ended) return true;
        return (await fetch(`${admin}/readyz`)).ok;
      },
      60_000,
    );
    if (ended) throw new Error("it ended");
  } catch (error) {
    await child.stop();
    throw new Error(`the proxy did not start: ${String(error)}\n${child.output().slice(-4000)}`);
  }
  return child;
}
