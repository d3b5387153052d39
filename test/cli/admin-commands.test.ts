import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { createAdmin } from "../../src/admin/admin.ts";
import type { AdminOptions } from "../../src/admin/ports.ts";
import { digestSecret } from "../../src/base/digest.ts";
import { createProgram } from "../../src/cli/help.ts";
import { registerUsers } from "../../src/cli/users.ts";
import { main } from "../../src/main.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { keepMessage, keepSubscriptions } from "../admin/kept.ts";
import { openDesk, TOKEN } from "../admin/support.ts";
import { captured } from "./support.ts";

const folder = mkdtempSync(join(tmpdir(), "codomain-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A proxy's admin API on loopback, and the command line pointed at it by the environment. */
async function serve(over: Partial<AdminOptions> = {}, env: Readonly<Record<string, string>> = {}) {
  const desk = await openDesk(over);
  const admin = await createAdmin(createRealRuntime(), desk.options);
  onTestFinished(() => admin.stop());
  const surroundings = { CODOMAIN_ADMIN: admin.url!, ...env };
  const run = async (...argv: string[]) => {
    const { io, stdout, stderr } = captured(surroundings);
    const code = await main(argv, io);
    return { code, stdout: stdout(), stderr: stderr() };
  };
  return { ...desk, url: admin.url!, env: surroundings, run };
}

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe("codomain users", () => {
  it("bind, move, unbind tell in one sentence what they did, exit 0", async () => {
    const { run } = await serve();
    const say = async (...argv: string[]) => {
      const { code, stdout, stderr } = await run("users", ...argv);
      expect([code, stderr]).toEqual([0, ""]);
      return stdout.trim();
    };
    expect(await say("bind", "bob@example.com", "east")).toBe("bob@example.com is bound to east (epoch 1).");
    expect(await say("bind", "bob@example.com", "east")).toBe("bob@example.com was on east already (epoch 1).");
    expect(await say("move", "bob@example.com", "west")).toBe("bob@example.com moved from east to west (epoch 2).");
    expect(await say("unbind", "bob@example.com")).toBe("bob@example.com is no longer bound to west (epoch 3).");
  });

  it("move --make-before-break tells every proxy first", async () => {
    const { run, directory } = await serve();
    const heard: string[] = [];
    directory.onChange((change) => heard.push(change.kind));
    await run("users", "bind", "bob@example.com", "east");
    const moved = await run("users", "move", "bob@example.com", "west", "--make-before-break");
    expect(moved.stdout).toBe("bob@example.com moved from east to west (epoch 2).\n");
    expect(heard.filter((kind, i) => kind !== heard[i - 1])).toEqual(["binding", "preparing", "binding"]);
  });

  it("a conflict is told with the holder, exit 1; a pinned user says so", async () => {
    const { run } = await serve();
    await run("users", "bind", "bob@example.com", "east", "--pin");
    expect(await run("users", "bind", "bob@example.com", "west")).toEqual({
      code: 1,
      stdout: "",
      stderr: "bob@example.com is held by east (provisioned): unbind him first, or move him.\n",
    });
    expect((await run("users", "bind", "bob@example.com", "west", "--takeover")).code).toBe(0);
  });

  it("add writes model, settings and identities; show gives them back; remove takes them", async () => {
    const { run, directory } = await serve();
    const added = await run(
      ...["users", "add", "bob@example.com", "--model", "exclusive", "--set", "conflict=refuse"],
      ...["--set", "refuse-with=302", "--identity", "east=b", "--identity", "west=bob.smith"],
    );
    expect([added.code, added.stderr]).toEqual([0, ""]);
    expect((await directory.user("bob@example.com"))?.record).toEqual({
      aor: "bob@example.com",
      model: "exclusive",
      settings: { conflict: "refuse", "refuse-with": 302 },
      identities: { east: "b", west: "bob.smith" },
    });
    expect((await run("users", "show", "bob@example.com")).stdout).toBe(added.stdout);
    expect(added.stdout.split("\n")).toEqual(
      expect.arrayContaining(["model       exclusive", "identities  east=b  west=bob.smith", "password    none"]),
    );
    expect((await run("users", "remove", "bob@example.com")).code).toBe(0);
    expect(await run("users", "show", "bob@example.com")).toMatchObject({ code: 1, stdout: "" });
  });

  it("list prints a table, page by page as far as wanted", async () => {
    const { run, directory } = await serve();
    for (const name of ["ann", "bea", "cid"])
      await directory.learn(`${name}@example.com`, "east", Date.parse("2100-01-01T00:00:00Z"));
    expect((await run("users", "list", "--limit", "2")).stderr).toBe(
      "There may be more: add --all, or --after bea@example.com.\n",
    );
    const { code, stdout, stderr } = await run("users", "list", "--all", "--server", "east");
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toBe(
      [
        "user             model  server  origin   epoch  expires",
        ...["ann", "bea", "cid"].map(
          (name) => `${name}@example.com  -      east    learned      1  2100-01-01T00:00:00.000Z`,
        ),
        "",
      ].join("\n"),
    );
    expect((await run("users", "list", "--prefix", "zoe")).stdout).toBe("No users.\n");
  });

  it("--json prints one document a line, wherever it stands", async () => {
    const { run } = await serve();
    const claim = {
      binding: { server: "east", origin: "admin", epoch: 1, expiresAt: null },
      changed: true,
      previous: null,
    };
    const bound = await run("--json", "users", "bind", "bob@example.com", "east");
    expect(JSON.parse(bound.stdout)).toEqual(claim);
    for (const argv of [["list"], ["show", "bob@example.com"], ["unbind", "bob@example.com"]]) {
      const { code, stdout } = await run("users", ...argv, "--json");
      expect([code, stdout.trim().split("\n").length, typeof JSON.parse(stdout)]).toEqual([0, 1, "object"]);
    }
  });

  it.each([
    [["bind", "bob", "east"], "no user@host"],
    [["bind", "bob@example.com", "eest"], 'There is no server "eest": east, west, north are known.'],
    [["bind", "bob@elsewhere.org", "east"], "elsewhere.org is no domain served here"],
    [["add", "bob@example.com", "--model", "exclsive"], "partitioned, exclusive, unioned"],
    [["add", "bob@example.com", "--identity", "east"], "SERVER=NAME"],
    [["list", "--limit", "many"], "whole number"],
    [["unbind", "bob@example.com", "--epoch", "-1"], "whole number"],
    [["bind", "bob@example.com"], "missing required argument"],
  ])("users %j is wrong usage: one sentence, exit 2", async (argv, hint) => {
    const { run } = await serve();
    const { code, stdout, stderr } = await run("users", ...argv);
    expect([code, stdout, stderr.trim().split("\n").length]).toEqual([2, "", 1]);
    expect(stderr.toLowerCase()).toContain(hint.toLowerCase());
  });

  it("who did it stands in the audit trail", async () => {
    const { run, directory } = await serve();
    await run("users", "bind", "bob@example.com", "east");
    expect((await directory.audit({ limit: 1 }))[0]?.actor).toMatch(/^local:[\w.@+-]+$/);
  });
});

describe("codomain users check", () => {
  const answers = [
    { server: "east", says: "not-here", detail: "404" },
    { server: "north", says: "unknown", detail: "timeout" },
  ] as const;
  const binding = { aor: "bob@example.com", server: "east", origin: "registered", epoch: 3, expiresAt: null } as const;
  const checker: AdminOptions["checker"] = {
    askable: ["east", "north"],
    look: async (aor) => ({ aor, binding, answers, verdict: "gone", detail: "east says 404" }),
    repair: async (aor) => ({ aor, binding, answers, verdict: "repaired", detail: "east says 404: he was unbound" }),
  };

  it("tells what every server says; exit 1 where something is to be done, 0 once it is done", async () => {
    const { run } = await serve({ checker });
    expect(await run("users", "check", "bob@example.com")).toEqual({
      code: 1,
      stdout: [
        "bob@example.com: on east, registered, epoch 3",
        "  east   not here (404)",
        "  north  cannot tell (timeout)",
        "gone: east says 404.",
        "",
      ].join("\n"),
      stderr: "",
    });
    const repaired = await run("users", "check", "bob@example.com", "--repair");
    expect([repaired.code, repaired.stdout.split("\n").at(-2)]).toEqual([
      0,
      "repaired: east says 404: he was unbound.",
    ]);
    expect(JSON.parse((await run("users", "check", "bob@example.com", "--json")).stdout)).toMatchObject({
      verdict: "gone",
    });
  });
});

describe("passwords", () => {
  async function withInput(text: string, isTTY: boolean, ...argv: string[]) {
    const { directory, env } = await serve();
    const { io, stdout, stderr } = captured(env);
    const input = Object.assign(new PassThrough(), { isTTY, setRawMode: () => {} });
    input.end(text);
    const program = createProgram(io);
    const drawn: string[] = [];
    registerUsers(program, io, { input, screen: { isTTY: false, write: (part) => drawn.push(part) } });
    await program.parseAsync(["users", ...argv], { from: "user" });
    return { credentials: await directory.credentials("bob@example.com"), shown: stdout() + stderr() };
  }

  it.each([false, true])("come from standard input and are never shown (terminal: %s)", async (isTTY) => {
    const { credentials, shown } = await withInput("open sesame\n", isTTY, "password", "bob@example.com");
    expect(credentials?.sha256).toBe(digestSecret("SHA-256", "bob", "example.com", "open sesame"));
    expect(shown).toContain("has a new password");
    expect(shown).not.toContain("sesame");
  });

  it("can be given with a new user", async () => {
    const { credentials } = await withInput("sesame", false, "add", "bob@example.com", "--password");
    expect(credentials?.md5).toBe(digestSecret("MD5", "bob", "example.com", "sesame"));
  });

  it("none on standard input is wrong usage", async () => {
    await expect(withInput("", false, "password", "bob@example.com")).rejects.toThrow(/No password was given/);
  });
});

describe("codomain users import", () => {
  it("imports a file; every refused line is told with number and reason, exit 1", async () => {
    const { run, directory } = await serve();
    const path = file(
      "users.csv",
      [
        "\uFEFFaor,model,server,identities.east,identities,settings.conflict",
        "alice@example.com,,east,,,",
        'bob@example.com,exclusive,west,"bob, the second",,refuse',
        "",
        "# a note",
        'carol@EXAMPLE.com,exclusive,,,"east=c1;west=c2",refuse\r',
        "dave@example.com,,nowhere,,,",
        '"eve@example.com,never closed? it is,"",,,',
        '",,,,',
        "fred@example.com,,,,,,,,",
        'gus@example.com,a"b,,,,',
        "hal@elsewhere.org,,,,,",
        "ida@example.com,,north",
      ].join("\n"),
    );
    const { code, stdout, stderr } = await run("users", "import", path);
    expect([code, stdout]).toEqual([1, "3 users imported, 6 lines refused.\n"]);
    const told = stderr.trim().split("\n");
    expect(told.map((line) => Number(line.slice(path.length + 1).split(":")[0]))).toEqual([3, 7, 8, 10, 11, 12]);
    expect(told[0]).toContain("identities.east");
    expect(told[1]).toContain('dave@example.com: There is no server "nowhere"');
    expect(told[5]).toContain("elsewhere.org is no domain served here");
    const found = (await directory.users({ limit: 10 })).map((row) => [row.aor, row.binding?.server ?? null]);
    expect(found).toEqual([
      ["alice@example.com", "east"],
      ["carol@example.com", null],
      ["ida@example.com", "north"],
    ]);
    expect((await directory.user("carol@example.com"))?.record).toMatchObject({
      settings: { conflict: "refuse" },
      identities: { east: "c1", west: "c2" },
    });
  });

  it("2500 lines go in batches, with a bar on a terminal; exit 0", async () => {
    const { env, directory } = await serve();
    const rows = Array.from({ length: 2500 }, (_, i) => `u${i}@example.com,east`);
    const path = file("many.csv", ["aor,server", ...rows, ""].join("\n"));
    const { io, stdout, stderr } = captured(env);
    const drawn: string[] = [];
    const program = createProgram(io);
    const input = Object.assign(new PassThrough(), { isTTY: false });
    registerUsers(program, io, { input, screen: { isTTY: true, write: (text) => drawn.push(text) } });
    await program.parseAsync(["users", "import", path], { from: "user" });
    expect([io.exitCode, stdout(), stderr()]).toEqual([0, "2500 users imported, 0 lines refused.\n", ""]);
    expect(drawn.filter((text) => text.includes("[")).length).toBeGreaterThanOrEqual(3);
    expect(drawn.join("")).toContain("100 %  2500 users, 0 refused");
    expect((await directory.user("u2499@example.com"))?.binding?.server).toBe("east");
  });

  it("--json: one document a refused line, and one at the end", async () => {
    const { run } = await serve();
    const path = file("few.csv", "aor\na@example.com\nb@elsewhere.org\n");
    const { code, stdout, stderr } = await run("users", "import", path, "--json");
    expect([code, stderr]).toEqual([1, ""]);
    const documents = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(documents).toMatchObject([
      { line: 3, aor: "b@elsewhere.org" },
      { imported: 1, refused: 1 },
    ]);
  });

  it.each([
    ["an empty file", "", "is empty"],
    ["an unknown column", "aor,colour\n", '"colour" is no column'],
    ["a column twice", "aor,server,server\n", "stands there twice"],
    ["no column aor", "server\n", '"aor" is missing'],
  ])("%s is wrong usage, exit 2", async (name, text, hint) => {
    const { run, directory } = await serve();
    const { code, stderr } = await run("users", "import", file(`${name}.csv`, text));
    expect(code).toBe(2);
    expect(stderr).toContain(hint);
    expect(await directory.users({ limit: 1 })).toEqual([]);
  });

  it("a file that is not there, or a directory, is wrong usage", async () => {
    const { run } = await serve();
    expect((await run("users", "import", join(folder, "none.csv"))).code).toBe(2);
    expect((await run("users", "import", folder)).stderr).toContain("is a directory");
  });

  it("the database away: where it stopped is told, exit 1", async () => {
    const { run, database } = await serve();
    database.setAway(true);
    const { code, stderr } = await run("users", "import", file("away.csv", "aor\na@example.com\n"));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^Stopped before line 2, 0 users imported; the same import can be run again\. /);
  });
});

describe("codomain servers, explain, subscriptions", () => {
  it("servers list shows nodes, health and traffic; drain and resume act", async () => {
    const { run, proxy } = await serve();
    const { code, stdout } = await run("servers", "list");
    expect(code).toBe(0);
    expect(stdout.split("\n")).toEqual([
      "server  state  node                 node state        asked  2xx  other  unanswered  proves",
      "east    up     sip:127.0.0.11:5060  up                    8    5      2           1  MESSAGE SUBSCRIBE",
      "west    up     sip:127.0.0.12:5060  up                    0    0      0           0  MESSAGE SUBSCRIBE (not INVITE)",
      "north   down   sip:127.0.0.13:5060  down, 3 failures      0    0      0           0  MESSAGE SUBSCRIBE",
      "",
    ]);
    expect((await run("servers", "drain", "east")).stdout).toBe("east is drained: it gets no new requests.\n");
    expect(proxy.servers()[0]?.drained).toBe(true);
    expect(JSON.parse((await run("servers", "resume", "east", "--json")).stdout)).toMatchObject({ drained: false });
    expect(await run("servers", "drain", "eest")).toMatchObject({ code: 1, stdout: "" });
  });

  it("explain prints the reasoning a sentence a line, or the plan as JSON", async () => {
    const { run, directory } = await serve();
    await directory.learn("alice@example.com", "west", Date.now() + 60_000);
    const { code, stdout } = await run("explain", "message", "alice@example.com", "--from", "east");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^MESSAGE for alice@example\.com from server:east\nsender: not said\n/);
    expect(stdout).toContain("plan: relay west\n");
    const json = await run("explain", "SUBSCRIBE", "alice@example.com", "--watcher", "bob@example.com", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({ summary: "relay west", sender: { aor: "bob@example.com" } });
    expect((await run("explain", "MESSAGE", "alice@example.com", "--from", "eest")).code).toBe(2);
  });

  it("subscriptions list tells what ends here, and what waits", async () => {
    const { run } = await serve();
    expect((await run("subscriptions", "list")).stdout).toBe(
      "No subscription is kept here.\n3 forked ones wait for their NOTIFY.\n",
    );
    expect((await run("subscriptions", "list", "--held")).stdout).toBe("No held subscription is kept here.\n");
    expect(JSON.parse((await run("subscriptions", "list", "--json")).stdout)).toEqual({
      subscriptions: [],
      next: null,
      forked: 3,
    });
  });

  it("subscriptions list shows held and live ones, page by page", async () => {
    const { run, directory } = await serve();
    await keepSubscriptions(directory);
    const { stdout } = await run("subscriptions", "list", "--all");
    expect(stdout.split("\n").slice(0, 3)).toEqual([
      "watcher          presentity         event     state  server  epoch  expires",
      "bob@example.com  alice@example.com  presence  held   -           0  2100-01-01T00:00:00.000Z",
      "bob@example.com  carol@example.com  presence  live   east        1  2100-01-01T00:00:00.000Z",
    ]);
    expect((await run("subscriptions", "list", "--held")).stdout).not.toContain("carol");
    expect((await run("subscriptions", "list", "--aor", "carol@example.com")).stdout).not.toContain("alice");
    expect((await run("subscriptions", "list", "--limit", "1")).stderr).toMatch(
      /^There may be more: .*--after cdm-1\.\n$/,
    );
    expect((await run("subscriptions", "list", "--watcher", "nobody")).code).toBe(2);
  });

  it("messages list and trace tell what waits and what was done with it, never what it says", async () => {
    const { run, directory } = await serve();
    const id = await keepMessage(directory);
    const { stdout } = await run("messages", "list", "--recipient", "alice@example.com");
    expect(stdout).toMatch(
      new RegExp(`^message +recipient +sender .*\n${id} +alice@example.com +bob@example.com +stored +0 `),
    );
    const trace = await run("messages", "trace", id);
    expect([trace.code, trace.stdout]).toEqual([0, expect.stringMatching(/^\S+Z {2}received {3}.*\n\S+Z {2}stored /)]);
    const all = [stdout, trace.stdout, (await run("messages", "list", "--json")).stdout].join("");
    expect(all).not.toContain("secret");
    expect((await run("messages", "list", "--state", "delivered")).stdout).toBe("No messages.\n");
    expect(await run("messages", "trace", "none")).toMatchObject({
      code: 1,
      stderr: 'No message "none" is remembered.\n',
    });
    expect((await run("messages", "list", "--state", "lost")).code).toBe(2);
  });
});

describe("the way to the admin API", () => {
  it("a token comes from the environment or the command line; without it the remedy is told, exit 1", async () => {
    const { run } = await serve({ listen: { host: "127.0.0.1", port: 0, token: TOKEN } });
    const { code, stderr } = await run("users", "list");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^A token is needed for .*: give it as CODOMAIN_TOKEN or with --token\.\n$/);
    expect((await run("users", "list", "--token", "wrong")).stderr).toMatch(/^The token is not the one of /);
    expect((await run("users", "list", "--token", TOKEN)).code).toBe(0);
    const other = await serve({ listen: { host: "127.0.0.1", port: 0, token: TOKEN } }, { CODOMAIN_TOKEN: TOKEN });
    expect((await other.run("users", "list")).code).toBe(0);
  });

  it("--admin beats the environment; where nobody answers the remedy is told, exit 1", async () => {
    const { run, url } = await serve();
    const gone = await createAdmin(createRealRuntime(), (await openDesk()).options);
    await gone.stop();
    const { code, stdout, stderr } = await run("users", "list", "--admin", gone.url!);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toBe(
      `No proxy answers at ${gone.url}: start one with \`npx codomain start\`, or name another with --admin URL.\n`,
    );
    expect((await run("--admin", `${url}/`, "users", "list")).code).toBe(0);
    expect((await run("users", "list", "--admin", "somewhere")).code).toBe(2);
    expect((await run("users", "list", "--admin", `${url}/page.css?`)).stderr).toContain("is no codomain admin API");
  });

  it.each(["explain", "users", "servers", "subscriptions", "messages"])(
    "%s and its commands have a help with an example",
    async (name) => {
      const { io, stdout } = captured();
      expect(await main([name, "--help"], io)).toBe(0);
      const commands = [...stdout().matchAll(/^ {2}(\w+) .*(?:\[options\]|<\w+>)/gm)].map((match) => match[1]!);
      for (const command of name === "explain" ? [] : commands) {
        const inner = captured();
        expect(await main([name, command, "--help"], inner.io)).toBe(0);
        expect(inner.stdout()).toContain(`$ npx codomain ${name} ${command}`);
        expect(inner.stdout()).toContain("--json");
      }
      expect(stdout()).toContain(`$ npx codomain ${name}`);
    },
  );
});

describe("codomain rules, codomain routing", () => {
  it("says of rules that nobody carries out that they decide nothing, also when they are written", async () => {
    const { run } = await serve();
    const idle = "These rules decide nothing: each server keeps its own (policy: distributed).\n";
    const allowed = await run("rules", "allow", "alice@example.com", "bob@example.com");
    expect(allowed).toEqual({ code: 0, stdout: "bob@example.com gets allow from alice@example.com.\n", stderr: idle });
    expect((await run("rules", "show", "alice@example.com")).stdout.startsWith(idle)).toBe(true);
  });

  it("allow, block, show: in plain words, and as they are written", async () => {
    const { run } = await serve({
      policy: {
        wayOf: () => "root-only",
        defaultsOf: () => ({ presence: "confirm", contact: "allow" }),
        changed: () => undefined,
      },
    });
    expect((await run("rules", "show", "alice@example.com")).stdout).toBe(
      "presence\n  no rules: confirm, as the domain says\nmessages and calls\n  no rules: allow, as the domain says\n",
    );
    const blocked = await run("rules", "block", "alice@example.com", "bob@example.com");
    expect(blocked).toEqual({ code: 0, stdout: "bob@example.com gets block from alice@example.com.\n", stderr: "" });
    expect((await run("rules", "block", "alice@example.com", "bob@example.com")).stdout).toContain(" got block ");
    await run("rules", "block", "alice@example.com", "carol@other.net", "--messages");
    const shown = (await run("rules", "show", "alice@example.com")).stdout;
    expect(shown).toMatch(/codomain-default +anybody but bob@example\.com +confirm +nothing +always/);
    expect(shown).toMatch(/codomain-default +anybody but carol@other\.net +allow/);
    const written = (await run("rules", "show", "alice@example.com", "--document", "pres-rules")).stdout;
    expect(written).toContain('<except id="sip:bob@example.com"/>');
    const { presence } = JSON.parse((await run("rules", "show", "alice@example.com", "--json")).stdout);
    expect(presence.rules).toHaveLength(2);
    const set = await run("rules", "set", "carol@other.net", file("rules.xml", written));
    expect(set.stdout).toBe("carol@other.net: pres-rules written.\n");
    expect((await run("rules", "remove", "carol@other.net")).code).toBe(0);
    expect((await run("rules", "remove", "carol@other.net")).code).toBe(1);
  });

  it("rules that decide nothing are shown as such", async () => {
    const { run } = await serve();
    expect((await run("rules", "show", "alice@example.com")).stdout).toMatch(
      /^These rules decide nothing: each server keeps its own \(policy: distributed\)\.\n/,
    );
  });

  it("a file that is no rule document changes nothing, exit 2", async () => {
    const { run } = await serve();
    const wrong = await run("rules", "set", "alice@example.com", file("wrong.xml", "<x/>"));
    expect([wrong.code, wrong.stderr]).toEqual([2, "It is no rule set (RFC 4745).\n"]);
    expect((await run("rules", "set", "alice@example.com", join(folder, "nowhere.xml"))).code).toBe(2);
    expect((await run("rules", "show", "alice@example.com", "--document", "x")).code).toBe(2);
  });

  it("status: how far rules are on their way to servers, why not, and what was lost", async () => {
    const { run, directory } = await serve();
    expect((await run("rules", "status")).stdout).toBe("No rules are pushed to servers.\n");
    await directory.pushes.want("alice@example.com", ["east", "west"], "v1");
    const [east, west] = await directory.pushes.take(10, 60_000);
    await directory.pushes.end(east!, { end: "pushed", reductions: ["Rule a: the server knows no times:"] });
    await directory.pushes.end(west!, { end: "failed", error: "west answers 500.", retryMs: 5000 });
    const counts = (await run("rules", "status")).stdout.trimEnd().split("\n");
    expect(counts.map((line) => line.split(/ {2,}/).map((each) => each.trim()))).toEqual([
      ["server", "pushed", "waiting", "failed", "not expressed whole"],
      ["east", "1", "0", "0", "1"],
      ["west", "0", "0", "1", "0"],
    ]);
    const rows = (await run("rules", "status", "alice@example.com")).stdout;
    expect(rows).toMatch(/east +pushed +1 +-\n {2}Rule a: the server knows no times:\n/);
    expect(rows).toMatch(/west +failed +1 +20\d\d-\S+Z\n {2}west answers 500\.\n/);
    expect(JSON.parse((await run("rules", "status", "--reduced", "--json")).stdout).pushes).toHaveLength(1);
    const page = JSON.parse((await run("rules", "status", "--state", "pushed", "--limit", "1", "--json")).stdout);
    expect(page).toMatchObject({ pushes: [{ server: "east", present: true }], next: "alice@example.com east" });
    const rest = await run("rules", "status", "alice@example.com", "--after", "alice@example.com east", "--json");
    expect(JSON.parse(rest.stdout).pushes).toMatchObject([{ server: "west", error: "west answers 500." }]);
  });

  it("routing is set and shown", async () => {
    const { run } = await serve();
    expect((await run("routing", "show", "alice@example.com")).stdout).toBe(
      "alice@example.com: all (he has no setting)\n",
    );
    const set = await run(
      "routing",
      "set",
      "alice@example.com",
      "weighted",
      "--weight",
      "east=3",
      "--weight",
      "west=1",
    );
    expect(set).toEqual({ code: 0, stdout: "alice@example.com: weighted east=3 west=1\n", stderr: "" });
    expect((await run("routing", "show", "alice@example.com")).stdout).toBe(set.stdout);
    expect((await run("routing", "set", "alice@example.com", "best")).code).toBe(2);
    expect((await run("routing", "set", "alice@example.com", "weighted", "--weight", "east")).code).toBe(2);
  });
});
