import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { loadConfig } from "../../src/config/load.ts";
import { decide } from "../../src/federation/decide.ts";
import type { Facts, Origin } from "../../src/federation/facts.ts";
import { compileModels, modelOf } from "../../src/federation/model.ts";
import { CLIENT, facts, fromServer, server, settings } from "../federation/make.ts";

const text = readFileSync(new URL("../../docs/unioned.md", import.meta.url), "utf8");
const examples = text.split("\n## ").flatMap((section) => {
  const yaml = section.split("```yaml\n")[1]?.split("```")[0];
  return yaml === undefined ? [] : [[section.split("\n")[0]!, yaml] as const];
});

function load(yaml: string): Config {
  const loaded = loadConfig(yaml, { env: {} });
  if (loaded.config === undefined) throw new Error(JSON.stringify(loaded.faults));
  expect(loaded.warnings).toEqual([]);
  return loaded.config;
}

/** Whom a SUBSCRIBE to a user of this configuration is sent to. */
function asked(config: Config, origin: Origin, direction: Facts["direction"] = "up"): readonly string[] {
  const models = compileModels(config.models.map(({ match, ...model }) => ({ match, model })));
  const plan = decide(
    facts({
      method: "SUBSCRIBE",
      event: "presence",
      origin,
      direction,
      model: modelOf(models, facts().aor, null).model,
      servers: config.servers.map(({ name, onward }) => server(name, { onward })),
      settings: settings({
        unions: {
          trees: config.trees,
          downListener: config.listen.some((each) => each.direction === "down"),
          unreachable: "wait",
        },
      }),
    }),
  );
  if (plan.kind !== "compose") throw new Error(`${plan.kind}: ${plan.reasons.join("; ")}`);
  return plan.servers;
}

describe("docs/unioned.md", () => {
  it.each(examples)("%s: codomain check finds nothing amiss", (_title, yaml) => {
    load(yaml);
  });

  it("does what it says", () => {
    expect(examples.map(([title]) => title)).toEqual([
      "Two servers that know nothing of each other",
      "A tree",
      "Peers that go onward",
    ]);
    const [two, tree, peers] = examples.map(([, yaml]) => load(yaml));
    expect(asked(two!, fromServer("desk"))).toEqual(["mobile"]);
    expect(asked(two!, CLIENT)).toEqual(["desk", "mobile"]);
    expect(asked(tree!, CLIENT)).toEqual(["main", "hub"]);
    expect(asked(tree!, fromServer("mobile"))).toEqual(["main", "hub"]);
    expect(asked(tree!, fromServer("main"))).toEqual(["hub"]);
    expect(asked(tree!, fromServer("hub"), "down")).toEqual(["mobile", "location"]);
    expect(asked(peers!, fromServer("north"))).toEqual(["south", "archive"]);
  });
});
