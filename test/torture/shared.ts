import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The folder of data and examples beside the checkout, or what CODOMAIN_SHARED names. */
const root =
  process.env["CODOMAIN_SHARED"] === undefined
    ? new URL("../../../shared/", import.meta.url)
    : pathToFileURL(`${process.env["CODOMAIN_SHARED"]}/`);

export function sharedPath(path: string): string {
  return fileURLToPath(new URL(path, root));
}

export function hasShared(path: string): boolean {
  return existsSync(sharedPath(path));
}

/** A file's bytes as a latin1 string. */
export function sharedBytes(path: string): string {
  return readFileSync(sharedPath(path)).toString("latin1");
}
