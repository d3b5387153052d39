import type { AdminOptions } from "./ports.ts";
import { Problem } from "./problem.ts";

interface UnionSettings {
  readonly style?: string | undefined;
  readonly tree?: string | undefined;
  readonly servers?: readonly string[] | undefined;
}

/** Checks names that came in against what there is. Throws Problems that say what there is instead. */
export class Names {
  readonly #options: AdminOptions;

  constructor(options: AdminOptions) {
    this.#options = options;
  }

  /** The canonical AoR of one of our users. */
  user(text: string, field = "aor"): string {
    const aor = this.address(text, field);
    const host = aor.slice(aor.lastIndexOf("@") + 1);
    const domains = this.#options.domains();
    if (!domains.includes(host)) {
      const message = `${host} is no domain served here: ${domains.join(", ")} ${domains.length === 1 ? "is" : "are"}.`;
      throw new Problem(400, "foreign-domain", message, { field });
    }
    return aor;
  }

  /** The canonical form of any address. */
  address(text: string, field: string): string {
    const aor = this.#options.canonicalAor(text);
    if (aor !== undefined) return aor;
    throw new Problem(400, "bad-aor", `${JSON.stringify(text.slice(0, 100))} is no user@host.`, { field });
  }

  /** The name of a configured server. */
  server(name: string, field = "server", status = 400): string {
    const known = this.#options.proxy.servers().map((each) => each.name);
    if (known.includes(name)) return name;
    const message = `There is no server ${JSON.stringify(name.slice(0, 64))}: ${known.join(", ")} ${known.length === 1 ? "is" : "are"} known.`;
    throw new Problem(status, "unknown-server", message, { field });
  }

  servers(names: readonly string[], field: string): void {
    for (const name of names) this.server(name, field);
  }

  /** What a record says of the servers of a unioned user, each setting by itself and all of them together. */
  union({ style, tree, servers }: UnionSettings): void {
    const refuse = (field: string, message: string): never => {
      throw new Problem(400, "bad-setting", message, { field: `settings.${field}` });
    };
    this.servers(servers ?? [], "settings.servers");
    if (tree !== undefined) {
      const known = this.#options.proxy.settings.unions.trees.map((each) => each.name);
      const are =
        known.length === 0 ? "none is configured" : `${known.join(", ")} ${known.length === 1 ? "is" : "are"} known`;
      if (!known.includes(tree)) refuse("tree", `There is no tree ${JSON.stringify(tree)}: ${are}.`);
      if (servers !== undefined) refuse("servers", "A tree has its own servers: name one of the two.");
      if (style === "peer") refuse("tree", "The peer style has no tree, but servers.");
    } else if (style === "hierarchical") refuse("style", "The hierarchical style needs a tree.");
    else if (style === "peer" && servers === undefined) refuse("style", "The peer style needs servers.");
  }
}
