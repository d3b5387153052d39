import { z } from "zod";
import type { Path } from "./faults.ts";
import { configSchema } from "./schema.ts";

/** The parts of a JSON Schema that are looked at here. */
export interface JsonSchema {
  readonly [keyword: string]: unknown;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly const?: unknown;
}

/** The published schema of the YAML (draft 2020-12), for editors. */
export function jsonSchema(): JsonSchema {
  const { $schema, ...rest } = z.toJSONSchema(configSchema, { io: "input", target: "draft-2020-12" }) as JsonSchema;
  return { $schema, title: "codomain", ...rest };
}

/** The schemas that may hold at `path` of `value`: several where alternatives are not told apart by a constant. */
function schemasAt(schema: JsonSchema, path: Path, value: unknown): readonly JsonSchema[] {
  const alternatives = schema.oneOf ?? schema.anyOf;
  if (alternatives !== undefined) {
    const fitting = alternatives.filter((each) =>
      Object.entries(each.properties ?? {}).every(
        ([key, of]) => of.const === undefined || of.const === member(value, key),
      ),
    );
    return (fitting.length > 0 ? fitting : alternatives).flatMap((each) => schemasAt(each, path, value));
  }
  const [first, ...rest] = path;
  if (first === undefined) return [schema];
  const extra = typeof schema.additionalProperties === "object" ? schema.additionalProperties : undefined;
  const below = typeof first === "number" ? schema.items : (schema.properties?.[first] ?? extra);
  return below === undefined ? [] : schemasAt(below, rest, member(value, first));
}

export function member(value: unknown, key: string | number): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string | number, unknown>)[key] : undefined;
}

let whole: JsonSchema | undefined;

/** The keys that may stand in the object at `path`. */
export function keysAt(path: Path, document: unknown): readonly string[] {
  whole ??= jsonSchema();
  return [...new Set(schemasAt(whole, path, document).flatMap((each) => Object.keys(each.properties ?? {})))];
}

/** What stands at `path`, in a sentence; undefined where nothing can. */
export function describedAt(path: Path, document: unknown): string | undefined {
  whole ??= jsonSchema();
  return schemasAt(whole, path, document).find((each) => each.description !== undefined)?.description;
}
