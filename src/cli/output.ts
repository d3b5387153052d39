import { CodomainError, UsageError } from "../base/errors.ts";

/** What a command may touch of the process it runs in. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** To standard output; a newline is added. */
  print(text: string): void;
  /** To standard error; a newline is added. */
  printError(text: string): void;
  /** The command has failed (1) or was used wrongly (2) although nothing was thrown; the worst one stays. */
  fail(code: 1 | 2): void;
  readonly exitCode: number;
}

export function processIo(): Io {
  return makeIo(
    process.env,
    (text) => process.stdout.write(text),
    (text) => process.stderr.write(text),
  );
}

export function makeIo(env: Io["env"], out: (text: string) => void, err: (text: string) => void): Io {
  let code = 0;
  return {
    env,
    print: (text) => out(`${text}\n`),
    printError: (text) => err(`${text}\n`),
    fail: (with_) => {
      code = Math.max(code, with_);
    },
    get exitCode() {
      return code;
    },
  };
}

/** One line of machine output. */
export function printJson(io: Io, value: unknown): void {
  io.print(JSON.stringify(value));
}

/** Columns aligned, two spaces between; numbers to the right. No rows: `empty`. */
export function table(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  empty = "none",
): string {
  if (rows.length === 0) return empty;
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => String(row[i] ?? "").length)));
  const line = (cells: readonly (string | number)[]): string =>
    cells
      .map((cell, i) =>
        typeof cell === "number" ? String(cell).padStart(widths[i]!) : String(cell).padEnd(widths[i]!),
      )
      .join("  ")
      .trimEnd();
  return [line(head), ...rows.map(line)].join("\n");
}

/** What a failure is told as: one plain sentence on standard error, and the exit code. */
export function reportFailure(io: Io, error: unknown): void {
  io.fail(error instanceof UsageError ? 2 : 1);
  if (error instanceof CodomainError) io.printError(error.message);
  else if (error instanceof Error && "code" in error) io.printError(`${error.message}.`);
  else io.printError(error instanceof Error ? (error.stack ?? error.message) : String(error));
}
