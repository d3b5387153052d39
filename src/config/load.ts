import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, resolve } from "node:path";
import { checkDraft } from "./check.ts";
import { type Config, deepFreeze } from "./config.ts";
import { readDraft, sectionsWithDefaults } from "./draft.ts";
import { type Fault, type Path, type PathFault, printPath } from "./faults.ts";
import { type Files, resolveConfig } from "./resolve.ts";
import { readSource } from "./source.ts";

export interface LoadOptions {
  /** Where `${NAME}` is looked up; default: the process's environment. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Path of the text, for relative paths in it; default: the working directory. */
  readonly file?: string;
  /** Reads a file named in the text; default: from disk. */
  readonly readFile?: (path: string) => string;
  /** Default for `proxy-name`. */
  readonly hostName?: string;
}

export type Loaded =
  | { readonly config: Config; readonly warnings: readonly Fault[] }
  /** At least one error; warnings too, in the order of the text. */
  | { readonly config?: undefined; readonly faults: readonly Fault[] };

/** Text to a configuration: parse, shape, checks, freeze. All faults are found in one go. */
export function loadConfig(text: string, options: LoadOptions = {}): Loaded {
  const source = readSource(text, options.env ?? process.env);
  const faults: Fault[] = source.faults.map((each) => ({ ...each, path: printPath(each.path) }));
  const shape: PathFault[] = [];
  const place = (fault: PathFault): Fault => {
    const { line, column } = source.place(fault.path, fault.at);
    return {
      severity: fault.severity,
      line,
      column,
      path: printPath(fault.path),
      message: fault.message,
      fix: fault.fix,
    };
  };

  // A text that is no YAML has been misread: what its values lack says nothing.
  const broken = source.faults.some((each) => each.path.length === 0);
  const draft = broken
    ? undefined
    : readDraft(source, (fault) => {
        // A variable that is missing is one fault, not two.
        if (!source.faults.some((each) => related(each.path, fault.path))) shape.push(fault);
      });
  faults.push(...shape.map(place));
  if (draft === undefined) return { faults: inOrder(faults) };

  const report = (fault: PathFault): void => {
    // Nor is a value of the wrong shape.
    const known =
      shape.some((each) => related(each.path, fault.path)) ||
      source.faults.some((each) => related(each.path, fault.path));
    if (!known) faults.push(place(fault));
  };
  const sections = sectionsWithDefaults(draft.sections);
  const domains = sections.domains ?? [sections.domain ?? "example.com"];
  checkDraft(draft, domains, report);
  const base = options.file === undefined ? process.cwd() : dirname(resolve(options.file));
  const files: Files = { base, read: options.readFile ?? ((path) => readFileSync(path, "utf8")) };
  const config = resolveConfig(draft, sections, domains, files, options.hostName ?? hostname(), report);

  if (faults.some((each) => each.severity === "error")) return { faults: inOrder(faults) };
  return { config: deepFreeze(config), warnings: inOrder(faults) };
}

function related(a: Path, b: Path): boolean {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return false;
  return length > 0;
}

function inOrder(faults: readonly Fault[]): readonly Fault[] {
  return [...faults].sort((a, b) => a.line - b.line || a.column - b.column);
}
