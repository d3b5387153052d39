import type { OnwardRules } from "../../src/demo/onward.ts";
import type { ModelFacts, Onward, ServerFacts, Tree } from "../../src/federation/facts.ts";
import { Watcher } from "./watcher.ts";
import { createWorld, type World } from "./world.ts";

export interface FigureServer {
  readonly onward: Onward;
  /** Back-end subscriptions it makes for what its own user, and what the proxy asks for. */
  readonly own: number;
  readonly asked: number;
  readonly preserves?: ServerFacts["preserves"];
  readonly rules?: Partial<OnwardRules>;
}

export const ALICE = "sip:alice@example.com";

/** One of the draft's figures: alice on several servers, the proxy between them, and everything that is said in order. */
export class Figure {
  readonly world: World;
  readonly #said: string[] = [];
  readonly #names = new Map<string, string>();

  static async begin(
    servers: Readonly<Record<string, FigureServer>>,
    model: Extract<ModelFacts, { readonly model: "unioned" }>,
    trees: readonly Tree[] = [],
  ): Promise<Figure> {
    const names = Object.keys(servers);
    const world = await createWorld({
      servers: Object.fromEntries(
        Object.entries(servers).map(([name, { own, asked, rules }]) => [
          name,
          {
            users: ["alice"],
            onward: {
              legs: (_user, from) => (from === "own" ? own : asked),
              proxies: [{ host: "127.0.0.1", port: 5060 }],
              ...rules,
            },
          },
        ]),
      ),
      each: Object.fromEntries(
        Object.entries(servers).map(([name, { onward, preserves }]) => [name, { onward, preserves: preserves ?? [] }]),
      ),
      options: {
        models: [{ match: "alice@example.com", model }],
        unions: { trees, downListener: false, unreachable: "wait" },
      },
    });
    const figure = new Figure(world, names);
    for (const name of names) world.servers[name]!.show("alice", "open");
    return figure;
  }

  private constructor(world: World, servers: readonly string[]) {
    this.world = world;
    this.#names.set("127.0.0.1", "codomain");
    for (const [i, name] of servers.entries()) this.#names.set(`127.0.0.${11 + i}`, name);
    world.proxies[0]!.telemetry.on("message", ({ direction, remoteHost, raw }) => {
      const line = sentence(raw);
      if (line === undefined) return;
      const other = this.#names.get(remoteHost) ?? remoteHost;
      this.#said.push(direction === "in" ? `${other} -> codomain: ${line}` : `codomain -> ${other}: ${line}`);
    });
  }

  /** A device of this watcher at a server, or at the proxy. */
  async watch(name: string, host: string, at: string, session?: string): Promise<Watcher> {
    this.#names.set(host, name);
    const watcher = new Watcher(this.world, host);
    const proxy = [...this.#names].find(([, known]) => known === at)![0];
    await watcher.subscribe(ALICE, 600, {
      from: `sip:${name}@example.com`,
      proxy,
      ...(session === undefined ? {} : { headers: [["Session-ID", `${session};remote=${"0".repeat(32)}`]] }),
    });
    await this.world.simulation.advance(3_000);
    return watcher;
  }

  /** What was said since the last call. */
  said(): string[] {
    return this.#said.splice(0);
  }
}

/** SUBSCRIBEs, NOTIFYs and refusals; what only confirms, and what asks whether somebody is alive, is left out. */
function sentence(raw: string): string | undefined {
  const method = /^CSeq:\s*\d+ (\w+)/im.exec(raw)?.[1];
  if (method !== "SUBSCRIBE" && method !== "NOTIFY") return undefined;
  const status = Number(/^SIP\/2\.0 (\d{3})/.exec(raw)?.[1] ?? 0);
  if (status > 0) return status >= 300 ? `${status} to ${method}` : undefined;
  if (method === "SUBSCRIBE")
    return `SUBSCRIBE for ${/^P-Asserted-Identity:.*?sip:(\w+)@/im.exec(raw)?.[1] ?? "nobody"}`;
  const state = /^Subscription-State:\s*(\w+)/im.exec(raw)?.[1] ?? "";
  return `NOTIFY ${state} ${servers(raw)}`.trimEnd();
}

/** Whose elements a document has. */
export function servers(document: string): string {
  return Array.from(document.matchAll(/<(?:\w+:)?note[^>]*>(\w+) \d+<\//g), ([, server]) => server)
    .sort()
    .join(" ");
}
