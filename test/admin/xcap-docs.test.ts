import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { ask, openDesk } from "./support.ts";

const text = readFileSync(new URL("../../docs/xcap.md", import.meta.url), "utf8");
const hasCurl = spawnSync("curl", ["--version"]).status === 0;
const folder = mkdtempSync(join(tmpdir(), "codomain-xcap-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Step {
  readonly command: string;
  readonly output: string;
}

/** Commands begin with `$ `, and what they print follows; a here-document belongs to its command. */
function stepsOf(block: string): Step[] {
  const steps: { command: string[]; output: string[]; until: string | null }[] = [];
  for (const line of block.trimEnd().split("\n")) {
    const last = steps.at(-1);
    if (last !== undefined && last.until !== null) {
      last.command.push(line);
      if (line === last.until) last.until = null;
    } else if (line.startsWith("$ ")) {
      steps.push({ command: [line.slice(2)], output: [], until: /<<'(\w+)'/.exec(line)?.[1] ?? null });
    } else last!.output.push(line);
  }
  return steps.map(({ command, output }) => ({ command: command.join("\n"), output: output.join("\n") }));
}

const steps = [...text.matchAll(/```console\n([\s\S]*?)```/g)].flatMap((match) => stepsOf(match[1]!));

describe("docs/xcap.md", () => {
  it.skipIf(!hasCurl)("says what really happens (skipped without curl)", { timeout: 60_000 }, async () => {
    const desk = await openDesk();
    await ask(desk, "PUT", "/api/v1/users/alice@example.com/password", { password: "wonderland" });
    const url = await desk.app.listen({ host: "127.0.0.1", port: 0 });
    expect(steps.length).toBeGreaterThan(15);
    const marked = steps.map(({ command }) => `${command}\necho "---end---"`).join("\n");
    const printed = await new Promise<string>((resolve) => {
      const script = marked.replaceAll("http://127.0.0.1:8060", url);
      execFile("sh", ["-c", script], { cwd: folder }, (_error, stdout) => resolve(stdout));
    });
    const outputs = printed.split("---end---\n").slice(0, -1);
    expect(steps.map(({ command }, i) => `$ ${command}\n${outputs[i]?.trimEnd()}`)).toEqual(
      steps.map(({ command, output }) => `$ ${command}\n${output}`),
    );
  });

  it("names every status, usage and Content-Type that there is", () => {
    for (const each of ["pres-rules", "im-rules", "im-routing", "xcap-caps", "application/xcap-error+xml"])
      expect(text).toContain(each);
  });
});
