import { EventEmitter } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import { createProgram } from "../../src/cli/help.ts";
import { registerStart, type StartServer } from "../../src/cli/start.ts";
import type { Config } from "../../src/config/config.ts";
import { diffConfig } from "../../src/config/diff.ts";
import { captured } from "./support.ts";

const directory = mkdtempSync(join(tmpdir(), "codomain-start-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const GOOD = 'domain: a.com\nservers: { east: { uri: "sip:127.0.0.11" } }\n';

/** A proxy that notes what is done to it. */
class FakeServer {
  readonly done: string[] = [];
  config: Config | undefined;
  finishDrain: () => void = () => {};
  failure: Error | undefined;
  #runs: () => void = () => {};
  readonly running = new Promise<void>((resolve) => {
    this.#runs = resolve;
  });
  reread: (() => Config) | undefined;

  readonly start: StartServer = async (config, parts) => {
    if (this.failure !== undefined) throw this.failure;
    this.config = config;
    this.reread = parts.reread;
    // The caller goes on first: what it prints is there when the test looks.
    setImmediate(() => this.#runs());
    const point = { index: 0, sentBy: "127.0.0.1:5060", direction: "up", unknown: "client" } as const;
    return {
      points: [
        { ...point, transport: "udp", host: "127.0.0.1", port: 5060 },
        { ...point, transport: "tcp", host: "::1", port: 5060 },
      ],
      admin: "http://127.0.0.1:8060",
      database: "embedded, /data",
      reload: (next) => {
        const changes = diffConfig(this.config!, next).map((each) => each.path);
        this.config = next;
        this.done.push("reload");
        return changes;
      },
      drain: async (limitMs) => {
        this.done.push(limitMs > 32_000 ? "drain" : "drain too short");
        await new Promise<void>((resolve) => {
          this.finishDrain = resolve;
        });
      },
      stop: async () => {
        this.done.push("stop");
      },
    };
  };
}

function setUp(...argv: string[]) {
  const output = captured();
  const signals = new EventEmitter();
  const server = new FakeServer();
  const program = createProgram(output.io);
  registerStart(program, output.io, server.start, signals as never);
  const ended = program.parseAsync(["start", ...argv], { from: "user" });
  return { ...output, signals, server, ended };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("codomain start", () => {
  it("prints where it listens, which database it uses, and one line to try next", async () => {
    const { signals, server, ended, stdout, io } = setUp();
    await server.running;
    expect(stdout()).toBe(
      [
        "codomain routes example.com between east, west, north.",
        "  SIP       udp://127.0.0.1:5060  tcp://[::1]:5060",
        "  Admin     http://127.0.0.1:8060",
        "  Database  embedded, /data",
        "  Config    the built-in example; codomain.example.yaml shows every key",
        "Try next:   npx codomain explain MESSAGE alice@example.com",
        "",
      ].join("\n"),
    );
    signals.emit("SIGTERM");
    server.finishDrain();
    await ended;
    expect(io.exitCode).toBe(0);
  });

  it("--json prints the same as one document", async () => {
    const { signals, server, ended, stdout } = setUp("--json");
    await server.running;
    expect(JSON.parse(stdout())).toMatchObject({
      started: true,
      domains: ["example.com"],
      sip: ["udp://127.0.0.1:5060", "tcp://[::1]:5060"],
      admin: "http://127.0.0.1:8060",
    });
    signals.emit("SIGINT");
    server.finishDrain();
    await ended;
  });

  it.each(["SIGTERM", "SIGINT"])("%s: drain, then stop, exit 0", async (signal) => {
    const { signals, server, ended, io } = setUp();
    await server.running;
    signals.emit(signal);
    await turn();
    expect(server.done).toEqual(["drain"]);
    server.finishDrain();
    await ended;
    expect(server.done).toEqual(["drain", "stop"]);
    expect(io.exitCode).toBe(0);
    expect(signals.eventNames()).toEqual([]);
  });

  it("a second signal stops at once, and once", async () => {
    const { signals, server, ended, io } = setUp();
    await server.running;
    signals.emit("SIGTERM");
    signals.emit("SIGINT");
    signals.emit("SIGINT");
    await ended;
    server.finishDrain();
    await turn();
    expect(server.done).toEqual(["drain", "stop"]);
    expect(io.exitCode).toBe(0);
  });

  it("a signal during start stops what has started", async () => {
    const { signals, server, ended } = setUp();
    signals.emit("SIGTERM");
    await server.running;
    server.finishDrain();
    await ended;
    expect(server.done).toEqual(["drain", "stop"]);
  });

  it("SIGHUP reloads from the file; faults are printed and the configuration in force is kept", async () => {
    const path = join(directory, "codomain.yaml");
    writeFileSync(path, GOOD);
    const { signals, server, ended, stderr } = setUp("--config", path);
    await server.running;
    writeFileSync(path, `${GOOD}learned: 1h\n`);
    signals.emit("SIGHUP");
    expect(server.config?.learnedMs).toBe(3_600_000);
    expect(stderr()).toContain("Reloaded: learnedMs.");

    writeFileSync(path, `${GOOD}learned: 1 fortnight\n`);
    signals.emit("SIGHUP");
    expect(server.config?.learnedMs).toBe(3_600_000);
    expect(stderr()).toContain(`${path}:3:10: learned:`);
    expect(stderr()).toContain("The configuration in force is kept.");
    expect(() => server.reread?.()).toThrow(`${path}:3:10: learned:`);

    rmSync(path);
    signals.emit("SIGHUP");
    expect(stderr()).toContain("cannot be read (ENOENT)");
    expect(server.done).toEqual(["reload"]);
    signals.emit("SIGTERM");
    server.finishDrain();
    await ended;
  });

  it("SIGHUP without a file says that there is nothing to reload", async () => {
    const { signals, server, ended, stderr } = setUp();
    await server.running;
    signals.emit("SIGHUP");
    expect(stderr()).toContain("nothing to reload");
    signals.emit("SIGTERM");
    server.finishDrain();
    await ended;
  });

  it("an address in use is told in a sentence that says what to do", async () => {
    const output = captured();
    const server = new FakeServer();
    server.failure = new Error("cannot listen on udp://127.0.0.1:5060: bind EADDRINUSE 127.0.0.1:5060");
    const program = createProgram(output.io);
    const signals = new EventEmitter();
    registerStart(program, output.io, server.start, signals as never);
    await expect(program.parseAsync(["start"], { from: "user" })).rejects.toThrow(
      "Cannot listen on udp://127.0.0.1:5060: bind EADDRINUSE 127.0.0.1:5060. Another program uses it: end that, or listen elsewhere with --config FILE.",
    );
    expect(signals.eventNames()).toEqual([]);
  });

  it("a database that cannot be reached is told in a sentence that says what to do", async () => {
    const { server, ended, signals } = setUp();
    server.failure = new DirectoryUnavailable('The database could not do "connect": ECONNREFUSED 127.0.0.1:5432.');
    await expect(ended).rejects.toThrow(
      'The database could not do "connect": ECONNREFUSED 127.0.0.1:5432. Start it, or correct "database" in the configuration.',
    );
    expect(signals.eventNames()).toEqual([]);
  });
});
