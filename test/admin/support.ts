import { onTestFinished } from "vitest";
import { type App, buildApp } from "../../src/admin/app.ts";
import type { AdminOptions, ProxyPort, ServerState } from "../../src/admin/ports.ts";
import { createDirectoryCache } from "../../src/directory/cache.ts";
import type { Directory } from "../../src/directory/directory.ts";
import { createMemoryDatabase, type MemoryDatabase } from "../../src/directory/memory.ts";
import { decide } from "../../src/federation/decide.ts";
import { renderExplanation } from "../../src/federation/explain.ts";
import type { Facts } from "../../src/federation/facts.ts";
import { compileModels, modelOf } from "../../src/federation/model.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { parseUri, tryAorOf } from "../../src/sip/message/uri.ts";

export const TOKEN = "correct horse battery staple".replaceAll(" ", "-");

export interface TestDesk {
  readonly app: App;
  readonly options: AdminOptions;
  readonly directory: Directory;
  readonly database: MemoryDatabase;
  readonly proxy: FakeProxy;
  readonly warnings: string[];
}

/** A proxy that routes nothing: servers that can be drained, and explanations by the real decision. */
export interface FakeProxy extends ProxyPort {
  draining: boolean;
  open: number;
}

function fakeProxy(directory: Directory): FakeProxy {
  const drained = new Set<string>();
  const names = ["east", "west", "north"];
  const models = compileModels([
    { match: "x-*@example.com", model: { model: "exclusive", conflict: "refuse", refuseWith: 403 } },
    { match: "y-*@example.com", model: { model: "exclusive", conflict: "takeover", refuseWith: 403 } },
  ]);
  const servers = (): ServerState[] =>
    names.map((name, i) => ({
      name,
      up: !drained.has(name) && name !== "north",
      drained: drained.has(name),
      nodes: [
        { uri: `sip:127.0.0.${11 + i}:5060`, up: name !== "north", consecutiveFailures: name === "north" ? 3 : 0 },
      ],
      proves: ["MESSAGE", "SUBSCRIBE"],
      proofRemoved: name === "west" ? ["INVITE"] : [],
    }));
  return {
    draining: false,
    open: 0,
    models,
    servers,
    rotation: {
      drain(name, on) {
        if (!names.includes(name)) return false;
        if (on) drained.add(name);
        else drained.delete(name);
        return true;
      },
    },
    settings: { unions: UNIONS },
    children: async () => ["east", "west"],
    openForks: { size: 1, waiting: 2 },
    subscriptionForks: { size: 3 },
    async explain({ method, aor, from, watcher, event, direction }) {
      const lookup = await directory.lookup(aor);
      const record = "user" in lookup ? lookup.user : null;
      const found = modelOf(models, aor, record);
      const facts: Facts = {
        now: 0,
        method,
        event: event ?? "",
        origin: from === undefined ? { kind: "client", authenticated: null } : { kind: "server", server: from },
        aor,
        regServer: null,
        sender: { aor: watcher ?? "", trusted: from !== undefined },
        lookup,
        directoryAvailable: true,
        model: found.model,
        modelFrom: found.from,
        servers: servers().map(
          (each) =>
            ({
              ...each,
              claims: ["register"],
              onward: "none",
              neverDenies: false,
              preserves: [],
              repoint: true,
              evict: "none",
              reginfo: "contact",
            }) as const,
        ),
        identities: null,
        claim: "client",
        settings: {
          home: null,
          routing: "proxy",
          subdomains: {},
          hold: { users: "known", events: ["presence"] },
          absentMessages: "refuse",
          exclusive: { damping: null, graceMs: 0 },
          watcherinfo: false,
          unions: UNIONS,
          retryAfter: 10,
        },
        mayQueue: true,
        direction: direction ?? "up",
        credit: "unasked",
        without: [],
      };
      return renderExplanation(facts, decide(facts));
    },
  };
}

const UNIONS = {
  trees: [{ name: "hq", root: "east", children: { east: ["west"] } }],
  downListener: false,
  unreachable: "wait",
} as const;

/** The admin API over an in-memory directory; nothing listens. */
export async function openDesk(over: Partial<AdminOptions> = {}): Promise<TestDesk> {
  const runtime = createRealRuntime();
  const database = createMemoryDatabase(runtime);
  const directory = database.directory("proxy-1");
  await directory.start();
  const proxy = fakeProxy(directory);
  const warnings: string[] = [];
  const options: AdminOptions = {
    listen: { host: "127.0.0.1", port: 0, token: null },
    version: "0.0.0",
    directory,
    cache: createDirectoryCache(directory, runtime),
    proxy,
    mover: { wake: () => undefined },
    checker: {
      askable: ["east"],
      look: async (aor) => ({ aor, binding: null, answers: [], verdict: "unbound", detail: "he is on no server" }),
      repair: async (aor) => ({ aor, binding: null, answers: [], verdict: "unbound", detail: "he is on no server" }),
    },
    domains: () => ["example.com", "other.net"],
    routing: () => "all",
    realm: () => "example.com",
    canonicalAor: (text) => {
      try {
        return tryAorOf(parseUri(text.startsWith("sip:") ? text : `sip:${text}`));
      } catch {
        return undefined;
      }
    },
    listening: () => ["udp"],
    metrics: async () => "# HELP codomain_x x\n# TYPE codomain_x counter\ncodomain_x 1\n",
    counts: async (name) =>
      name === "codomain_branches_total"
        ? [
            { labels: { server: "east", method: "MESSAGE", status: "2xx" }, value: 5 },
            { labels: { server: "east", method: "INVITE", status: "4xx" }, value: 2 },
            { labels: { server: "east", method: "INVITE", status: "none" }, value: 1 },
            { labels: { server: "other", method: "INVITE", status: "2xx" }, value: 9 },
          ]
        : name === "codomain_requests_total"
          ? [
              { labels: { method: "MESSAGE", plan: "relay", status: "2xx" }, value: 4 },
              { labels: { method: "INVITE", plan: "relay", status: "2xx" }, value: 3 },
              { labels: { method: "INVITE", plan: "fork", status: "4xx" }, value: 1 },
            ]
          : [],
    reload: null,
    warn: (what, detail) => void warnings.push(`${what}: ${detail}`),
    ...over,
  };
  const app = await buildApp(runtime, options);
  onTestFinished(async () => {
    await app.close();
    await directory.stop();
  });
  return { app, options, directory, database, proxy, warnings };
}

export interface Asked {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came back
  readonly body: any;
  readonly headers: Readonly<Record<string, string | number | string[] | undefined>>;
}

/** One request to the API; `body` is sent as JSON. */
export async function ask(
  { app }: Pick<TestDesk, "app">,
  method: "GET" | "PUT" | "POST" | "DELETE",
  url: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Asked> {
  const response = await app.inject({
    method,
    url,
    headers: { host: "127.0.0.1", ...headers },
    ...(body === undefined ? {} : { payload: body as object }),
  });
  const text = response.body;
  const json = String(response.headers["content-type"] ?? "").includes("json");
  return { status: response.statusCode, body: json ? JSON.parse(text) : text, headers: response.headers };
}
