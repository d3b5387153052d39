import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { example, version } from "./help.ts";
import { type Io, printJson } from "./output.ts";

/** `demo`: exit 0 only if every step did what it says. */
export function registerDemo(program: Command, io: Io): void {
  program
    .command("demo")
    .description(
      "show the main job: three example servers, requests forked, learned and relayed, a user moved, as a checked call flow",
    )
    .addHelpText("after", example("codomain demo"))
    .action(async (_options: unknown, command: Command) => {
      const json = command.optsWithGlobals<{ json?: boolean }>().json === true;
      const data = mkdtempSync(join(tmpdir(), "codomain-demo-"));
      // Postgres runs as a user of its own where this one is root.
      chmodSync(data, 0o755);
      try {
        // Loaded when it is needed: other commands start faster without it.
        const { playDemo } = await import("../demo/demo.ts");
        const { createRealRuntime } = await import("../runtime/real.ts");
        const parts = { runtime: createRealRuntime(), version: version(), data: join(data, "postgres") };
        const failed = await playDemo(parts, json ? () => {} : io.print);
        if (json) printJson(io, { failed });
        if (failed > 0) io.fail(1);
      } finally {
        rmSync(data, { recursive: true, force: true });
      }
    });
}
