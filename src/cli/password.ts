import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { UsageError } from "../base/errors.ts";
import type { Io } from "./output.ts";

export type PasswordInput = NodeJS.ReadableStream & { readonly isTTY?: boolean };

/** The first line of `input`; a terminal is asked for it, and shows nothing of what is typed. Throws a UsageError where there is none. */
export async function readPassword(input: PasswordInput, io: Io): Promise<string> {
  const terminal = input.isTTY === true;
  if (terminal) io.printError("Password (not shown):");
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input, terminal, ...(terminal ? { output: nowhere } : {}) });
  try {
    for await (const line of lines) {
      if (line === "") break;
      return line;
    }
  } finally {
    lines.close();
  }
  throw new UsageError("No password was given: type one, or send it to standard input.");
}
