import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import { type Path, type PathFault, printPath } from "./faults.ts";

/** A YAML text as plain values that still know where each of them was written. */
export interface Source {
  readonly value: unknown;
  /** Faults of the YAML itself and of `${…}`. */
  readonly faults: readonly PlacedFault[];
  /** Paths whose text came from the environment: numbers among them are still strings. */
  readonly substituted: ReadonlySet<string>;
  place(path: Path, at: "key" | "value"): Place;
}

export interface Place {
  readonly line: number;
  readonly column: number;
}

export type PlacedFault = Omit<PathFault, "at"> & Place;

const MAX_NODES = 100_000;

/** `${` and `}` mean something else to YAML inside `{ … }`, so they are hidden from it, each behind as many characters. */
const OPEN = "\uE000\uE001";
const CLOSE = "\uE002";
const HIDDEN = new RegExp(`(\\$?)${OPEN}(\\w+)${CLOSE}`, "g");

function hide(text: string): string {
  return text.replace(/\$\{([A-Za-z_]\w*)\}/g, `${OPEN}$1${CLOSE}`);
}

function visible(text: string): string {
  return text.replaceAll(OPEN, "${").replaceAll(CLOSE, "}");
}

const START: Place = { line: 1, column: 1 };

/** Reads YAML 1.2; `${NAME}` in a value is taken from `env`, `$${` stands for a literal `${`. */
export function readSource(text: string, env: Readonly<Record<string, string | undefined>>): Source {
  const lines = new LineCounter();
  const document = parseDocument(hide(text), { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const faults: PlacedFault[] = [];
  const keys = new Map<string, number>();
  const values = new Map<string, number>();
  const substituted = new Set<string>();
  let nodes = 0;

  const placeOf = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return line === 0 ? START : { line, column: col };
  };
  const fault = (path: Path, offset: number, message: string, fix: string): void => {
    faults.push({ severity: "error", path, message, fix, ...placeOf(offset) });
  };

  // After the first place where the text is no YAML the parser guesses: what it says then helps nobody.
  const broken = document.errors.find((error) => error.code !== "DUPLICATE_KEY");
  for (const error of document.errors) {
    if (error.code === "DUPLICATE_KEY") fault([], error.pos[0], "This key was given before.", "Keep one of the two.");
  }
  if (broken !== undefined) {
    const message = `This is no valid YAML: ${sentence(visible(broken.message))}`;
    fault([], broken.pos[0], message, "Check indentation, quotes and brackets here.");
  }

  const substitute = (raw: string, path: Path, offset: number): string =>
    raw.replace(HIDDEN, (whole, escaped: string, name: string) => {
      if (escaped !== "") return visible(whole.slice(1));
      const value = env[name];
      if (value === undefined) {
        fault(path, offset, `The environment has no variable "${name}".`, `Set ${name}, or write the value here.`);
        return "";
      }
      substituted.add(printPath(path));
      return value;
    });

  const walk = (node: unknown, path: Path, seen: readonly Node[]): unknown => {
    if (++nodes > MAX_NODES) {
      if (nodes === MAX_NODES + 1)
        fault([], 0, "The configuration is too large.", `Keep it under ${MAX_NODES} values.`);
      return null;
    }
    if (node === null || node === undefined) return null;
    const target = isAlias(node) ? node.resolve(document) : (node as Node);
    const offset = (node as Node).range?.[0] ?? 0;
    values.set(printPath(path), offset);
    if (target === undefined || seen.includes(target)) {
      fault(path, offset, "This alias leads nowhere or to itself.", "Write the value out.");
      return null;
    }
    const inside = [...seen, target];
    if (isMap(target)) {
      const out: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
      for (const pair of target.items) {
        const key = isScalar(pair.key) ? visible(String(pair.key.value)) : String(pair.key);
        const below = [...path, key];
        keys.set(printPath(below), (pair.key as Node).range?.[0] ?? offset);
        out[key] = walk(pair.value, below, inside);
      }
      return out;
    }
    if (isSeq(target)) return target.items.map((item, i) => walk(item, [...path, i], inside));
    if (isScalar(target))
      return typeof target.value === "string" ? substitute(target.value, path, offset) : target.value;
    return null;
  };

  const value = walk(document.contents, [], []);
  return {
    value,
    faults,
    substituted,
    place(path, at) {
      // What is missing is told at the nearest thing around it that was written.
      for (let n = path.length; n > 0; n--) {
        const name = printPath(path.slice(0, n));
        const whole = n === path.length;
        const offset =
          whole && at === "value" ? (values.get(name) ?? keys.get(name)) : (keys.get(name) ?? values.get(name));
        if (offset !== undefined) return placeOf(offset);
      }
      return START;
    },
  };
}

function sentence(text: string): string {
  const line = text.split("\n")[0]!.trim();
  return /[.!?]$/.test(line) ? line : `${line}.`;
}
