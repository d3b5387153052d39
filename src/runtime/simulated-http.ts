import { TransportError } from "../base/errors.ts";
import type { Handles } from "./handles.ts";
import type { HttpAnswer, HttpClient, HttpRequest } from "./runtime.ts";
import { at, type Machine, type World } from "./simulated-world.ts";

/** What a simulated HTTP server does with a request; what it gives arrives after the way back. */
export type HttpHandler = (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer>;

/** HTTP between machines as whole messages: late, cut off or refused as the network is, without connections of its own. */
export function simulatedHttp(world: World, machine: Machine, handles: Handles): HttpClient {
  const running = new Set<(reason: string) => void>();
  const request = (wanted: HttpRequest): Promise<HttpAnswer> =>
    new Promise((resolve, reject) => {
      const { hostname, port, protocol } = new URL(wanted.url);
      const remote = {
        host: hostname.replace(/^\[|\]$/g, ""),
        port: Number(port) || (protocol === "https:" ? 443 : 80),
      };
      const local = { host: machine.addresses[0] ?? "", port: 0 };
      let over = false;
      const end = (settle: () => void): void => {
        if (over) return;
        over = true;
        world.queue.cancel(patience);
        running.delete(fail);
        handles.closed(fail);
        if (machine.alive) settle();
      };
      const fail = (reason: string): void =>
        end(() => reject(new TransportError(`${wanted.method} ${wanted.url}: ${reason}`)));
      running.add(fail);
      handles.opened(fail, `${wanted.method} ${wanted.url}`);
      const later = (ms: number, run: () => void) =>
        world.queue.schedule(world.queue.now + ms, () => {
          if (!over) run();
        });
      const patience = later(wanted.timeoutMs, () => fail("no answer in time"));
      const oneWay = (): number => world.delay(local.host, remote.host);
      const answered = (answer: HttpAnswer): void => {
        later(oneWay(), () => {
          if (world.unreachable(machine, local, remote)) return;
          world.record(() => `http ${at(local)} < ${at(remote)} ${answer.status}`, answer.body);
          if (answer.body.length > wanted.mostOctets) fail(`the answer has more than ${wanted.mostOctets} octets`);
          else end(() => resolve(answer));
        });
      };
      later(oneWay(), () => {
        if (world.unreachable(machine, local, remote)) return;
        world.record(() => `http ${at(local)} > ${at(remote)} ${wanted.method}`, wanted.body);
        const handler = world.machineAt(remote.host, machine)?.web.get(remote.port);
        if (handler === undefined) later(oneWay(), () => fail("connect ECONNREFUSED"));
        else void Promise.resolve(handler(wanted)).then(answered);
      });
    });
  return {
    request,
    close: () => {
      for (const fail of [...running]) fail("the client was closed");
    },
  };
}
