import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { TransportError } from "../../src/base/errors.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import type { HttpRequest } from "../../src/runtime/runtime.ts";
import { createSimulation } from "../../src/runtime/simulated.ts";
import { createAuthority, type Issued } from "../support/certificates.ts";

const servers: Server[] = [];

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

const post = (url: string, body: string, more: Partial<HttpRequest> = {}): HttpRequest => ({
  method: "POST",
  url,
  headers: { "content-type": "text/plain" },
  body: Buffer.from(body),
  timeoutMs: 30_000,
  mostOctets: 1000,
  ...more,
});

describe("HTTP over the real network", () => {
  it("gives status, headers and body, over a connection that is used again", async () => {
    const ports = new Set<number>();
    const url = await serve((request, response) => {
      ports.add(request.socket.remotePort ?? 0);
      request.on("data", (data: Buffer) => response.writeHead(201, { "X-Name": "é" }).end(`got ${data.toString()}`));
    });
    const runtime = createRealRuntime();
    const client = runtime.network.http({ connections: 2 });
    for (let n = 0; n < 3; n++) {
      const answer = await client.request(post(url, `n${n}`));
      expect([answer.status, Buffer.from(answer.body).toString(), "x-name" in answer.headers]).toEqual([
        201,
        `got n${n}`,
        true,
      ]);
    }
    expect(ports.size).toBe(1);
    client.close();
    expect(runtime.leaks()).toEqual([]);
  });

  it("fails where there is no whole answer: none in time, cut off, too long, nobody there", async () => {
    const runtime = createRealRuntime();
    const client = runtime.network.http({ connections: 4 });
    const mute = await serve(() => undefined);
    await expect(client.request(post(mute, "", { timeoutMs: 50 }))).rejects.toThrow("no answer in time");
    const cut = await serve((_, response) => {
      response.writeHead(200, { "content-length": "100" }).write("half");
      setTimeout(() => response.destroy(), 20);
    });
    await expect(client.request(post(cut, "x"))).rejects.toThrow(TransportError);
    const long = await serve((_, response) => void response.end("x".repeat(2000)));
    await expect(client.request(post(long, "x"))).rejects.toThrow("more than 1000 octets");
    await expect(client.request(post("http://127.0.0.1:1/", "x"))).rejects.toThrow(TransportError);
    const open = client.request(post(mute, "x"));
    client.close();
    await expect(open).rejects.toThrow(TransportError);
    expect(runtime.leaks()).toEqual([]);
  });
});

describe("HTTPS", () => {
  it("is spoken with servers of the authorities given, by the name in the certificate, and with no others", async () => {
    const [trusted, other] = [createAuthority("trusted"), createAuthority("other")];
    const runtime = createRealRuntime();
    const asked = async (issued: Issued, ca?: string): Promise<string> => {
      const server = createSecureServer(issued, (_, response) => void response.end("here"));
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const client = runtime.network.http({ connections: 1, ...(ca === undefined ? {} : { ca }) });
      const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
      const answer = await client.request(post(url, "x")).then(
        ({ body }) => Buffer.from(body).toString(),
        (error: Error) => error.constructor.name,
      );
      client.close();
      return answer;
    };
    const here = { ip: ["127.0.0.1"] };
    expect(await asked(trusted.issue(here), trusted.ca)).toBe("here");
    expect(await asked(trusted.issue(here))).toBe("TransportError");
    expect(await asked(other.issue(here), trusted.ca)).toBe("TransportError");
    expect(await asked(trusted.issue({ ip: ["127.0.0.2"] }), trusted.ca)).toBe("TransportError");
    expect(await asked(trusted.issue({ ...here, expired: true }), trusted.ca)).toBe("TransportError");
    expect(runtime.leaks()).toEqual([]);
  });
});

describe("HTTP over the simulated network", () => {
  it("answers, refuses, and takes as long as the network does", async () => {
    const simulation = createSimulation({ seed: 1, faults: { delay: [10, 10] } });
    const [here, there] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
    there.web.set(80, async ({ body }) => ({ status: 200, headers: {}, body }));
    const client = here.network.http({ connections: 1 });
    const answer = await simulation.finish(client.request(post("http://10.0.0.2/", "hello")));
    expect([answer.status, Buffer.from(answer.body).toString(), simulation.now]).toEqual([200, "hello", 20]);
    const refused = client.request(post("http://10.0.0.2:81/", "x"));
    refused.catch(() => undefined);
    await expect(simulation.finish(refused)).rejects.toThrow("ECONNREFUSED");
    simulation.partition([["10.0.0.1"], ["10.0.0.2"]]);
    const lost = client.request(post("http://10.0.0.2/", "x"));
    lost.catch(() => undefined);
    await expect(simulation.finish(lost)).rejects.toThrow("no answer in time");
    await simulation.idle();
    expect(simulation.leaks()).toEqual([]);
  });
});
