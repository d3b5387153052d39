import type { z } from "zod";
import { type Path, type PathFault, suggest } from "./faults.ts";
import type { ListenUrl } from "./scalars.ts";
import {
  DEFAULT_LISTEN,
  listenObjectSchema,
  listenTextSchema,
  modelSchema,
  sections,
  serverSchema,
  TOP_KEYS,
  treeSchema,
} from "./schema.ts";
import { salvage } from "./shape.ts";
import type { Source } from "./source.ts";

type ListenObject = z.output<typeof listenObjectSchema>;

/** One element of a collection and where it was written. */
export interface Entry<T> {
  readonly path: Path;
  readonly value: T;
}

export type SectionValues = { readonly [K in keyof typeof sections]?: z.output<(typeof sections)[K]> };

/** What has the right shape, before its parts are checked against each other. Elements at fault are absent. */
export interface Draft {
  /** The top-level keys that were written. */
  readonly written: ReadonlySet<string>;
  readonly sections: SectionValues;
  readonly listen: readonly Entry<Omit<ListenObject, "url"> & ListenUrl>[];
  /** How many were written: more than there are, where some are at fault. */
  readonly listenWritten: number;
  readonly servers: ReadonlyMap<string, Entry<z.output<typeof serverSchema>>>;
  /** Every name written, so that a reference to a faulty server is no second fault. */
  readonly serverNames: readonly string[];
  readonly trees: ReadonlyMap<string, Entry<z.output<typeof treeSchema>>>;
  readonly treeNames: readonly string[];
  readonly models: readonly Entry<z.output<typeof modelSchema>>[];
}

const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?$/;

/** Reads a source section by section and element by element, so that one fault hides no other. */
export function readDraft(source: Source, report: (fault: PathFault) => void): Draft | undefined {
  const root = source.value;
  if (root !== null && (typeof root !== "object" || Array.isArray(root))) {
    const message = "The configuration must be a set of keys and values.";
    report({ severity: "error", path: [], at: "value", message, fix: 'Begin with "servers:" and name your servers.' });
    return undefined;
  }
  const document = (root ?? {}) as Readonly<Record<string, unknown>>;
  const context = { document, substituted: source.substituted, report };
  const error = (path: Path, message: string, fix: string, at: "key" | "value" = "value"): void =>
    report({ severity: "error", path, at, message, fix });

  for (const key of Object.keys(document)) {
    if (TOP_KEYS.includes(key)) continue;
    error(
      [key],
      `"${key}" is no key here.`,
      suggest(
        key,
        TOP_KEYS.filter((each) => !(each in document)),
      ),
      "key",
    );
  }

  const values: Record<string, unknown> = {};
  for (const [key, schema] of Object.entries(sections))
    values[key] = salvage<unknown>(schema, document[key], [key], context);

  const collection = (key: "servers" | "trees"): readonly (readonly [string, unknown])[] => {
    const value = document[key];
    if (value === undefined) return [];
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return Object.entries(value);
    error([key], "This must be a set of names and values.", `Write "name: { … }" under "${key}".`, "key");
    return [];
  };
  const list = (key: "listen" | "models"): readonly unknown[] => {
    const value = document[key];
    if (value === undefined) return key === "listen" ? DEFAULT_LISTEN : [];
    if (Array.isArray(value) && (value.length > 0 || key === "models")) return value;
    error(
      [key],
      Array.isArray(value) ? "This list is empty." : "This must be a list.",
      `Write one "- …" a line under "${key}", or leave it out.`,
      "key",
    );
    return [];
  };
  const named = (path: Path, what: string): void => {
    const name = String(path.at(-1));
    if (!NAME.test(name))
      error(path, `"${name}" is no name for a ${what}.`, "Use letters, digits, hyphens and underscores.", "key");
  };

  const listen: Draft["listen"][number][] = [];
  const listeners = list("listen");
  listeners.forEach((raw, i) => {
    const path = ["listen", i];
    if (typeof raw === "string") {
      const url = salvage(listenTextSchema, raw, path, context);
      if (url !== undefined) listen.push({ path, value: { direction: "up", ...url } });
      return;
    }
    const object = salvage(listenObjectSchema, raw, path, context);
    if (object !== undefined) listen.push({ path, value: { ...object, ...object.url } });
  });

  const servers = new Map<string, Entry<z.output<typeof serverSchema>>>();
  for (const [name, raw] of collection("servers")) {
    named(["servers", name], "server");
    const value = salvage(serverSchema, raw, ["servers", name], context);
    if (value !== undefined) servers.set(name, { path: ["servers", name], value });
  }
  const trees = new Map<string, Entry<z.output<typeof treeSchema>>>();
  for (const [name, raw] of collection("trees")) {
    named(["trees", name], "tree");
    const value = salvage(treeSchema, raw, ["trees", name], context);
    if (value !== undefined) trees.set(name, { path: ["trees", name], value });
  }
  const models: Entry<z.output<typeof modelSchema>>[] = [];
  list("models").forEach((raw, i) => {
    const value = salvage(modelSchema, raw, ["models", i], context);
    if (value !== undefined) models.push({ path: ["models", i], value });
  });

  return {
    written: new Set(Object.keys(document)),
    sections: values as SectionValues,
    listen,
    listenWritten: listeners.length,
    servers,
    serverNames: collectionNames(document["servers"]),
    trees,
    treeNames: collectionNames(document["trees"]),
    models,
  };
}

function collectionNames(value: unknown): readonly string[] {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.keys(value) : [];
}

/** The defaults of every section: what an empty document gives. */
export type Sections = { readonly [K in keyof typeof sections]: z.output<(typeof sections)[K]> };

export function sectionsWithDefaults(values: SectionValues): Sections {
  const defaults = Object.fromEntries(Object.entries(sections).map(([key, schema]) => [key, schema.parse(undefined)]));
  const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
  return { ...defaults, ...given } as Sections;
}
