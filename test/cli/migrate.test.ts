import { EventEmitter } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { createAdmin } from "../../src/admin/admin.ts";
import { createProgram } from "../../src/cli/help.ts";
import { registerMigrate } from "../../src/cli/migrate.ts";
import { main } from "../../src/main.ts";
import { MOVER_OPTIONS, Mover } from "../../src/moving/mover.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { openDesk } from "../admin/support.ts";
import { eventually } from "../support/child.ts";
import { captured } from "./support.ts";

const folder = mkdtempSync(join(tmpdir(), "codomain-migrate-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, ...lines: string[]): string {
  const path = join(folder, name);
  writeFileSync(path, lines.join("\n"));
  return path;
}

/** A proxy that runs batches, its admin API on loopback, and the command line pointed at it. */
async function serve() {
  let mover: Mover | undefined;
  const desk = await openDesk({ mover: { wake: (id) => mover?.wake(id) } });
  const runtime = createRealRuntime();
  const { directory } = desk;
  const parts = { runtime, telemetry: new Telemetry(), directory, models: () => desk.proxy.models };
  mover = new Mover(parts, "proxy-1-x", { ...MOVER_OPTIONS, prepareMs: 20 });
  mover.start();
  onTestFinished(() => mover?.stop());
  const admin = await createAdmin(runtime, desk.options);
  onTestFinished(() => admin.stop());
  const env = { CODOMAIN_ADMIN: admin.url! };
  const run = async (...argv: string[]) => {
    const { io, stdout, stderr } = captured(env);
    const code = await main(["migrate", ...argv], io);
    return { code, stdout: stdout(), stderr: stderr() };
  };
  const bind = async (server: string, ...names: string[]) => {
    for (const name of names) {
      const claim = { aor: `${name}@example.com`, server, origin: "registered", expiresAt: null } as const;
      await directory.claim({ ...claim, conflict: "takeover", equalRank: true, actor: "t" });
    }
  };
  const where = async (name: string) => (await directory.user(`${name}@example.com`))?.binding?.server ?? null;
  return { directory, env, run, bind, where };
}

describe("codomain migrate", () => {
  it("--from --to moves everybody, says how to undo it, exit 0; --undo moves back; --list shows both", async () => {
    const { run, bind, where } = await serve();
    await bind("east", "y-1", "y-2");
    const { code, stdout, stderr } = await run("--from", "east", "--to", "west", "--rate", "1000/s");
    expect([code, stderr]).toEqual([0, ""]);
    const id = /^2 users moved to west in \d+ s, 0 refused\. Undo: npx codomain migrate --undo (\w{10})\n$/.exec(
      stdout,
    )?.[1];
    expect(id, stdout).toBeDefined();
    expect([await where("y-1"), await where("y-2")]).toEqual(["west", "west"]);
    const back = await run("--undo", id!);
    expect([back.code, back.stdout]).toEqual([0, expect.stringMatching(/^2 users moved back in /)]);
    expect(await where("y-1")).toBe("east");
    const list = (await run("--list")).stdout.trim().split("\n");
    expect(list).toHaveLength(3);
    expect(list[1]).toMatch(new RegExp(`undo ${id} +done +2 +2 +0 +0`));
    expect(list[2]).toMatch(/east to west +done +2 +2 +0 +2/);
  });

  it("a file: refused lines with their number, refused users with the reason, a report of all, exit 1", async () => {
    const { run, bind, where } = await serve();
    await bind("east", "y-1", "y-2", "y-3");
    await bind("north", "y-4");
    const path = file(
      "moves.csv",
      "aor,server,from",
      "y-1@example.com,west,",
      "# a note",
      "y-2@example.com,nowhere,",
      'y-3@example.com,we"st,east',
      "y-3@example.com,west,east,north",
      "y-3@example.com,,east",
      "y-1@example.com,north,",
      "y-4@example.com,west,east",
    );
    const reportFile = join(folder, "report.csv");
    const { code, stdout, stderr } = await run(path, "--rate", "1000", "--report", reportFile);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^1 user moved in \d+ s, 1 refused\. Undo: /);
    const told = stderr.trim().split("\n");
    expect(told.slice(0, -1).map((line) => line.slice(path.length + 1).split(":")[0])).toEqual([
      "4",
      "5",
      "6",
      "7",
      "8",
    ]);
    expect(told[0]).toContain('There is no server "nowhere": east, west, north are known.');
    expect(told[4]).toContain("he stands in line 2 already");
    expect(told.at(-1)).toBe("y-4@example.com: he is on north.");
    expect([await where("y-1"), await where("y-3"), await where("y-4")]).toEqual(["west", "east", "north"]);
    expect(readFileSync(reportFile, "utf8").trim().split("\n")).toEqual([
      "aor,from,to,state,epoch,reason",
      "y-1@example.com,east,west,moved,2,",
      "y-4@example.com,east,west,refused,,he is on north",
    ]);
  });

  it("--dry-run counts and writes nothing", async () => {
    const { run, bind, directory } = await serve();
    await bind("east", "y-1", "y-2");
    await directory.move({ aor: "y-3@example.com", to: "east", actor: "t" });
    await bind("north", "y-4");
    const path = file("dry.csv", "aor,server,from", "y-1@example.com,west,", "y-4@example.com,west,east");
    expect(await run(path, "--dry-run")).toEqual({
      code: 1,
      stdout: "1 user would be moved, 1 refused. Nothing was written.\n",
      stderr: `${path}:3: y-4@example.com: he is on north\n`,
    });
    expect(await run("--from", "east", "--to", "west", "--dry-run")).toMatchObject({
      code: 0,
      stdout: "3 users would be moved, 0 refused. Nothing was written.\n",
    });
    expect(await directory.moves.batches({ limit: 10 })).toEqual([]);
  });

  it("--json: one document a line, the batch last", async () => {
    const { run, bind } = await serve();
    await bind("east", "y-1");
    await bind("west", "y-2");
    const path = file("json.csv", "aor,server", "y-1@example.com,west", "y-2@example.com,west", "y-2@example.com,west");
    const { code, stdout, stderr } = await run(path, "--json", "--rate", "1000");
    const documents = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect([code, stderr, documents.length]).toEqual([1, "", 3]);
    expect(documents[0]).toEqual({ line: 4, aor: "y-2@example.com", reason: "he stands in line 3 already" });
    expect(documents[1]).toMatchObject({ aor: "y-2@example.com", reason: "he is on west already" });
    expect(documents[2]).toMatchObject({ kind: "list", state: "done", total: 2, moved: 1, refused: 1 });
  });

  it("Ctrl-C leaves the batch running and says how to come back; --pause stops it, --resume goes on to the end", async () => {
    const { run, bind, env, directory, where } = await serve();
    await bind("east", "y-1", "y-2", "y-3", "y-4", "y-5");
    const { io, stderr } = captured(env);
    const program = createProgram(io);
    const interrupts = new EventEmitter();
    const drawn: string[] = [];
    const screen = {
      isTTY: true,
      write: (text: string) => {
        drawn.push(text);
        if (/of 5 users/.test(text)) interrupts.emit("SIGINT");
      },
    };
    registerMigrate(program, io, { screen, interrupts });
    await program.parseAsync(["migrate", "--from", "east", "--to", "west", "--rate", "1"], { from: "user" });
    const id = /Batch (\w+) goes on without this command. Look again: npx codomain migrate --resume/.exec(
      stderr(),
    )?.[1];
    expect([io.exitCode, id]).toEqual([1, expect.any(String)]);
    expect(interrupts.listenerCount("SIGINT")).toBe(0);
    expect(drawn.join("")).toMatch(/\[[#.]{30}\] \d+ % {2}\d of 5 users, 0 refused/);
    expect((await run("--pause", id!)).stdout).toMatch(
      new RegExp(`^Batch ${id} is paused: \\d of 5 users moved\\.\n$`),
    );
    expect((await directory.moves.batch(id!))?.state).toBe("paused");
    const resumed = await run("--resume", id!);
    expect([resumed.code, resumed.stdout]).toEqual([0, expect.stringMatching(/^5 users moved to west in /)]);
    expect(await where("y-5")).toBe("west");
  });

  it("--cancel ends a batch, exit 1 for who follows it", async () => {
    const { run, bind } = await serve();
    await bind("east", ...Array.from({ length: 60 }, (_, i) => `y-${i}`));
    const following = run("--from", "east", "--to", "west", "--rate", "1");
    const id = await eventually(
      "the batch is listed",
      async () => /^\w{10}(?= )/.exec((await run("--list")).stdout.split("\n")[1] ?? "")?.[0],
    );
    expect((await run("--cancel", id)).stdout).toContain("is cancelled");
    const { code, stdout } = await following;
    expect([code, stdout]).toEqual([1, expect.stringMatching(new RegExp(`^Batch ${id} is cancelled\\. `))]);
  });

  it.each([
    [[], "Name a file, or --from and --to"],
    [["--from", "east"], "go together"],
    [["--from", "east", "--to", "eest"], 'There is no server "eest"'],
    [["--from", "east", "--to", "east"], "where the move starts"],
    [["--from", "east", "--to", "west", "--rate", "fast"], "--rate wants"],
    [["--from", "east", "--to", "west", "--rate", "0/s"], "--rate wants"],
    [["no-such-file.csv"], "cannot be read"],
    [["--undo", "x", "--resume", "y"], "Name a file"],
    [["--undo", "x", "--dry-run"], "--dry-run goes with"],
    [[file("empty.csv")], "is empty"],
    [[file("header.csv", "aor,model", "a,b")], '"model" is no column: use aor, server, from.'],
    [[file("half.csv", "aor", "a")], 'the column "server" is missing'],
  ])("%j is wrong usage: one sentence, exit 2, nobody moved", async (argv, hint) => {
    const { run, directory } = await serve();
    const { code, stdout, stderr } = await run(...argv);
    expect([code, stdout, stderr.trim().split("\n").length]).toEqual([2, "", 1]);
    expect(stderr).toContain(hint);
    expect((await directory.moves.batches({ limit: 10 })).filter((batch) => batch.state !== "cancelled")).toEqual([]);
  });

  it("an unknown batch, or a file of which no line can be taken: exit 1", async () => {
    const { run, directory } = await serve();
    expect(await run("--resume", "nothing")).toMatchObject({ code: 1, stderr: 'There is no batch "nothing".\n' });
    const path = file("none.csv", "aor,server", "y-1@example.com,nowhere");
    const { code, stderr } = await run(path);
    expect([code, stderr.trim().split("\n").at(-1)]).toEqual([1, `No line of ${path} can be taken: nobody is moved.`]);
    expect((await directory.moves.batches({ limit: 10 })).map((batch) => batch.state)).toEqual(["cancelled"]);
  });
});
