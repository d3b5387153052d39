/** One thing wrong with a configuration, where, and what to do about it. */
export interface Fault {
  readonly severity: "error" | "warning";
  /** 1-based. */
  readonly line: number;
  /** 1-based. */
  readonly column: number;
  /** `servers.east.uri`, `listen[0]`; empty: the document. */
  readonly path: string;
  /** A plain sentence: what is wrong. */
  readonly message: string;
  /** A plain sentence: what to write instead. */
  readonly fix: string;
}

export type Path = readonly (string | number)[];

/** A fault before its place in the text is looked up. `at`: whether the key or its value is to blame. */
export interface PathFault {
  readonly severity: "error" | "warning";
  readonly path: Path;
  readonly at: "key" | "value";
  readonly message: string;
  readonly fix: string;
}

export function printPath(path: Path): string {
  let out = "";
  for (const part of path) {
    if (typeof part === "number") out += `[${part}]`;
    else if (/^[\w-]+$/.test(part)) out += out === "" ? part : `.${part}`;
    else out += `[${JSON.stringify(part)}]`;
  }
  return out;
}

/** `FILE:LINE:COLUMN: path: message fix`, the form editors and people know from compilers. */
export function printFault(fault: Fault, file: string): string {
  const where = fault.path === "" ? "" : `${fault.path}: `;
  const mark = fault.severity === "warning" ? "warning: " : "";
  return `${file}:${fault.line}:${fault.column}: ${mark}${where}${fault.message} ${fault.fix}`;
}

/** The candidate a typing error away from `word`, if there is one. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const limit = Math.max(1, Math.floor(word.length / 3));
  let best: string | undefined;
  let least = limit + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** "Did you mean …?", else the list to choose from. */
export function suggest(word: string, candidates: readonly string[]): string {
  const near = nearest(word, candidates);
  if (near !== undefined) return `Did you mean "${near}"?`;
  if (candidates.length === 0) return "Remove it.";
  return `Use one of: ${candidates.join(", ")}.`;
}

/** Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours. */
function editDistance(a: string, b: string): number {
  if (a.length > 64 || b.length > 64) return a === b ? 0 : 64;
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2]! + 1);
      row.push(cost);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}
