import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type JsonSchema, jsonSchema } from "../../src/config/json-schema.ts";

const text = (name: string): string => readFileSync(new URL(`../../${name}`, import.meta.url), "utf8");

/** Every key that a configuration may hold, with its description. */
function keysOf(schema: JsonSchema, into = new Map<string, string | undefined>()): Map<string, string | undefined> {
  for (const [key, of] of Object.entries(schema.properties ?? {})) {
    into.set(key, of.description ?? into.get(key));
    keysOf(of, into);
  }
  for (const each of [...(schema.oneOf ?? []), ...(schema.anyOf ?? [])]) keysOf(each, into);
  if (schema.items !== undefined) keysOf(schema.items, into);
  if (typeof schema.additionalProperties === "object") keysOf(schema.additionalProperties, into);
  return into;
}

describe("the published JSON Schema", () => {
  it("is the one the program checks by (npx tsx src/config/print-schema.ts > config.schema.json)", () => {
    expect(JSON.parse(text("config.schema.json"))).toEqual(jsonSchema());
  });

  it("is of draft 2020-12 and allows no unknown key", () => {
    const schema = jsonSchema();
    expect(schema["$schema"]).toBe("https://json-schema.org/draft/2020-12/schema");
    expect(schema.additionalProperties).toBe(false);
    expect(schema["required"]).toEqual(["servers"]);
  });

  it("describes every key but the one that only names its variant", () => {
    const without = [...keysOf(jsonSchema())]
      .filter(([, description]) => description === undefined)
      .map(([key]) => key);
    expect(without).toEqual(["model"]);
  });
});

describe("codomain.example.yaml", () => {
  it("shows every key, each with a comment of its own", () => {
    const lines = text("codomain.example.yaml").split("\n");
    for (const key of keysOf(jsonSchema()).keys()) {
      const shown = lines.find((each) => new RegExp(`^[# -]*${key}:.*#`).test(each));
      expect(shown, `${key} is not shown with a comment`).toBeDefined();
    }
  });
});
