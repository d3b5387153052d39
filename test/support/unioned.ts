import type { ModelFacts, Tree } from "../../src/federation/facts.ts";
import { Notifier } from "./notifier.ts";
import type { Watcher } from "./watcher.ts";
import { createWorld, type World, type WorldOptions } from "./world.ts";

export const ALICE = "sip:alice@example.com";
export const AOR = "alice@example.com";

export interface UnionedOptions extends WorldOptions {
  /** Names of servers; default east and west. */
  readonly names?: readonly string[];
  /** Default: peers. */
  readonly tree?: Tree;
}

/** A unioned domain whose servers do what the test says. */
export class Unioned {
  world!: World;
  readonly at: Record<string, Notifier> = {};

  async begin(options: UnionedOptions = {}): Promise<World> {
    const { names = ["east", "west"], tree, ...rest } = options;
    for (const name of names) this.at[name] = new Notifier(name);
    const model: ModelFacts =
      tree === undefined
        ? { model: "unioned", style: "peer", servers: names }
        : { model: "unioned", style: "hierarchical", tree: tree.name };
    this.world = await createWorld({
      servers: Object.fromEntries(names.map((name) => [name, { script: this.at[name]!.script }])),
      ...rest,
      options: {
        models: [{ match: "*", model }],
        unions: { trees: tree === undefined ? [] : [tree], downListener: false, unreachable: "wait" },
        ...rest.options,
      },
    });
    return this.world;
  }

  get east(): Notifier {
    return this.at["east"]!;
  }

  get west(): Notifier {
    return this.at["west"]!;
  }

  rows() {
    const alive = this.world.proxies.find((proxy) => proxy.process.alive)!;
    return this.world.simulation.finish(alive.directory.subscriptions.list({ limit: 100 }));
  }

  wait(ms: number): Promise<void> {
    return this.world.simulation.advance(ms);
  }
}

/** Which servers' elements stand in a composed document, by their marks, with the basic status of each tuple. */
export function partsOf(body: string): string[] {
  const tuples = body.match(/<tuple[\s\S]*?<\/tuple>/g) ?? [];
  return tuples.map((tuple) => {
    const server = /server="([^"]*)"/.exec(tuple)?.[1] ?? "nobody";
    return `${server} ${/<basic>(\w+)</.exec(tuple)?.[1] ?? "?"}`;
  });
}

/** What a watcher was told, a line each: `active east open, west open`, `terminated rejected`. */
export function told({ told }: Pick<Watcher, "told">): string[] {
  return told.map((each) => {
    const parts = partsOf(each.body);
    const shown = each.body === "" ? "" : parts.length === 0 ? "nobody" : parts.join(", ");
    return [each.state, each.reason, shown].filter(Boolean).join(" ");
  });
}
