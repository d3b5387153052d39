import { afterEach, describe, expect, it } from "vitest";
import type { Binding, Directory } from "../../src/directory/directory.ts";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import { type CheckParts, CONFIRM_MS } from "../../src/moving/checker.ts";
import { Reconciler } from "../../src/moving/reconciler.ts";
import { buildResponse } from "../../src/sip/message/build.ts";
import { SipRequest } from "../../src/sip/message/message.ts";
import { parseUri, type SipUri } from "../../src/sip/message/uri.ts";
import type { Flow } from "../../src/sip/transport/transport.ts";
import { type Events, Telemetry } from "../../src/telemetry/events.ts";
import { type VirtualRuntime, virtualRuntime } from "../directory/virtual-runtime.ts";
import { MODELS } from "./house.ts";

type Says = number | "timeout" | "unreachable";

/** One proxy that reconciles, and servers that say of each user what the test wants. */
class Sweep {
  readonly runtime: VirtualRuntime = virtualRuntime(5);
  readonly directory: Directory;
  readonly asked: { server: string; aor: string; at: number }[] = [];
  readonly told: Events["reconciled"][] = [];
  readonly conflicts: Events["conflict"][] = [];
  readonly requests: SipRequest[] = [];
  /** By server and user; else 404. */
  readonly says = new Map<string, Says>();
  readonly servers = [
    { name: "east", up: true, proves: ["OPTIONS"] },
    { name: "west", up: true, proves: ["OPTIONS"] },
    { name: "north", up: true, proves: ["MESSAGE"] },
  ];
  rate = 10;
  readonly reconcilers: Reconciler[] = [];
  readonly #database = createMemoryDatabase(this.runtime, { latencyMs: [0.1, 3] });

  constructor() {
    this.directory = this.#database.directory("hands");
  }

  reconciler(name = "one"): Reconciler {
    const telemetry = new Telemetry();
    telemetry.on("reconciled", (event) => this.told.push(event));
    telemetry.on("conflict", (event) => this.conflicts.push(event));
    const flow = { point: { sentBy: "127.0.0.1:5060" } } as Flow;
    const parts: CheckParts = {
      runtime: this.runtime,
      telemetry,
      directory: this.directory,
      outbound: {
        toUri: async (uri, _connection, build) => {
          const request = build(flow);
          if (!(request instanceof SipRequest)) throw new Error("a request was expected");
          this.requests.push(request);
          const aor = request.uri.kind === "sip" ? `${request.uri.user}@${request.uri.host}` : "";
          this.asked.push({ server: uri.host, aor, at: this.runtime.clock.now() });
          await new Promise<void>((resolve) => void this.runtime.timers.after(5, resolve));
          const says = this.says.get(`${uri.host} ${aor}`) ?? 404;
          return typeof says === "number" ? buildResponse(request, says) : says;
        },
      },
      models: () => MODELS,
      servers: () => this.servers,
      nodeOf: (server) => parseUri(`sip:${server}`) as SipUri,
      nameOn: (aor, server) => (aor === "u-alias@example.com" ? `alias.${server}@example.com` : aor),
    };
    const reconciler = new Reconciler(parts, name, () => ({ rate: this.rate, restMs: 60_000 }));
    this.reconcilers.push(reconciler);
    return reconciler;
  }

  async bind(name: string, server: string, origin: Binding["origin"] = "registered"): Promise<void> {
    const claim = { aor: `${name}@example.com`, server, origin, expiresAt: null, equalRank: true, actor: "t" } as const;
    await this.runtime.until(this.directory.claim({ ...claim, conflict: "takeover" }));
  }

  async where(name: string): Promise<string | null> {
    return (await this.runtime.until(this.directory.user(`${name}@example.com`)))?.binding?.server ?? null;
  }

  async findings(): Promise<string[]> {
    const found = await this.runtime.until(this.directory.reconciliation.findings({ limit: 100 }));
    return found.map((each) => `${each.aor.split("@")[0]} ${each.kind}: ${each.detail}`);
  }

  say(server: string, name: string, says: Says): void {
    this.says.set(`${server} ${name}@example.com`, says);
  }

  async close(): Promise<void> {
    for (const each of this.reconcilers) await this.runtime.until(each.stop());
    await this.directory.stop();
    await this.runtime.advance(10_000);
    if (this.runtime.pending > 0) throw new Error(`${this.runtime.pending} timers are left.`);
  }
}

let sweep: Sweep;
afterEach(() => sweep.close());

async function open(): Promise<Sweep> {
  sweep = new Sweep();
  await sweep.directory.start();
  return sweep;
}

describe("the reconciler", () => {
  it("asks the server that has him by OPTIONS to his name there, at no more than its rate; others of nobody", async () => {
    await open();
    for (let i = 0; i < 30; i++) {
      await sweep.bind(`u-${10 + i}`, "east");
      sweep.say("east", `u-${10 + i}`, 200);
    }
    await sweep.bind("u-alias", "west");
    sweep.say("west", "alias.west", 200);
    await sweep.bind("u-north", "north");
    await sweep.bind("plain", "east");
    sweep.reconciler().start();
    await sweep.runtime.advance(25_000);
    expect(sweep.asked.map((each) => `${each.server} ${each.aor.split("@")[0]}`)).toEqual([
      ...Array.from({ length: 30 }, (_, i) => `east u-${10 + i}`),
      "west alias.west",
    ]);
    const [request] = sweep.requests;
    expect([request?.method, request?.header("To"), request?.header("Max-Forwards")]).toEqual([
      "OPTIONS",
      "<sip:u-10@example.com>",
      "70",
    ]);
    for (let i = 10; i < sweep.asked.length; i++)
      expect(sweep.asked[i]!.at - sweep.asked[i - 10]!.at).toBeGreaterThanOrEqual(990);
    expect(new Set(sweep.told.map((each) => each.verdict))).toEqual(new Set(["here"]));
    const before = sweep.asked.length;
    await sweep.runtime.advance(30_000);
    expect(sweep.asked.length).toBe(before);
    await sweep.runtime.advance(60_000);
    expect(sweep.asked.length).toBeGreaterThan(before);
  });

  it("repairs what is safe: twice not here, no admin's doing, on no other server: unbound, audited, noted", async () => {
    await open();
    await sweep.bind("u-1", "east");
    await sweep.bind("u-2", "east");
    await sweep.bind("u-3", "east", "learned");
    sweep.say("east", "u-1", 200);
    sweep.reconciler().start();
    await sweep.runtime.advance(25_000);
    expect([await sweep.where("u-1"), await sweep.where("u-2"), await sweep.where("u-3")]).toEqual([
      "east",
      null,
      null,
    ]);
    expect(await sweep.findings()).toEqual(["u-3 repaired: east says 404", "u-2 repaired: east says 404"]);
    const [entry] = await sweep.runtime.until(sweep.directory.audit({ aor: "u-2@example.com", limit: 1 }));
    expect(entry).toMatchObject({ actor: "reconciler", action: "unbind", before: { server: "east", epoch: 1 } });
    const asks = sweep.asked.filter((each) => each.aor === "u-2@example.com" && each.server === "east");
    expect(asks[1]!.at - asks[0]!.at).toBeGreaterThanOrEqual(CONFIRM_MS);
  });

  it("reports the rest: an admin's binding and a conflict stay, until the server has him again", async () => {
    await open();
    await sweep.bind("u-1", "east");
    sweep.say("east", "u-1", 200);
    await sweep.bind("u-2", "east", "admin");
    await sweep.bind("u-3", "east", "provisioned");
    await sweep.bind("u-4", "east");
    sweep.say("west", "u-4", 200);
    sweep.reconciler().start();
    await sweep.runtime.advance(25_000);
    for (const name of ["u-2", "u-3", "u-4"]) expect(await sweep.where(name)).toBe("east");
    expect((await sweep.findings()).sort()).toEqual([
      "u-2 pinned: east says 404, but an admin put him there (admin)",
      "u-3 pinned: east says 404, but an admin put him there (provisioned)",
      "u-4 conflict: east says 404, and west has him",
    ]);
    expect(sweep.conflicts).toEqual([{ aor: "u-4@example.com", servers: ["east", "west"] }]);
    for (const name of ["u-2", "u-3", "u-4"]) sweep.say("east", name, 200);
    await sweep.runtime.advance(90_000);
    expect(await sweep.findings()).toEqual([]);
  });

  it.each([480, 408, 500, 503, 486, 403, 405, "timeout", "unreachable"] as const)(
    "never acts on %s: nobody can tell",
    async (says) => {
      await open();
      await sweep.bind("u-1", "east");
      await sweep.bind("u-2", "east");
      sweep.say("east", "u-1", 200);
      sweep.say("east", "u-2", says);
      sweep.reconciler().start();
      await sweep.runtime.advance(25_000);
      expect(await sweep.where("u-2")).toBe("east");
      expect(sweep.told.at(-1)).toMatchObject({ aor: "u-2@example.com", verdict: "unknown" });
    },
  );

  it("does not believe a server that lacks everybody: it has said of nobody that he is there", async () => {
    await open();
    for (const name of ["u-1", "u-2", "u-3"]) await sweep.bind(name, "east");
    sweep.reconciler().start();
    await sweep.runtime.advance(25_000);
    for (const name of ["u-1", "u-2", "u-3"]) expect(await sweep.where(name)).toBe("east");
    expect(sweep.told.map((each) => each.verdict)).toEqual(["unbelieved", "unbelieved", "unbelieved"]);
  });

  it("who moves while he is asked for, or registers anew at another server, is left alone", async () => {
    await open();
    await sweep.bind("u-1", "east");
    await sweep.bind("u-2", "east");
    sweep.say("east", "u-1", 200);
    sweep.reconciler().start();
    while (!sweep.asked.some((each) => each.aor === "u-2@example.com")) await sweep.runtime.advance(100);
    await sweep.runtime.advance(1000);
    await sweep.bind("u-2", "north");
    await sweep.runtime.advance(20_000);
    expect(await sweep.where("u-2")).toBe("north");
    expect(sweep.told.map((each) => each.verdict)).toContain("moved");
  });

  it("sleeps where the rate is 0, or no server's OPTIONS proves anything; goes on when that changes", async () => {
    await open();
    await sweep.bind("u-1", "east");
    sweep.rate = 0;
    sweep.reconciler().start();
    await sweep.runtime.advance(60_000);
    expect(sweep.asked).toEqual([]);
    sweep.rate = 1;
    for (const server of sweep.servers) server.up = false;
    await sweep.runtime.advance(60_000);
    expect(sweep.asked).toEqual([]);
    for (const server of sweep.servers) server.up = true;
    await sweep.runtime.advance(25_000);
    expect(sweep.asked.length).toBeGreaterThan(0);
  });

  it("of two proxies one sweeps; when it stops the other goes on behind the last user it asked for", async () => {
    await open();
    sweep.rate = 1;
    for (let i = 10; i < 40; i++) {
      await sweep.bind(`u-${i}`, "east");
      sweep.say("east", `u-${i}`, 200);
    }
    const one = sweep.reconciler("one");
    sweep.reconciler("two").start();
    one.start();
    await sweep.runtime.advance(20_500);
    const owner = (await sweep.runtime.until(sweep.directory.reconciliation.state())).owner;
    const running = sweep.reconcilers[owner === "one" ? 0 : 1]!;
    await sweep.runtime.until(running.stop());
    await sweep.runtime.advance(60_000);
    const names = sweep.asked.map((each) => each.aor);
    expect(names).toHaveLength(30);
    expect(new Set(names).size).toBe(30);
  });

  it("for one user: asks every server that proves, tells what each said, and changes nothing unless told to", async () => {
    await open();
    await sweep.bind("u-1", "east");
    await sweep.bind("u-2", "east");
    sweep.say("east", "u-1", 200);
    sweep.say("west", "u-1", 480);
    const { checker } = sweep.reconciler();
    const here = await sweep.runtime.until(checker.look("u-1@example.com", true));
    expect(here).toMatchObject({ verdict: "here", detail: "east has him" });
    expect(here.answers).toEqual([
      { server: "east", says: "here", detail: "200" },
      { server: "west", says: "unknown", detail: "480" },
    ]);
    const gone = await sweep.runtime.until(checker.look("u-2@example.com", true));
    expect([gone.verdict, gone.detail, await sweep.where("u-2")]).toEqual(["gone", "east says 404", "east"]);
    expect((await sweep.runtime.until(checker.look("u-nobody@example.com", true))).verdict).toBe("unbound");
    expect((await sweep.runtime.until(checker.look("plain@example.com", true))).verdict).toBe("not-exclusive");
    sweep.say("west", "u-1", 200);
    const both = await sweep.runtime.until(checker.look("u-1@example.com", true));
    expect([both.verdict, both.detail]).toEqual(["conflict", "east has him, and so has west"]);
    await sweep.bind("u-3", "north");
    expect((await sweep.runtime.until(checker.look("u-3@example.com", true))).verdict).toBe("unasked");
  });
});
