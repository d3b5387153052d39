import { makeIo } from "../../src/cli/output.ts";

/** A command's surroundings, and what it wrote. */
export function captured(env: Readonly<Record<string, string>> = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const io = makeIo(
    env,
    (text) => void out.push(text),
    (text) => void err.push(text),
  );
  return { io, stdout: () => out.join(""), stderr: () => err.join("") };
}
