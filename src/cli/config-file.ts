import { readFileSync } from "node:fs";
import { UsageError } from "../base/errors.ts";
import { type Fault, printFault } from "../config/faults.ts";
import { type Loaded, loadConfig } from "../config/load.ts";
import type { Io } from "./output.ts";

/** A configuration that cannot be run. */
export class FaultyConfig extends UsageError {
  readonly file: string;
  readonly faults: readonly Fault[];

  constructor(file: string, faults: readonly Fault[]) {
    const errors = faults.filter((each) => each.severity === "error");
    super(errors.map((each) => printFault(each, file)).join("\n"));
    this.file = file;
    this.faults = faults;
  }
}

/** Reads and checks a configuration file. Throws a UsageError where it cannot be read. */
export function loadConfigFile(file: string, io: Io): Loaded {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    throw new UsageError(`The configuration ${file} cannot be read (${code}): name another file with --config.`, {
      cause: error,
    });
  }
  return loadConfig(text, { env: io.env, file });
}

/** All faults, one a line, and what they add up to. */
export function printFaults(faults: readonly Fault[], file: string, io: Io): void {
  for (const fault of faults) io.printError(printFault(fault, file));
  const errors = faults.filter((each) => each.severity === "error").length;
  if (errors > 0)
    io.printError(
      `${file} has ${errors} ${errors === 1 ? "fault" : "faults"}: correct ${errors === 1 ? "it" : "them"} and try again.`,
    );
}
