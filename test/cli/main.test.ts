import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createProgram } from "../../src/cli/help.ts";
import { table } from "../../src/cli/output.ts";
import { main } from "../../src/main.ts";
import { captured } from "./support.ts";

const directory = mkdtempSync(join(tmpdir(), "codomain-cli-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

async function run(...argv: string[]) {
  const { io, stdout, stderr } = captured();
  const code = await main(argv, io);
  return { code, stdout: stdout(), stderr: stderr() };
}

const GOOD = 'domain: a.com\nservers: { east: { uri: "sip:127.0.0.11" } }\n';

describe("codomain", () => {
  it("--help lists the commands and ends with 0", async () => {
    const { code, stdout } = await run("--help");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Usage: codomain/);
    expect(stdout).toContain("start");
    expect(stdout).toContain("check");
  });

  it("--version prints the version of the package", async () => {
    const { code, stdout } = await run("--version");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it("every command has a help with an example, and ends with 0", async () => {
    const { stdout } = await run("--help");
    const commands = [...stdout.slice(stdout.indexOf("Commands:")).matchAll(/^ {2}(\w+) /gm)].map((match) => match[1]!);
    expect(commands).toEqual(expect.arrayContaining(["start", "check"]));
    for (const command of commands) {
      const help = await run(command, "--help");
      expect(help.code, command).toBe(0);
      expect(help.stdout, command).toMatch(new RegExp(`Examples?:\\n {2}\\$ npx codomain ${command}`));
      expect(help.stdout, command).toContain("--json");
    }
  });

  it.each([
    [["strt"], "start"],
    [["check"], "--config"],
    [["start", "--confg", "x"], "--config"],
    [["start", "superfluous"], "--help"],
    [["--unknown"], "--help"],
  ])("%j is wrong usage: one plain sentence on standard error, exit 2", async (argv, hint) => {
    const { code, stdout, stderr } = await run(...argv);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stderr).toContain(hint);
    expect(stderr).not.toMatch(/^error:/);
  });

  it("without a command shows the help on standard error, exit 2", async () => {
    const { code, stdout, stderr } = await run();
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^Usage: codomain/);
  });
});

describe("codomain check", () => {
  it("says what a valid configuration holds, exit 0", async () => {
    const path = file("good.yaml", GOOD);
    const { code, stdout, stderr } = await run("check", "--config", path);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toBe(`${path} is valid: a.com on east, 0 rules for models.\n`);
  });

  it("tells every fault with line and column, exit 2", async () => {
    const path = file("bad.yaml", `${GOOD}learnd: 1h\nclients: { home: wst }\n`);
    const { code, stdout, stderr } = await run("check", "--config", path);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr.split("\n").slice(0, 2)).toEqual([
      `${path}:3:1: learnd: "learnd" is no key here. Did you mean "learned"?`,
      `${path}:4:18: clients.home: There is no server "wst". Use one of: east.`,
    ]);
  });

  it("tells warnings and still ends with 0", async () => {
    const path = file("warn.yaml", `${GOOD}timers: { c: 1m }\n`);
    const { code, stdout, stderr } = await run("check", "--config", path);
    expect(code).toBe(0);
    expect(stderr).toContain("warning: timers.c");
    expect(stdout).toContain("is valid");
  });

  it("--json prints one document, before or after the command", async () => {
    const path = file("bad2.yaml", `${GOOD}learnd: 1h\n`);
    for (const argv of [
      ["--json", "check", "--config", path],
      ["check", "--config", path, "--json"],
    ]) {
      const { code, stdout, stderr } = await run(...argv);
      expect([code, stderr]).toEqual([2, ""]);
      expect(JSON.parse(stdout)).toMatchObject({
        file: path,
        valid: false,
        faults: [{ line: 3, column: 1, path: "learnd", severity: "error" }],
      });
    }
  });

  it("a file that cannot be read: one sentence, exit 2", async () => {
    const { code, stderr } = await run("check", "--config", join(directory, "none.yaml"));
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^The configuration .*none\.yaml cannot be read \(ENOENT\): name another file with --config\.\n$/,
    );
  });
});

describe("codomain start", () => {
  it("with a faulty configuration starts nothing: every fault, exit 2", async () => {
    const path = file("bad3.yaml", `${GOOD}learnd: 1h\nabsent-memory: x\n`);
    const { code, stderr } = await run("start", "--config", path);
    expect(code).toBe(2);
    expect(stderr).toContain(`${path}:3:1:`);
    expect(stderr).toContain(`${path}:4:16:`);
    expect(stderr).toContain("2 faults");
  });
});

describe("output", () => {
  it("a table aligns its columns, numbers to the right", () => {
    expect(
      table(
        ["name", "users"],
        [
          ["east", 7],
          ["northern", 1200],
        ],
      ),
    ).toBe("name      users\neast          7\nnorthern   1200");
    expect(table(["name"], [])).toBe("none");
  });

  it("the program keeps the process: help and errors go to what it was given", async () => {
    const { io, stdout } = captured();
    await expect(createProgram(io).parseAsync(["--help"], { from: "user" })).rejects.toThrow("(outputHelp)");
    expect(stdout()).toContain("Usage: codomain");
  });
});
