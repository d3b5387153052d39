import { describe, expect, onTestFinished, test } from "vitest";
import { createRealRuntime } from "../../src/runtime/real.ts";
import type { Runtime, TlsMaterial } from "../../src/runtime/runtime.ts";
import { createSimulation, simulatedCertificate } from "../../src/runtime/simulated.ts";
import { sipIdentities } from "../../src/runtime/tls-identity.ts";
import { createAuthority, type Subject } from "../support/certificates.ts";
import { leakChecked } from "../support/leak.ts";
import { Heard, PATIENCE, type Pair, realPair, simulatedPair } from "../support/runtimes.ts";

/** Two authorities, of which one is trusted, for a real or a simulated network. */
interface World {
  readonly pair: Pair;
  readonly ca: string;
  issue(subject: Subject): { cert: string; key: string };
  issueUntrusted(subject: Subject): { cert: string; key: string };
}

function real(): World {
  const trusted = createAuthority("trusted");
  const other = createAuthority("other");
  return { pair: realPair("127.0.0.1"), ca: trusted.ca, issue: trusted.issue, issueUntrusted: other.issue };
}

function simulated(): World {
  const issuedBy = (issuer: string) => (subject: Subject) => {
    const names = [
      ...(subject.dns ?? []).map((name) => `DNS:${name}`),
      ...(subject.uri ?? []).map((name) => `URI:${name}`),
      ...(subject.ip ?? []).map((name) => `IP Address:${name}`),
    ];
    return { cert: simulatedCertificate({ issuer, names: names.join(", ") }), key: "key" };
  };
  return {
    pair: simulatedPair("10.0.0.1", "10.0.0.2"),
    ca: "trusted",
    issue: issuedBy("trusted"),
    issueUntrusted: issuedBy("other"),
  };
}

interface Sides {
  readonly kind: "tls" | "wss";
  readonly server: TlsMaterial;
  readonly client?: TlsMaterial;
  readonly serverName?: string;
}

/** Connects, and gives what both sides know of each other. Rejects where the client is refused. */
async function meet({ pair }: World, { kind, server, client, serverName }: Sides) {
  const accepted: Heard[] = [];
  const listener = await pair.other.network.listen(
    { kind, address: { host: pair.otherHost, port: 0 }, maxConnections: 10, tls: server },
    (connection) => accepted.push(new Heard(connection)),
  );
  onTestFinished(() => listener.close());
  const connecting = pair.one.network.connect({
    kind,
    remote: listener.local,
    timeoutMs: PATIENCE,
    ...(client !== undefined && { tls: client }),
    ...(serverName !== undefined && { serverName }),
  });
  const mine = new Heard(await pair.finish(connecting));
  onTestFinished(async () => {
    for (const end of [mine, ...accepted]) end.connection.destroy();
    await pair.until(() => [mine, ...accepted].every((end) => end.ends.length > 0));
  });
  return { mine, accepted };
}

describe.each([
  ["real", real],
  ["simulated", simulated],
] as const)("TLS, %s", (_name, make) => {
  describe.each(["tls", "wss"] as const)("%s", (kind) => {
    test("with mutual TLS each side knows the other by its certificate", async () => {
      const world = make();
      const server = { ...world.issue({ dns: ["East.Example.com"] }), ca: world.ca, verify: true };
      const client = {
        ...world.issue({ uri: ["sip:west.example.com"], dns: ["ignored"] }),
        ca: world.ca,
        verify: true,
      };
      const { mine, accepted } = await meet(world, { kind, server, client, serverName: "east.example.com" });
      mine.say("hello");
      await world.pair.until(() => accepted[0]?.text === "hello");
      expect(mine.connection.peerNames).toEqual(["east.example.com"]);
      expect(accepted[0]?.connection.peerNames).toEqual(["west.example.com"]);
    });

    test("a certificate for another name is refused by the client (RFC 5922 7.3)", async () => {
      const world = make();
      const server = { ...world.issue({ dns: ["east.example.com"] }), verify: false };
      const client = { ca: world.ca, verify: true };
      await expect(meet(world, { kind, server, client, serverName: "west.example.com" })).rejects.toThrow(
        "The certificate of west.example.com is for east.example.com",
      );
    });

    test("wildcards match nothing (RFC 5922 7.2)", async () => {
      const world = make();
      const server = { ...world.issue({ dns: ["*.example.com"] }), verify: false };
      const client = { ca: world.ca, verify: true };
      await expect(meet(world, { kind, server, client, serverName: "west.example.com" })).rejects.toThrow("is for");
    });

    test("a target that is an address is checked against the certificate's addresses", async () => {
      const world = make();
      const server = { ...world.issue({ ip: [world.pair.otherHost] }), verify: false };
      const client = { ca: world.ca, verify: true };
      const { mine } = await meet(world, { kind, server, client });
      expect(mine.connection.peerNames).toEqual([]);
    });

    test("an authority we do not trust is refused by the client", async () => {
      const world = make();
      const server = { ...world.issueUntrusted({ dns: ["east.example.com"] }), verify: false };
      const client = { ca: world.ca, verify: true };
      await expect(meet(world, { kind, server, client, serverName: "east.example.com" })).rejects.toMatchObject({
        code: "transport",
      });
    });

    test("verification is the default: without material no server is trusted", async () => {
      const world = make();
      const server = { ...world.issue({ dns: ["east.example.com"] }), verify: false };
      await expect(meet(world, { kind, server, serverName: "east.example.com" })).rejects.toMatchObject({
        code: "transport",
      });
    });

    test("not verifying connects, and gives no names", async () => {
      const world = make();
      const server = { ...world.issueUntrusted({ dns: ["east.example.com"] }), verify: false };
      const { mine } = await meet(world, { kind, server, client: { verify: false } });
      expect(mine.connection.peerNames).toEqual([]);
    });

    test("mutual TLS never hands out a client without a certificate that verifies", async () => {
      const world = make();
      const server = { ...world.issue({ dns: ["east.example.com"] }), ca: world.ca, verify: true };
      for (const own of [{}, world.issueUntrusted({ dns: ["west.example.com"] })]) {
        const client = { ...own, ca: world.ca, verify: true };
        let refused = false;
        const attempt = meet(world, { kind, server, client, serverName: "east.example.com" }).then(
          ({ mine, accepted }) => ({ mine, accepted }),
          () => {
            refused = true;
            return undefined;
          },
        );
        // With TLS 1.3 the client may think that it is connected before it hears the refusal.
        const met = await attempt;
        if (met !== undefined) await world.pair.until(() => met.mine.ends.length > 0);
        expect(refused || met?.accepted.length === 0).toBe(true);
      }
    });

    test("a client's certificate that is asked for and does not verify gives no names where verifying is off", async () => {
      const world = make();
      const server = { ...world.issue({ dns: ["east.example.com"] }), ca: world.ca, verify: false };
      const client = { ...world.issueUntrusted({ dns: ["west.example.com"] }), ca: world.ca, verify: true };
      const { accepted } = await meet(world, { kind, server, client, serverName: "east.example.com" });
      await world.pair.until(() => accepted.length === 1);
      expect(accepted[0]?.connection.peerNames).toEqual([]);
    });
  });
});

test("an expired certificate is refused", async () => {
  const world = real();
  const server = { ...world.issue({ dns: ["east.example.com"], expired: true }), verify: false };
  const client = { ca: world.ca, verify: true };
  await expect(meet(world, { kind: "tls", server, client, serverName: "east.example.com" })).rejects.toThrow("expired");
});

test("a certificate that is none is told when listening starts", async () => {
  const { network }: Runtime = leakChecked(createRealRuntime());
  const tls = { cert: "nonsense", key: "nonsense", verify: false };
  const options = { kind: "tls", address: { host: "127.0.0.1", port: 0 }, maxConnections: 1, tls } as const;
  await expect(network.listen(options, () => {})).rejects.toThrow();
});

test.each([
  ["DNS:a.example, DNS:B.example", ["a.example", "b.example"]],
  ["DNS:a.example, URI:sip:example.com", ["example.com"]],
  ["URI:SIP:Example.com:5061", ["example.com"]],
  ["DNS:a.example, URI:sip:alice@example.com", ["a.example"]],
  ["DNS:a.example, URI:sips:example.com", ["a.example"]],
  ["DNS:a.example, URI:https://example.com/", ["a.example"]],
  ['URI:"sip:a.example, DNS:evil.example", DNS:b.example', ["b.example"]],
  ["IP Address:192.0.2.1", []],
  ["", []],
  [undefined, []],
])("RFC 5922 7.1: the identities in %s", (text, identities) => {
  expect(sipIdentities(text)).toEqual(identities);
});

test("a simulated TLS client that is not trusted costs the listener nothing", async () => {
  const simulation = leakChecked(createSimulation({ seed: 3 }));
  const [server, client] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
  const tls = { cert: simulatedCertificate({ issuer: "x", names: "DNS:a" }), ca: "x", verify: true };
  let accepted = 0;
  const listener = await server.network.listen(
    { kind: "tls", address: { host: "10.0.0.1", port: 5061 }, maxConnections: 1, tls },
    () => accepted++,
  );
  const connection = await simulation.finish(
    client.network.connect({ kind: "tls", remote: listener.local, timeoutMs: 1000, tls: { verify: false } }),
  );
  const heard = new Heard(connection);
  await simulation.idle();
  expect(accepted).toBe(0);
  expect(heard.ends).toHaveLength(1);
  expect(heard.ends[0]?.message).toContain("ECONNRESET");
  await listener.close();
});
