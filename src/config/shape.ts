import type { z } from "zod";
import { type Path, type PathFault, printPath, suggest } from "./faults.ts";
import { describedAt, keysAt, member } from "./json-schema.ts";

type Issue = z.core.$ZodIssue;

/** What the shape check works on: the whole document, for suggestions, and where faults go. */
export interface ShapeContext {
  readonly document: unknown;
  /** Paths whose text came from the environment. */
  readonly substituted: ReadonlySet<string>;
  report(fault: PathFault): void;
}

/**
 * Parses one section or element. Its faults are all reported; what is left when the keys at fault are taken away is
 * parsed again, so that the checks that follow see as much as can be seen. Undefined: nothing is left.
 */
export function salvage<T>(schema: z.ZodType<T>, raw: unknown, path: Path, context: ShapeContext): T | undefined {
  const value = structuredClone(raw);
  let result = schema.safeParse(value);
  if (!result.success && readNumbers(value, result.error.issues, path, context.substituted))
    result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues;
  for (const issue of issues) for (const fault of explain(issue, path, raw, context)) context.report(fault);
  for (const part of partsAtFault(issues)) {
    if (part === undefined || typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    delete (value as Record<string | number, unknown>)[part as string];
  }
  const rest = schema.safeParse(value);
  return rest.success ? rest.data : undefined;
}

/** A number out of the environment arrives as text. */
function readNumbers(value: unknown, issues: readonly Issue[], base: Path, substituted: ReadonlySet<string>): boolean {
  let read = false;
  for (const issue of issues) {
    const path = issue.path as Path;
    const last = path.at(-1);
    if (issue.code !== "invalid_type" || last === undefined || !substituted.has(printPath([...base, ...path])))
      continue;
    const parent = path.slice(0, -1).reduce<unknown>(member, value) as Record<string | number, unknown>;
    const text = parent[last];
    if (typeof text !== "string") continue;
    if ((issue.expected === "number" || issue.expected === "int") && /^\d{1,15}$/.test(text))
      parent[last] = Number(text);
    else if (issue.expected === "boolean" && (text === "true" || text === "false")) parent[last] = text === "true";
    else continue;
    read = true;
  }
  return read;
}

/** First path segments to take away; undefined: the value itself is at fault. */
function partsAtFault(issues: readonly Issue[]): ReadonlySet<PropertyKey | undefined> {
  const parts = new Set<PropertyKey | undefined>();
  for (const issue of issues) {
    if (issue.path.length > 0) parts.add(issue.path[0]);
    else if (issue.code === "unrecognized_keys") for (const key of issue.keys) parts.add(key);
    else if (issue.code === "invalid_union") for (const part of partsAtFault(likeliest(issue.errors))) parts.add(part);
    else parts.add(undefined);
  }
  return parts as ReadonlySet<PropertyKey | undefined>;
}

/** Of the alternatives of a union, the one that was meant: where the value at least has the right type. */
function likeliest(branches: readonly (readonly Issue[])[]): readonly Issue[] {
  const fitting = branches.filter(
    (branch) => !branch.some((issue) => issue.path.length === 0 && issue.code === "invalid_type"),
  );
  return fitting[0] ?? branches[0] ?? [];
}

function explain(issue: Issue, base: Path, root: unknown, context: ShapeContext): readonly PathFault[] {
  const inner = issue.path as Path;
  const path = [...base, ...inner];
  const value = inner.reduce<unknown>(member, root);
  const fault = (message: string, fix: string, at: "key" | "value" = "value"): PathFault[] => [
    { severity: "error", path, at, message, fix },
  ];
  const choice = (options: readonly string[]): PathFault[] =>
    typeof value === "object"
      ? fault(`This must be a single value, not ${article(typeName(value))}.`, `Use one of: ${options.join(", ")}.`)
      : fault(`${JSON.stringify(value)} is not known here.`, suggest(String(value), options));
  if (value === undefined && issue.code !== "unrecognized_keys" && inner.length > 0)
    return [missing(path, issue, context)];
  if (value === null && issue.code !== "custom")
    return fault("A value is missing.", "Write one, or remove the key.", "key");
  switch (issue.code) {
    case "unrecognized_keys": {
      const known = keysAt(path, context.document);
      return issue.keys.map((key) => ({
        severity: "error" as const,
        path: [...path, key],
        at: "key" as const,
        message: `"${key}" is no key here.`,
        fix: suggest(
          key,
          known.filter((each) => member(value, each) === undefined),
        ),
      }));
    }
    case "invalid_type":
      return fault(
        `This must be ${article(issue.expected)}, not ${article(typeName(value))}.`,
        issue.message.startsWith("Invalid") ? wanted(path, issue.expected, context) : issue.message,
      );
    case "invalid_value":
      return choice(issue.values.map(String));
    case "invalid_union": {
      const options = unionOptions(issue);
      if (options !== undefined) return choice(options);
      const branch = likeliest(issue.errors);
      const types = issue.errors
        .map((each) => each[0])
        .filter((each) => each?.code === "invalid_type" && each.path.length === 0);
      if (types.length === issue.errors.length) {
        const expected = types.map((each) => article((each as { expected: string }).expected)).join(" or ");
        return fault(`This must be ${expected}, not ${article(typeName(value))}.`, wanted(path, "", context));
      }
      return branch.flatMap((each) => explain(each, path, value, context));
    }
    case "too_small":
      if (issue.origin === "string") return fault("This must not be empty.", "Write a value, or remove the key.");
      if (issue.origin === "array")
        return fault(
          `This needs at least ${issue.minimum} ${issue.minimum === 1 ? "entry" : "entries"}.`,
          wanted(path, "", context),
        );
      return fault(`${String(value)} is too small.`, `Write at least ${issue.minimum}.`);
    case "too_big":
      if (issue.origin === "string") return fault("This is too long.", `Keep it within ${issue.maximum} characters.`);
      return fault(`${String(value)} is too large.`, `Write at most ${issue.maximum}.`);
    case "custom":
      return fault(issue.message, String(issue.params?.["fix"] ?? "Correct it."));
    default:
      return fault(`${issue.message}.`, wanted(path, "", context));
  }
}

function missing(path: Path, issue: Issue, context: ShapeContext): PathFault {
  const key = path.at(-1)!;
  const options =
    issue.code === "invalid_union"
      ? unionOptions(issue)
      : issue.code === "invalid_value"
        ? issue.values.map(String)
        : undefined;
  const meaning = describedAt(path, context.document);
  const fix =
    options !== undefined
      ? `Add "${key}": ${options.join(", ")}.`
      : `Add it${meaning === undefined ? "." : `: ${meaning}`}`;
  return { severity: "error", path, at: "value", message: `"${key}" is missing.`, fix };
}

/** The values to choose from, where a union is a choice of values and nothing else. */
function unionOptions(issue: Extract<Issue, { code: "invalid_union" }>): readonly string[] | undefined {
  const { discriminator, options } = issue as { discriminator?: string; options?: readonly unknown[] };
  if (discriminator !== undefined && options !== undefined) return options.map(String);
  const choices = issue.errors.flat().filter((each) => each.code === "invalid_value");
  const others = issue.errors.flat().filter((each) => each.code !== "invalid_value" && each.code !== "invalid_type");
  if (choices.length === 0 || others.length > 0) return undefined;
  return choices.flatMap((each) => (each as { values: readonly unknown[] }).values.map(String));
}

function wanted(path: Path, expected: string, context: ShapeContext): string {
  const meaning = describedAt(path, context.document);
  if (expected === "object" || expected === "record") {
    const keys = keysAt(path, context.document);
    return keys.length > 0 ? `Write keys and values: ${keys.join(", ")}.` : "Write `name: value` pairs.";
  }
  return meaning === undefined ? "Correct the value." : meaning;
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return value === null ? "null" : typeof value;
}

function article(type: string): string {
  const names: Readonly<Record<string, string>> = {
    string: "a text",
    number: "a number",
    int: "a whole number",
    boolean: "true or false",
    object: "a set of keys and values",
    record: "a set of names and values",
    array: "a list",
    null: "nothing",
  };
  return names[type] ?? type;
}
