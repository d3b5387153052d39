import { type Path, type PathFault, suggest } from "./faults.ts";

/** How a check says what it found. */
export class Checks {
  readonly #report: (fault: PathFault) => void;

  constructor(report: (fault: PathFault) => void) {
    this.#report = report;
  }

  error(path: Path, message: string, fix: string, at: "key" | "value" = "value"): void {
    this.#report({ severity: "error", path, at, message, fix });
  }

  warn(path: Path, message: string, fix: string, at: "key" | "value" = "value"): void {
    this.#report({ severity: "warning", path, at, message, fix });
  }

  /** A name that must be one of those defined elsewhere. */
  known(path: Path, name: string, what: string, names: readonly string[]): void {
    if (!names.includes(name)) this.error(path, `There is no ${what} "${name}".`, suggest(name, names));
  }
}
